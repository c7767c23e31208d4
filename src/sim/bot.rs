//! What people do in the simulated DingTalk: messages, events, card buttons, in the shape that
//! DingTalk gives them (stream-protocol.md, sections 3 and 5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::attachment::{Attachment, Carried};

/// A message that somebody writes to a bot.
///
/// In JSON: `{"user":"manager1","text":"deploy it","group":"cid…=="}`; without `group` it is a 1:1 chat.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    /// Staff id of the sender.
    pub user: String,
    /// Display name; the staff id when empty.
    pub nick: String,
    /// What is said.
    pub text: String,
    /// Open conversation id of the group; absent in a 1:1 chat.
    pub group: Option<String>,
    /// Title of the group.
    pub title: String,
    /// Whether the sender is outside the robot's organisation: no staff id, no corp id.
    pub outsider: bool,
    /// Staff ids that are mentioned beside the bot.
    pub mentions: Vec<String>,
    /// `msgtype` and its `content` instead of a text.
    pub content: Option<(String, Value)>,
    /// Files that it carries.
    pub attachments: Vec<Attachment>,
    /// The file of the message that it answers.
    pub quoted: Option<Attachment>,
    /// Further or replaced keys of the body.
    pub extra: Map<String, Value>,
    /// Whether the monthly quota is used up: the error code and no text
    /// (stream-protocol.md, section 0.15).
    pub over_quota: bool,
    /// `msgId` instead of a new one: the same message for several bots, or again.
    pub msg_id: Option<String>,
}

impl Message {
    /// `user` writes to the bot alone.
    pub fn to_bot(user: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            text: text.into(),
            ..Self::default()
        }
    }

    /// `user` mentions the bot in a group.
    pub fn in_group(
        group: impl Into<String>,
        user: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            group: Some(group.into()),
            title: "模拟群".to_owned(),
            ..Self::to_bot(user, text)
        }
    }

    /// Carries another kind of content instead of a text.
    #[must_use]
    pub fn with_content(mut self, msgtype: impl Into<String>, content: Value) -> Self {
        self.content = Some((msgtype.into(), content));
        self
    }

    /// Sets or replaces one key of the body.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: Value) -> Self {
        self.extra.insert(key.into(), value);
        self
    }

    /// Comes without its text, because the monthly quota is used up.
    #[must_use]
    pub fn over_quota(mut self) -> Self {
        self.over_quota = true;
        self
    }

    /// Comes from somebody outside the organisation.
    #[must_use]
    pub fn from_outsider(mut self) -> Self {
        self.outsider = true;
        self
    }
}

/// A button press on a card.
///
/// In JSON: `{"out_track_id":"c1","user":"manager1","action_ids":["approve"],"form":{"reason":"ok"}}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CardPress {
    /// `outTrackId` of the card.
    pub out_track_id: String,
    /// Staff id of who pressed.
    pub user: String,
    /// The buttons.
    pub action_ids: Vec<String>,
    /// Parameters of the button.
    pub params: Map<String, Value>,
    /// Fields of a form, by name; they come as `params.form`.
    pub form: Map<String, Value>,
    /// The group where it was pressed; empty: the first that holds the card, none in a 1:1 chat.
    pub space_id: String,
}

/// What a card adds to a press of one of its buttons.
pub(super) struct PressPlace {
    pub(super) space_id: String,
    pub(super) user_id_type: u64,
}

/// What a message needs from its surroundings.
pub(super) struct Scene<'a> {
    pub(super) app: &'a str,
    pub(super) robot_code: &'a str,
    pub(super) corp_id: &'a str,
    pub(super) webhook: &'a str,
    pub(super) webhook_until: i64,
    pub(super) now: i64,
    pub(super) carried: Carried,
}

