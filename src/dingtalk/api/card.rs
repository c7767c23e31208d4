//! Interactive cards: creating, delivering, updating and streaming them (oapi.md, section 6).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Api;
use super::call::Errand;
use super::errors::Call;
use super::failure::ApiError;
use crate::dingtalk::json::{Members, text};
use crate::telemetry::ApiFamily;

/// Code of a creation that an earlier try has done already (oapi.md, section 9.5).
const EXISTS: &str = "param.cardAlreadyExist";
/// Parameter that DingTalk reads itself, and its value for a card as wide as its content.
const CONFIG: (&str, &str) = ("config", r#"{"autoLayout":true}"#);
/// User ids are staffIds.
const STAFF: u8 = 1;

const CARD: Errand = Errand::new(Call::Card, ApiFamily::Card);
const FRAME: Errand = Errand::new(Call::CardStream, ApiFamily::CardStream);

/// Where a card is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardSpace {
    /// A group, by openConversationId.
    Group(String),
    /// The 1:1 chat of a person with the robot, by staffId.
    User(String),
}

/// Whom a delivered card mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardMentions {
    /// staffId to the name that is shown.
    pub users: BTreeMap<String, String>,
    /// Everybody in the group.
    pub all: bool,
}

/// A card to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardDraft {
    /// The caller's id of it; at most 64 characters.
    pub out_track_id: String,
    /// Template id.
    pub template: String,
    /// Public parameters.
    pub params: BTreeMap<String, String>,
    /// Parameters that one user alone sees, by staffId.
    pub private: BTreeMap<String, BTreeMap<String, String>>,
    /// Where it is delivered.
    pub space: CardSpace,
    /// Whom it mentions; in groups only.
    pub mentions: CardMentions,
    /// What the chat list shows.
    pub summary: Option<String>,
}

/// One frame of a streamed variable: always the full text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFrame {
    /// Card.
    pub out_track_id: String,
    /// DingTalk's idempotency key: the same for a repetition, a new one after a refusal.
    pub guid: String,
    /// Variable of the template.
    pub key: String,
    /// Full text.
    pub content: String,
    /// What the frame does to the card.
    pub end: FrameEnd,
}

/// What a frame does to its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEnd {
    /// The stream goes on.
    Open,
    /// The card is finished (`isFinalize`).
    Finished,
    /// The card failed (`isError`).
    Failed,
}

/// What became of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The card is new.
    New,
    /// DingTalk had it already (`param.cardAlreadyExist`): an earlier try went through.
    Existing,
}

impl CardDraft {
    fn creation(&self) -> Value {
        let mut params = self.params.clone();
        params
            .entry(CONFIG.0.to_owned())
            .or_insert_with(|| CONFIG.1.to_owned());
        let mut space = json!({ "supportForward": true });
        if let (Value::Object(space), Some(summary)) = (&mut space, &self.summary) {
            space.insert("lastMessageI18n".to_owned(), json!({ "ZH_CN": summary }));
        }
        let mut body = Map::new();
        body.insert("cardTemplateId".to_owned(), self.template.clone().into());
        body.insert("outTrackId".to_owned(), self.out_track_id.clone().into());
        body.insert("callbackType".to_owned(), "STREAM".into());
        body.insert("cardData".to_owned(), json!({ "cardParamMap": params }));
        body.insert("userIdType".to_owned(), STAFF.into());
        let model = match &self.space {
            CardSpace::Group(_) => "imGroupOpenSpaceModel",
            CardSpace::User(_) => "imRobotOpenSpaceModel",
        };
        body.insert(model.to_owned(), space);
        if !self.private.is_empty() {
            body.insert("privateData".to_owned(), private_data(&self.private));
        }
        if let CardSpace::Group(_) = &self.space
            && !self.mentions.users.is_empty()
        {
            let users = self.mentions.users.keys().map(String::as_str);
            body.insert("cardAtUserIds".to_owned(), users.collect());
        }
        Value::Object(body)
    }

