//! What an observer reads of a card. Values only.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::message::Timestamp;

/// Variables of a card by name; every value is a string.
pub type CardParams = BTreeMap<String, String>;

/// What people see of a card whose template is not theirs.
const NOT_LOADED: &str = "内容加载失败";
/// Variables that hold a card's text when nothing was streamed.
const TEXT_KEYS: [&str; 5] = [
    "msgContent",
    "markdown",
    "content",
    "staticMsgContent",
    "text",
];

/// How far a card has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardState {
    /// It exists and stands in no chat.
    Created,
    /// It stands in a chat and nobody writes into it.
    Delivered,
    /// It is being written: it spins (`flowStatus` 2 and 4, and every streamed frame).
    Inputting,
    /// It is complete.
    Finished,
    /// It says that it failed.
    Failed,
}

/// Everything about one card.
#[derive(Debug, Clone, Serialize)]
pub struct CardView {
    /// `outTrackId`; `cardBizId` of a card of the old API.
    pub out_track_id: String,
    /// The app that made it.
    pub app: String,
    /// `cardTemplateId`.
    pub template: String,
    /// `callbackType`; button presses come over Stream only when it is `STREAM`.
    pub callback_type: String,
    /// What kind of id its user ids are: 1 staff id, 2 union id.
    pub user_id_type: u64,
    /// How far it has come.
    pub state: CardState,
    /// When it was created.
    pub created_at: Timestamp,
    /// What everybody sees.
    pub params: CardParams,
    /// What only this user sees, over what everybody sees.
    pub private_data: BTreeMap<String, CardParams>,
    /// Where it was put, refused attempts included, in order.
    pub deliveries: Vec<CardDelivery>,
    /// Streamed frames, refused ones included, in order.
    pub frames: Vec<CardFrame>,
    /// Updates by the API and by answers to presses, in order.
    pub updates: Vec<CardUpdate>,
    /// Buttons that people pressed, in order.
    pub presses: Vec<CardPressed>,
    /// Whether its template is another organisation's.
    pub foreign: bool,
}

impl CardView {
    /// What this user sees: the public variables under the user's own.
    pub fn seen_by(&self, user: &str) -> CardParams {
        let mut seen = self.params.clone();
        seen.extend(self.private_data.get(user).cloned().unwrap_or_default());
        seen
    }

    /// The readable text: of the variable streamed last, else of the first known one.
    pub fn text(&self) -> String {
        if self.foreign {
            return NOT_LOADED.to_owned();
        }
        let streamed = self.accepted().last().map(|frame| frame.key.as_str());
        let found = streamed
            .into_iter()
            .chain(TEXT_KEYS)
            .find_map(|key| self.params.get(key).filter(|text| !text.is_empty()));
        match found {
            Some(text) => text.clone(),
            None => self.blocks_text(),
        }
    }

    /// The frames that changed the card, in order.
    pub fn accepted(&self) -> impl Iterator<Item = &CardFrame> {
        let frames = self.frames.iter();
        frames.filter(|frame| frame.verdict == FrameVerdict::Accepted)
    }

    /// The chats that it stands in, in the order of deliveries.
    pub fn chats(&self) -> impl Iterator<Item = &str> {
        let standing = self.deliveries.iter().filter(|one| one.stands());
        standing.map(|one| one.space_id.as_str())
    }

    /// The text blocks of a card of the old API, one a line.
    fn blocks_text(&self) -> String {
        let data = self.params.get("cardData");
        let data: Value = data
            .and_then(|data| serde_json::from_str(data).ok())
            .unwrap_or_default();
        let blocks = data.get("contents").and_then(Value::as_array);
        let texts = blocks.into_iter().flatten();
        let texts: Vec<&str> = texts.filter_map(|one| one.get("text")?.as_str()).collect();
        texts.join("\n")
    }
}

/// One attempt to put a card into a chat.
#[derive(Debug, Clone, Serialize)]
pub struct CardDelivery {
    /// When.
    pub at: Timestamp,
    /// `IM_GROUP`, `IM_ROBOT`, `IM_SINGLE` or `ONE_BOX`.
    pub space_type: String,
    /// Open conversation id, or the user's id.
    pub space_id: String,
    /// Users that are mentioned; `@ALL` for everybody.
    pub at_users: Vec<String>,
    /// The only members of the group that see it; empty: all do.
    pub recipients: Vec<String>,
    /// Key for recall and read status; absent when it was refused.
    pub carrier_id: Option<String>,
    /// Why it was refused, inside a 200.
    pub error: Option<String>,
    /// Whether it was taken back by its carrier id.
    pub recalled: bool,
}

impl CardDelivery {
    /// Whether people can see the card there.
    pub fn stands(&self) -> bool {
        self.error.is_none() && !self.recalled
    }
}

/// What became of a streamed frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum FrameVerdict {
    /// It changed the card.
    Accepted,
    /// Its guid was applied before: success, and nothing changed.
    Repeated,
    /// Nothing changed.
    Refused {
        /// Code that the caller read.
        code: String,
    },
}

/// One `PUT /v1.0/card/streaming`.
#[derive(Debug, Clone, Serialize)]
pub struct CardFrame {
    /// When it came.
    pub at: Timestamp,
    /// `guid`.
    pub guid: String,
    /// The variable.
    pub key: String,
    /// Length of the content in characters.
    pub chars: usize,
    /// The content.
    pub content: String,
    /// `isFull`.
    pub full: bool,
    /// `isFinalize`.
    pub finalize: bool,
    /// `isError`.
    pub error: bool,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: FrameVerdict,
}

/// Where an update came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateSource {
    /// A call of the API.
    Api,
    /// The answer to a press.
    Answer,
}

/// One change of a card's variables other than a streamed frame.
#[derive(Debug, Clone, Serialize)]
pub struct CardUpdate {
    /// When it was applied.
    pub at: Timestamp,
    /// Where it came from.
    pub source: UpdateSource,
    /// Names of the public variables that it set.
    pub keys: Vec<String>,
    /// Users whose private variables it set.
    pub users: Vec<String>,
    /// Whether the other public variables stayed.
    pub merged: bool,
    /// `flowStatus` that it set.
    pub flow_status: Option<String>,
}

/// What a press brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum PressAnswer {
    /// Nothing yet.
    Waiting,
    /// In time, and it changed the card.
    Applied,
    /// In time, without a change.
    Empty,
    /// In time, but not as an answer must be.
    Invalid {
        /// What was wrong.
        why: String,
    },
    /// Too late; whatever it said was not applied.
    Late,
}

/// One press of a button.
#[derive(Debug, Clone, Serialize)]
pub struct CardPressed {
    /// When it was pushed.
    pub at: Timestamp,
    /// Number of the frame that carried it.
    pub frame: u64,
    /// Who pressed.
    pub user: String,
    /// The buttons.
    pub action_ids: Vec<String>,
    /// What came back.
    #[serde(flatten)]
    pub answer: PressAnswer,
}
