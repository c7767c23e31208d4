//! Section `inbound`: when a frame is acknowledged.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::section::Section;

/// Shortest budget that a broker on the same host can meet.
const MIN_BUDGET: Duration = Duration::from_millis(1);
/// Longest hard budget: DingTalk waits 3 s (stream-protocol.md, section 4), less the way back.
const MAX_BUDGET: Duration = Duration::from_millis(2_950);

/// When a frame is acknowledged to DingTalk.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// After what; default [`AckMode::Stored`].
    pub ack: AckMode,
    /// How long the broker may take before the spool stands in; default 1 s.
    pub soft_budget: Duration,
    /// After how long the acknowledgement is withheld; default 2.5 s. DingTalk waits 3 s.
    pub hard_budget: Duration,
    /// Largest picture, file, audio or video that is fetched, in bytes; default 100 MiB.
    pub media_max_bytes: u64,
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

/// When a frame is acknowledged to DingTalk.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInbound {
    /// After what: `stored` (in JetStream, or fsynced in the spool when the broker is slow), `journal`
    /// (fsynced locally first; survives a power cut on a single broker, costs 5 to 10 %), or
    /// `received` (at once: a crash loses what is in flight).
    ack: AckMode,
    /// How long the broker may take before the spool stands in; shorter than `hard_budget`.
    soft_budget: String,
    /// After how long the acknowledgement is withheld, so that DingTalk sends again; under 3 s, which
    /// is how long DingTalk waits.
    hard_budget: String,
    /// Largest picture, file, audio or video that is fetched, in bytes.
    #[schemars(range(min = 1))]
    media_max_bytes: i64,
}

impl Default for RawInbound {
    fn default() -> Self {
        Self {
            ack: AckMode::Stored,
            soft_budget: "1s".to_owned(),
            hard_budget: "2500ms".to_owned(),
            media_max_bytes: 100 << 20,
        }
    }
}

impl RawInbound {
    /// The checked section.
    pub(super) fn check(self, section: &mut Section<'_>) -> Inbound {
        let range = MIN_BUDGET..=MAX_BUDGET;
        let soft_budget = section.duration("soft_budget", &self.soft_budget, range.clone());
        let hard_budget = section.duration("hard_budget", &self.hard_budget, range);
        if soft_budget
            .zip(hard_budget)
            .is_some_and(|(soft, hard)| soft >= hard)
        {
            section.refuse(
                "soft_budget",
                "must be shorter than `inbound.hard_budget`",
                "leave the spool at least 500ms between the two",
            );
        }
        Inbound {
            ack: self.ack,
            soft_budget: soft_budget.unwrap_or_default(),
            hard_budget: hard_budget.unwrap_or_default(),
            media_max_bytes: section.number("media_max_bytes", self.media_max_bytes, 1..=u64::MAX),
        }
    }
}