    fn delivery(&self, robot_code: &str) -> Value {
        let (space, model, deliver) = match &self.space {
            CardSpace::Group(id) => {
                let mut deliver = json!({ "robotCode": robot_code });
                let all = self.mentions.all.then_some(("@ALL", "@ALL"));
                let users = self.mentions.users.iter();
                let users = users.map(|(id, name)| (id.as_str(), name.as_str()));
                let at: BTreeMap<_, _> = users.chain(all).collect();
                if let (Value::Object(deliver), false) = (&mut deliver, at.is_empty()) {
                    deliver.insert("atUserIds".to_owned(), json!(at));
                }
                (
                    format!("dtv1.card//IM_GROUP.{id}"),
                    "imGroupOpenDeliverModel",
                    deliver,
                )
            }
            CardSpace::User(id) => {
                let mut deliver = json!({ "spaceType": "IM_ROBOT", "robotCode": robot_code });
                if let (Value::Object(deliver), None) = (&mut deliver, &self.summary) {
                    // The chat list then shows what the card says.
                    let extension = json!({ "dynamicSummary": "true" });
                    deliver.insert("extension".to_owned(), extension);
                }
                (
                    format!("dtv1.card//IM_ROBOT.{id}"),
                    "imRobotOpenDeliverModel",
                    deliver,
                )
            }
        };
        json!({
            "outTrackId": self.out_track_id,
            "userIdType": STAFF,
            "openSpaceId": space,
            model: deliver,
        })
    }
}

impl Api {
    /// Creates a card without showing it. Repeating it under the same outTrackId is harmless, after
    /// an ambiguous outcome too.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn create_card(&self, draft: &CardDraft) -> Result<Created, ApiError> {
        let url = self.app()?.robot.url("card/instances");
        let body = draft.creation();
        let request = || self.http.client().post(&url).json(&body);
        match self.ask(CARD, &request, &|_| Some(Created::New)).await {
            Err(error) if error.code == EXISTS => Ok(Created::Existing),
            created => created,
        }
    }

    /// Shows a created card in its space; its carrierId, which recalls it. Whether a second delivery
    /// to the same space would show it twice is not known, so an ambiguous one is not repeated
    /// (oapi.md, section 9.5).
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn deliver_card(&self, draft: &CardDraft) -> Result<Option<String>, ApiError> {
        let robot = &self.app()?.robot;
        let url = robot.url("card/instances/deliver");
        let body = draft.delivery(&robot.code);
        let request = || self.http.client().post(&url).json(&body);
        self.ask(CARD, &request, &|answer| Some(carrier(answer)))
            .await
    }

    /// Changes the named parameters of a card. Repeating it is harmless, after an ambiguous outcome
    /// too.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn update_card(
        &self,
        out_track_id: &str,
        params: &BTreeMap<String, String>,
        private: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<(), ApiError> {
        let url = self.app()?.robot.url("card/instances");
        let mut body = json!({
            "outTrackId": out_track_id,
            "userIdType": STAFF,
            // DingTalk's own default is to forget what is not named (oapi.md, section 6.4).
            "cardUpdateOptions": { "updateCardDataByKey": true, "updatePrivateDataByKey": true },
        });
        if let (Value::Object(body), false) = (&mut body, params.is_empty()) {
            body.insert("cardData".to_owned(), json!({ "cardParamMap": params }));
        }
        if let (Value::Object(body), false) = (&mut body, private.is_empty()) {
            body.insert("privateData".to_owned(), private_data(private));
        }
        let request = || self.http.client().put(&url).json(&body);
        self.ask(CARD, &request, &|_| Some(())).await
    }

    /// Streams one frame. Repeating it under the same guid is harmless, and the thing to do after an
    /// ambiguous outcome.
    ///
    /// # Errors
    /// By [`super::ErrorClass`]; a key that the template lacks is permanent.
    pub async fn stream_card(&self, frame: &CardFrame) -> Result<(), ApiError> {
        let url = self.app()?.robot.url("card/streaming");
        let body = json!({
            "outTrackId": frame.out_track_id,
            "guid": frame.guid,
            "key": frame.key,
            "content": frame.content,
            // Markdown variables take no other (oapi.md, section 6.5).
            "isFull": true,
            "isFinalize": frame.end == FrameEnd::Finished,
            "isError": frame.end == FrameEnd::Failed,
        });
        let request = || self.http.client().put(&url).json(&body);
        self.ask(FRAME, &request, &|_| Some(())).await
    }
}

fn private_data(private: &BTreeMap<String, BTreeMap<String, String>>) -> Value {
    let of = |params: &BTreeMap<String, String>| json!({ "cardParamMap": params });
    let users = private
        .iter()
        .map(|(user, params)| (user.clone(), of(params)));
    Value::Object(users.collect())
}

/// The first carrierId of a delivery, in either shape of its answer (oapi.md, sections 6.2 and 6.3).
fn carrier(answer: &Members<'_>) -> Option<String> {
    let result = answer.object("result");
    let below = result.and_then(|result| result.array("deliverResults"));
    let elements = answer.array("result").or(below).unwrap_or_default();
    elements.into_iter().find_map(|element| {
        let element = Members::read(element.get())?;
        let id = element.value("carrierId").and_then(text)?;
        (!id.is_empty()).then(|| id.into_owned())
    })
}
