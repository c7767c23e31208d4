//! What became of a request: exactly one receipt each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{AccountName, RequestId};
use super::outbound::Via;
use super::timestamp::Timestamp;

/// How a request ended.
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
    /// Users whom DingTalk refused although it accepted the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_users: Vec<String>,
    /// Users who may or may not have got it: the call that carried it to them was not answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncertain_users: Vec<String>,
    /// Users to whom it was not sent any more, because its time was over or it was given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsent_users: Vec<String>,
    /// outTrackId of the card that it opened or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_track_id: Option<String>,
    /// Each message that the request became, in order; only when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Calls that carried the content, refused ones included.
    pub attempts: u32,
    /// When the request was published.
    pub requested_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Calls that DingTalk bills for.
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
