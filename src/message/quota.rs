//! How an account stands against its monthly quota, and what it has to give up for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is held back so that the month's calls last; each level includes those before it.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
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

/// Share of the limit, in percent, from which on the brake is at least this.
const STEPS: [(u64, Brake); 3] = [
    (95, Brake::NoCards),
    (90, Brake::NoReactions),
    (80, Brake::MergeCards),
];
/// Share of the limit, in percent, that is kept for alerts.
const RESERVE: u64 = 2;
/// Fewest calls that are kept for alerts.
const LEAST_RESERVE: u64 = 10;

impl Brake {
    /// The brake after `used` of `limit` calls.
    pub fn after(used: u64, limit: u64) -> Self {
        if used >= Self::free(limit) {
            return Self::AlertsOnly;
        }
        let reached = |share: u64| used.saturating_mul(100) >= limit.saturating_mul(share);
        let step = STEPS.iter().find(|(share, _)| reached(*share));
        step.map_or(Self::Off, |(_, brake)| *brake)
    }

    /// How many of `limit` calls are for everybody; the rest is kept for alerts.
    pub fn free(limit: u64) -> u64 {
        let reserve = (limit.saturating_mul(RESERVE) / 100).max(LEAST_RESERVE);
        limit.saturating_sub(reserve)
    }

    /// The name as it is written in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::MergeCards => "merge_cards",
            Self::NoReactions => "no_reactions",
            Self::NoCards => "no_cards",
            Self::AlertsOnly => "alerts_only",
            Self::Exhausted => "exhausted",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brakes_come_in_order_and_a_reserve_is_kept_for_alerts() {
        for (used, brake) in [
            (0, Brake::Off),
            (3999, Brake::Off),
            (4000, Brake::MergeCards),
            (4500, Brake::NoReactions),
            (4750, Brake::NoCards),
            (4899, Brake::NoCards),
            (4900, Brake::AlertsOnly),
            (9000, Brake::AlertsOnly),
        ] {
            assert_eq!(Brake::after(used, 5000), brake, "{used}");
        }
        assert_eq!((Brake::free(30), Brake::free(5)), (20, 0));
        assert_eq!(Brake::after(0, 5), Brake::AlertsOnly);
    }
}
