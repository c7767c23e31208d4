//! What the bridge gave up: kept whole, with the reason.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subject::Direction;
use super::timestamp::Timestamp;

/// Why something was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadReason {
    /// The payload is not what the schema describes.
    Malformed,
    /// The target cannot be addressed.
    Target,
    /// The payload contradicts its subject.
    Mismatch,
    /// No bridge serves the account.
    Unserved,
    /// Its time was over.
    Expired,
    /// It was called off before its time.
    Cancelled,
    /// DingTalk refused it for good.
    Refused,
    /// The frame could not be read.
    Undecodable,
    /// It was too large for the broker, and so was what would have named it.
    TooLarge,
}

impl DeadReason {
    /// The value of the reason header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Target => "target",
            Self::Mismatch => "mismatch",
            Self::Unserved => "unserved",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too-large",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Body of a message on `<prefix>.dead.<inbound|outbound>.<account>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Side of the bridge that gave up.
    pub direction: Direction,
    /// Account concerned; the token of the subject when no such account is served.
    pub account: String,
    /// Why.
    pub reason: DeadReason,
    /// Why, in words, with the cure.
    pub detail: String,
    /// DingTalk's code, when DingTalk refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Subject that it came from or was meant for.
    pub subject: String,
    /// Idempotency key or deduplication key, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The thing itself: JSON as it was, or a string when it is not JSON.
    pub payload: serde_json::Value,
    /// When it was given up.
    pub at: Timestamp,
}
