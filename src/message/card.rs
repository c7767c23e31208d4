//! What a request does with an interactive card, and the short form for streamed answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outbound::RequestError;

/// Longest outTrackId that DingTalk takes, in characters (oapi.md, section 6.7).
pub const MAX_OUT_TRACK_ID: usize = 64;

/// One step of a card: exactly one of `create`, `update`, `stream`, `finish` and `fail`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardRequest {
    /// outTrackId of the card, at most 64 characters; not needed on a card's own subject. `create`
    /// without one makes it from the request id, and the receipt tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Creates the card and delivers it into the chat of the subject (on a card's own subject: of `to`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<CardCreate>,
    /// Changes the parameters that are named, and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<CardUpdate>,
    /// Feeds the streamed variable of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<CardStream>,
    /// Ends the stream: the card stops spinning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<CardEnd>,
    /// Ends the card as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<CardEnd>,
}

/// A card to create.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardCreate {
    /// Template id; default: `card_template` of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Public parameters. DingTalk takes strings: other values are written as JSON text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// Parameters that one user alone sees, by staffId.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, BTreeMap<String, Value>>,
    /// What the chat list and notifications show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Text that is sent as markdown when the account has no card template or cards fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// Parameters to change; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardUpdate {
    /// Public parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// Parameters that one user alone sees, by staffId.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, BTreeMap<String, Value>>,
}

/// A piece of a streamed text: exactly one of `append` and `text`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardStream {
    /// Added at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// The whole text so far, in place of what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Variable of the template that is streamed; default: `card_key` of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The end of a card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardEnd {
    /// The whole text at the end; default: what was streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Public parameters to change with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

/// The one step of a [`CardRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum CardStep {
    /// Create and deliver.
    Create(CardCreate),
    /// Change parameters.
    Update(CardUpdate),
    /// Feed the streamed variable.
    Stream(CardStream),
    /// End as finished.
    Finish(CardEnd),
    /// End as failed.
    Fail(CardEnd),
}

impl CardRequest {
    /// The one step that is asked for.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] when there is none or more than one, when a stream gives neither or
    /// both of its forms, or when the id is too long.
    pub fn step(&self) -> Result<CardStep, RequestError> {
        let too_long = |id: &String| id.chars().count() > MAX_OUT_TRACK_ID || id.is_empty();
        if self.id.as_ref().is_some_and(too_long) {
            return Err(RequestError::Invalid(
                "the id of a card (outTrackId) has 1 to 64 characters",
            ));
        }
        let mut steps = Vec::new();
        steps.extend(self.create.clone().map(CardStep::Create));
        steps.extend(self.update.clone().map(CardStep::Update));
        steps.extend(self.stream.clone().map(CardStep::Stream));
        steps.extend(self.finish.clone().map(CardStep::Finish));
        steps.extend(self.fail.clone().map(CardStep::Fail));
        let count = steps.len();
        match (steps.pop(), count) {
            (Some(CardStep::Stream(stream)), 1)
                if stream.append.is_some() == stream.text.is_some() =>
            {
                Err(RequestError::Invalid(
                    "a stream step has exactly one of append and text",
                ))
            }
            (Some(step), 1) => Ok(step),
            _ => Err(RequestError::Invalid(
                "a card request has exactly one of create, update, stream, finish and fail",
            )),
        }
    }
}

/// What a responder on `<prefix>.api.card.<account>` says to a card action: the change that the press
/// makes at once. An empty object leaves the card as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardReply {
    /// Public parameters to change; what is not named stays.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// The same in DingTalk's own form; `params` goes over it.
    #[serde(default, rename = "cardData", skip_serializing_if = "Option::is_none")]
    pub card_data: Option<CardParams>,
    /// Parameters that the person who pressed alone sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, Value>,
}

/// Parameters of a card as DingTalk writes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardParams {
    /// By name.
    #[serde(rename = "cardParamMap")]
    pub params: BTreeMap<String, Value>,
}

impl CardReply {
    /// All public parameters.
    pub fn public(&self) -> BTreeMap<String, String> {
        let mut public = self.card_data.clone().unwrap_or_default().params;
        public.extend(self.params.clone());
        param_strings(&public)
    }
}

/// Parameters of a card as DingTalk takes them: strings as they are, all else as JSON text (oapi.md,
/// section 6.1).
pub fn param_strings(params: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let pairs = params.iter();
    pairs
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// The short form of a streamed answer: `{"stream":"<id>","append":"…"}` opens a card in the chat of
/// the subject with the first piece and feeds it with the next ones; `"done":true` closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPiece {
    /// Names the stream within its chat.
    pub id: String,
    /// Added at the end.
    pub append: String,
    /// Whether this is the last piece.
    pub done: bool,
}
