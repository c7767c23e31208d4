//! How an account stands against its monthly quota, and what it has to give up for it.

use serde::{Deserialize, Serialize};

/// What is held back so that the month's calls last; each level includes those before it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Brake {
    /// Nothing.
    #[default]
    Off,
    /// Updates of cards are merged harder.
    MergeCards,
    /// Reactions are dropped too.
    NoReactions,
    /// Plain text instead of cards too.
    NoCards,
    /// Only requests of priority `alert` are sent: the rest waits until the month turns.
    AlertsOnly,
    /// DingTalk refuses every call until the month turns.
    Exhausted,
}

/// The calls of one account in the present month, as all replicas together made them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct QuotaStanding {
    /// Billed calls so far.
    pub used: u64,
    /// Billed calls in a month; absent when none are configured.
    pub limit: Option<u64>,
    /// Calls that the month will have taken at its end, at the present pace.
    pub forecast: u64,
    /// What is held back.
    pub brake: Brake,
}
