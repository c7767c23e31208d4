//! What the bridge says about itself on `<prefix>.status.<account>`: its links, and the media that it
//! fetched.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quota::Brake;
use super::timestamp::Timestamp;

/// Body of a message on `<prefix>.status.<account>`. Later versions may know more types: a reader
/// leaves out what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Status {
    /// A Stream connection changed.
    Link(LinkStatus),
    /// A picture, file, audio or video of an inbound message was fetched, or will not be.
    Media(MediaStatus),
    /// What the monthly quota holds back changed.
    Quota(QuotaStatus),
    /// Somebody outside the fleet seems to read the account too.
    #[serde(rename = "foreign_replica")]
    ForeignReplica(ForeignStatus),
}

/// How an account stands against its monthly quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaStatus {
    /// Month of DingTalk's calendar (UTC+8), such as `2026-11`.
    pub month: String,
    /// Billed calls so far, of all replicas.
    pub used: u64,
    /// Billed calls in a month, when configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Billed calls that the month will have at its end, at the present pace.
    pub forecast: u64,
    /// What is held back.
    pub brake: Brake,
    /// When that was.
    pub at: Timestamp,
}

/// What says that somebody outside the fleet reads an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForeignStatus {
    /// What was seen.
    pub sign: ForeignSign,
    /// The same in words, with the cure.
    pub detail: String,
    /// When that was.
    pub at: Timestamp,
}

/// A sign of somebody outside the fleet.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ForeignSign {
    /// A bridge of another configuration at the same broker serves the same app.
    Replica,
    /// A connection gets far less than its share of the messages.
    Share,
}

/// How a Stream connection stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkStatus {
    /// Which of the account's connections, from 0.
    pub slot: usize,
    /// How it stands.
    pub state: LinkStanding,
    /// Why, unless it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// How a Stream connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkStanding {
    /// It receives.
    Up,
    /// It is being opened anew.
    Down,
    /// It is tried again slowly; somebody should look.
    Parked,
    /// The bridge ended it.
    Stopped,
}

/// What became of one media item of an inbound message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaStatus {
    /// `id` of the inbound message.
    pub message: String,
    /// Key in the object store, as the message names it.
    pub object: String,
    /// What became of it.
    pub state: MediaState,
    /// Why, unless it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<MediaReason>,
    /// The same in words, with DingTalk's code where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Bytes, when it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Media type by its content, when it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// File name fit for a file system, when it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When that was.
    pub at: Timestamp,
}

/// What became of a media item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaState {
    /// It is in the object store.
    Stored,
    /// It could not be fetched, and is not tried again.
    Failed,
    /// It was not tried.
    Skipped,
}

impl MediaState {
    /// The value in the body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Why a media item is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MediaReason {
    /// DingTalk does not know the download code, or not any more.
    Expired,
    /// It is larger than `inbound.media_max_bytes`.
    TooLarge,
    /// Its address is none that the bridge fetches from.
    Forbidden,
    /// The monthly quota of the organisation is used up.
    Quota,
    /// DingTalk refused the download code for another reason.
    Refused,
    /// The host says that there is nothing at the address.
    Gone,
    /// It did not work for so long that the bridge gave up.
    Unavailable,
    /// The account is served no more, or fetches no media any more.
    Unserved,
}

impl MediaReason {
    /// The value in the body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::TooLarge => "too-large",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Unavailable => "unavailable",
            Self::Unserved => "unserved",
        }
    }
}

impl fmt::Display for MediaReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_status_reads_as_it_always_did() {
        let status = Status::Link(LinkStatus {
            slot: 1,
            state: LinkStanding::Parked,
            reason: Some("credentials".to_owned()),
            at: Timestamp::from_millis(1_769_851_697_611),
        });
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            r#"{"type":"link","slot":1,"state":"parked","reason":"credentials","at":"2026-01-31T09:28:17.611Z"}"#
        );
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn states_and_reasons_are_written_as_they_are_named() {
        for state in [MediaState::Stored, MediaState::Failed, MediaState::Skipped] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for reason in [
            MediaReason::Expired,
            MediaReason::TooLarge,
            MediaReason::Forbidden,
            MediaReason::Quota,
            MediaReason::Refused,
            MediaReason::Gone,
            MediaReason::Unavailable,
            MediaReason::Unserved,
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
