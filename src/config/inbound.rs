//! Section `inbound`: when a frame is acknowledged.

use std::time::Duration;

/// When a frame is acknowledged to DingTalk.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// After what; default [`AckMode::Stored`].
    pub ack: AckMode,
    /// How long the broker may take before the spool stands in; default 1 s.
    pub soft_budget: Duration,
    /// After how long the acknowledgement is withheld; default 2.5 s. DingTalk waits 3 s.
    pub hard_budget: Duration,
}

/// What must have happened before a frame is acknowledged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AckMode {
    /// It is in JetStream, or fsynced in the spool when the broker is slow.
    Stored,
    /// It is fsynced in the local journal; published behind it. Survives a power cut on a single broker.
    Journal,
    /// Nothing: a crash of the bridge loses what it holds, at most the frames of the last moments.
    Received,
}
