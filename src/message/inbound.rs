//! The normalised view of what DingTalk delivered: the body of every inbound message.
//!
//! Only `id`, `account`, `kind`, `received_at` and `raw` are always there. Text fields borrow from
//! the frame while the bridge writes; consumers read them as `Inbound<'static>`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::subject::Kind;
use super::timestamp::Timestamp;

/// Body of a message on `<prefix>.inbound.>`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Inbound")]
pub struct Inbound<'a> {
    /// `<clientId>:<msgId | eventId | messageId>`: equal to `Nats-Msg-Id` and `ce-id`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Account that received it.
    #[serde(borrow)]
    pub account: Cow<'a, str>,
    /// What it is, as in the subject.
    pub kind: Kind,
    /// Chat it was said in; absent for events and unknown frames.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat<'a>>,
    /// Who said or pressed it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender<'a>>,
    /// Whether the robot itself was mentioned; always true for what DingTalk delivers from 1:1 chats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentioned: Option<bool>,
    /// People mentioned beside the robot.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention<'a>>,
    /// What was said.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageBody<'a>>,
    /// What was pressed or submitted, for kind `card`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardAction<'a>>,
    /// Event type for kind `event`, topic for kind `other`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Cow<'a, str>>,
    /// DingTalk's notice beside or instead of content, such as quota notice `20001`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice<'a>>,
    /// When it was said, by DingTalk's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When the bridge read the frame, by the bridge's clock.
    pub received_at: Timestamp,
    /// How to answer.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply<'a>>,
    /// The `data` of the frame as DingTalk sent it, session webhook removed; a string when it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub raw: Option<Box<RawValue>>,
}

impl Inbound<'_> {
    /// Writes the body with `raw` (valid JSON text) as its last member, without parsing `raw` again.
    ///
    /// # Errors
    /// Only when serialising the view itself fails, which its types rule out.
    pub fn write(&self, raw: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *out, self)?;
        // The object just written is never empty, so its closing brace makes room for one more member.
        out.pop();
        out.extend_from_slice(b",\"raw\":");
        out.extend_from_slice(raw.as_bytes());
        out.push(b'}');
        Ok(())
    }
}

/// DingTalk's own notice on a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notice<'a> {
    /// DingTalk's code, such as `20001` (monthly quota used up: the content is missing).
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// DingTalk's words.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
}

/// Group or 1:1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatType {
    /// conversationType `2`.
    Group,
    /// conversationType `1`.
    User,
}

/// A chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chat<'a> {
    /// DingTalk's conversationId, exact; absent when a card says only where it was delivered.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Group or 1:1.
    #[serde(rename = "type")]
    pub chat_type: ChatType,
    /// Title of a group.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Cow<'a, str>>,
}

/// Who acted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sender<'a> {
    /// staffId (userId) in the robot's organisation; absent for outsiders.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub staff_id: Option<Cow<'a, str>>,
    /// DingTalk's encrypted id, `$:LWCP_v1:$…`: an identity to compare, never an address.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// unionId, when DingTalk tells it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub union_id: Option<Cow<'a, str>>,
    /// Name shown in the chat.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub nick: Option<Cow<'a, str>>,
    /// Organisation of the sender.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub corp_id: Option<Cow<'a, str>>,
    /// Whether the sender administers the robot's organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
}

/// Somebody mentioned with @.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mention<'a> {
    /// staffId, absent for outsiders.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub staff_id: Option<Cow<'a, str>>,
    /// DingTalk's encrypted id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// unionId, when DingTalk tells it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub union_id: Option<Cow<'a, str>>,
    /// Phone number, when the text names one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub mobile: Option<Cow<'a, str>>,
    /// Name as written in a rich text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageBody<'a> {
    /// DingTalk's msgtype: `text`, `richText`, `picture`, `audio`, `video`, `file`, … as delivered.
    #[serde(rename = "type", borrow)]
    pub message_type: Cow<'a, str>,
    /// Readable text of every kind: rich text joined, speech recognised, file name; may be empty.
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    /// Pictures, files, audio and video in it, in order.
    #[serde(borrow, default)]
    pub media: Vec<Media<'a>>,
    /// What it answers.
    #[serde(borrow, default)]
    pub quoted: Option<Quoted<'a>>,
}

/// Kind of a media item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Picture.
    Image,
    /// Voice message.
    Audio,
    /// Video.
    Video,
    /// File.
    File,
}

/// One media item of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Media<'a> {
    /// What it is.
    pub kind: MediaKind,
    /// File name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// Media type, when DingTalk tells it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<Cow<'a, str>>,
    /// Size in bytes, when DingTalk tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Length of audio and video in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Code that downloads it through DingTalk's Open API, for a short time.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub download_code: Option<Cow<'a, str>>,
    /// Public address, when DingTalk gives one instead of a code.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Cow<'a, str>>,
    /// Key in the object store, `<account>/<inbound id>/<n>`, n from 1 and on into what is quoted: there
    /// from the start when it is fetched, which `<prefix>.status.<account>` tells the end of.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Cow<'a, str>>,
}

/// The message that this one answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quoted<'a> {
    /// msgId of the quoted message.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// msgtype of the quoted message, when told.
    #[serde(
        rename = "type",
        borrow,
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub message_type: Option<Cow<'a, str>>,
    /// Readable text, as for the message itself; may be empty.
    #[serde(borrow, default)]
    pub text: Cow<'a, str>,
    /// Who said it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender<'a>>,
    /// When it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Media items in it.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media<'a>>,
}

/// A button pressed or a form submitted on a card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardAction<'a> {
    /// outTrackId of the card; absent for AI-assistant cards, which have a conversation token instead.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub out_track_id: Option<Cow<'a, str>>,
    /// Ids of the pressed actions, as DingTalk sends them (button groups get an index appended).
    #[serde(default)]
    pub actions: Vec<String>,
    /// Parameters of the action.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// Fields of a submitted form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, serde_json::Value>,
    /// `IM_GROUP`, `IM_ROBOT`, … as DingTalk writes it; absent when empty.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub space_type: Option<Cow<'a, str>>,
    /// Where the card stands, such as an openConversationId; absent when empty.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub space_id: Option<Cow<'a, str>>,
}

/// How to answer an inbound message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply<'a> {
    /// Canonical outbound subject of the same chat.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    /// Until when the bridge can answer through the session webhook; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_until: Option<Timestamp>,
}