/// The body of a bot message, in the order in which DingTalk writes it.
pub(super) fn bot_body(message: &Message, msg_id: &str, scene: &Scene<'_>) -> Value {
    let chat = conversation(message, scene.app);
    let nick = match message.nick.as_str() {
        "" => message.user.as_str(),
        nick => nick,
    };
    let bot = lwcp(&format!("bot:{}", scene.app));
    let mut body = json!({
        "senderPlatform": "Mac",
        "conversationId": chat,
        "openThreadId": chat,
        "chatbotCorpId": scene.corp_id,
        "chatbotUserId": bot,
        "msgId": msg_id,
        "senderNick": nick,
        "isAdmin": false,
        "sessionWebhookExpiredTime": scene.webhook_until,
        "createAt": scene.now,
        "conversationType": if message.group.is_some() { "2" } else { "1" },
        "senderId": lwcp(&message.user),
        "sessionWebhook": scene.webhook,
        "robotCode": scene.robot_code,
    });
    if let Some(map) = body.as_object_mut() {
        if !message.outsider {
            map.insert("senderStaffId".into(), json!(message.user));
            map.insert("senderCorpId".into(), json!(scene.corp_id));
        }
        if message.group.is_some() {
            let mut mentions = vec![json!({"dingtalkId": bot})];
            for user in &message.mentions {
                mentions.push(json!({"dingtalkId": lwcp(user), "staffId": user}));
            }
            map.insert("conversationTitle".into(), json!(message.title));
            map.insert("isInAtList".into(), json!(true));
            map.insert("atUsers".into(), Value::from(mentions));
        }
        match message.content.as_ref().or(scene.carried.content.as_ref()) {
            Some((msgtype, content)) => {
                map.insert("content".into(), content.clone());
                map.insert("msgtype".into(), json!(msgtype));
            }
            None if message.over_quota => {
                map.insert("errCode".into(), json!(20001));
                map.insert("errMsg".into(), json!("Webhook与Stream推送次数已达上限"));
                map.insert("msgtype".into(), json!("text"));
            }
            None => {
                // Where the mention of the bot was cut, a space stays.
                let gap = if message.group.is_some() { " " } else { "" };
                let text = format!("{gap}{}", message.text);
                map.insert("text".into(), json!({ "content": text }));
                map.insert("msgtype".into(), json!("text"));
            }
        }
        if let Some(replied) = &scene.carried.replied {
            map.insert("originalMsgId".into(), json!(replied.get("msgId")));
            let holder = if map.contains_key("text") {
                "text"
            } else {
                "content"
            };
            if let Some(holder) = map.get_mut(holder).and_then(Value::as_object_mut) {
                holder.insert("isReplyMsg".into(), json!(true));
                holder.insert("repliedMsg".into(), replied.clone());
            }
        }
        map.extend(message.extra.clone());
    }
    body
}

/// The data of a card action (stream-protocol.md, section 3.4): `content` and `value` are JSON strings.
pub(super) fn card_body(press: &CardPress, place: &PressPlace, corp_id: &str) -> Value {
    let mut params = press.params.clone();
    if !press.form.is_empty() {
        params.insert("form".into(), json!(press.form));
    }
    let content = json!({
        "cardPrivateData": {"actionIds": press.action_ids, "params": params}
    })
    .to_string();
    json!({
        "extension": "{}",
        "corpId": corp_id,
        "spaceType": if place.space_id.is_empty() { "" } else { "IM" },
        "userIdType": place.user_id_type,
        "type": "actionCallback",
        "userId": press.user,
        "content": content,
        "spaceId": place.space_id,
        "outTrackId": press.out_track_id,
        "value": content,
    })
}

/// The conversation of a message: the group, or the one chat of this user and this bot.
pub(super) fn conversation(message: &Message, app: &str) -> String {
    match &message.group {
        Some(group) => group.clone(),
        None => {
            let digest = Sha256::digest(format!("{app}:{}", message.user));
            format!("cid{}", STANDARD.encode(digest.as_slice()))
        }
    }
}

/// A new `msgId`.
pub(super) fn new_msg_id() -> String {
    format!("msg{}", STANDARD.encode(fastrand::u128(..).to_be_bytes()))
}

/// The encrypted id of somebody, always the same for the same person.
fn lwcp(who: &str) -> String {
    let digest = Sha256::digest(who);
    let short = digest.as_slice().get(..16).unwrap_or_default();
    format!("$:LWCP_v1:${}", STANDARD.encode(short))
}
