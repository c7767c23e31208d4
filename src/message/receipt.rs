//! What became of a request: exactly one receipt each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{AccountName, RequestId};
use super::outbound::Via;
use super::timestamp::Timestamp;

/// How a request ended.
///
/// Of a list of users each may fare differently. In this order: `uncertain` when a call was not
/// answered, whatever became of the others; `expired` when its time was over before everybody had
/// been asked; `failed` when DingTalk refused a call for good, or none of the users exists; `sent` when
/// everybody who exists got all of it. `refused_users`, `uncertain_users` and `unsent_users` name those
/// who did not; whoever is in none of them got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// DingTalk accepted all of it.
    Sent,
    /// DingTalk or the bridge refused it; it is in the dead letters.
    Failed,
    /// Its time was over before it could be sent.
    Expired,
    /// It left, and the answer did not come: it may or may not be visible. Never sent again.
    Uncertain,
}

/// Body of a message on `<prefix>.receipt.<account>.<request id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Idempotency key of the request.
    pub id: RequestId,
    /// Account that sent it.
    pub account: AccountName,
    /// Canonical subject that it was sent for; absent when the target could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Path that it took last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// DingTalk's key for recall and read status; of the first part when there are several. Of a card
    /// its carrierId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_query_key: Option<String>,
    /// DingTalk's code, or the bridge's reason, when it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do about it: the console page or the permission that cures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Users whom DingTalk refused for good although it accepted the call: they do not exist for the
    /// robot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_users: Vec<String>,
    /// Users who may or may not have got it: the call that carried it to them was not answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncertain_users: Vec<String>,
    /// Users of a list to whom it was not sent, or not all of it, because its time was over or it was
    /// given up; also those whom DingTalk put off until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsent_users: Vec<String>,
    /// outTrackId of the card that it opened or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_track_id: Option<String>,
    /// Each message that the request became, in order, and of a list each call that DingTalk took or
    /// did not answer, 1500 at most; only when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Calls that carried the content, refused ones included.
    pub attempts: u32,
    /// When the request was published.
    pub requested_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Calls that DingTalk bills for, uploads included.
    pub cost: u32,
}

/// One message of a request that was split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// How it ended.
    pub outcome: Outcome,
    /// Path that it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// DingTalk's key for recall and read status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_query_key: Option<String>,
}
