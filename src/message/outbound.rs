//! What a service asks the bridge to send: one target, one content, options.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::attachment::Attachment;
use super::card::{CardRequest, StreamPiece};
use super::ids::{AccountName, RequestId};
use super::inbound::MediaKind;
use super::target::Target;
use super::timestamp::Timestamp;

/// Most buttons of an action card.
const MAX_BUTTONS: usize = 5;

/// Why a payload is no request. Each one ends as a dead letter and a `failed` receipt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Not the JSON that the schema describes.
    #[error("{0}")]
    Malformed(String),
    /// No content, or more than one.
    #[error(
        "a request has exactly one of text, markdown, link, action_card, image, file, audio, video, card, stream, raw; this one has {0}"
    )]
    Content(String),
    /// A content that DingTalk would refuse.
    #[error("{0}")]
    Invalid(&'static str),
    /// A target that cannot be addressed.
    #[error("target `{target}`: {reason}")]
    Target {
        /// What was asked for.
        target: String,
        /// Why not, and what to write instead.
        reason: &'static str,
    },
}

/// Body of a message on `<prefix>.outbound`, `<prefix>.outbound.<account>` or a canonical subject.
///
/// Unknown keys are refused. Exactly one content key is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Idempotency key; else the header `Nats-Msg-Id`, else the stream sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// Account that sends; needed on the bare subject when several accounts are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// Who gets it, unless the subject says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// Plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Markdown with a title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markdown: Option<Markdown>,
    /// Link with title, text and picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Markdown with buttons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_card: Option<ActionCard>,
    /// Picture: jpg, gif, png or bmp, at most 20 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Attachment>,
    /// File: doc, docx, xls, xlsx, ppt, pptx, zip, pdf or rar, at most 20 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Attachment>,
    /// Voice: amr, mp3 or wav, at most 2 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Attachment>,
    /// Video: mp4, at most 20 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<Attachment>,
    /// One step of an interactive card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardRequest>,
    /// Name of a streamed answer in this chat: the first piece opens a card, `done` closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// With `stream`: text that is added at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// With `stream`: whether this is the last piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
    /// Any msgKey with its msgParam, passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawMessage>,
    /// People to mention; makes the bridge answer through the session webhook, the only path that notifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mention: Option<Mentions>,
    /// Path to take, instead of the one that the bridge would choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Not sent after this instant: the receipt then says `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Not sent before this instant; it takes its place in the order of its chat then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How urgent it is; it never overtakes inside its own chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

impl Request {
    /// Reads a JSON payload.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] with what is wrong and where.
    pub fn parse(payload: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(payload).map_err(|error| RequestError::Malformed(error.to_string()))
    }

    /// A request that says `text` and nothing else.
    pub fn plain(text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// The one content of the request, checked.
    ///
    /// # Errors
    /// [`RequestError`] when there is none, more than one, one that is not served, or one that
    /// DingTalk would refuse as it stands.
    pub fn content(&self) -> Result<Content, RequestError> {
        let mut given = Vec::new();
        given.extend(self.text.clone().map(Content::Text));
        given.extend(self.markdown.clone().map(Content::Markdown));
        given.extend(self.link.clone().map(Content::Link));
        given.extend(self.action_card.clone().map(Content::ActionCard));
        let media = |kind, given: &Option<Attachment>| {
            let given = given.clone();
            given.map(|attachment| Content::Media(kind, attachment))
        };
        given.extend(media(MediaKind::Image, &self.image));
        given.extend(media(MediaKind::File, &self.file));
        given.extend(media(MediaKind::Audio, &self.audio));
        given.extend(media(MediaKind::Video, &self.video));
        given.extend(self.card.clone().map(Content::Card));
        given.extend(self.piece()?.map(Content::Stream));
        given.extend(self.raw.clone().map(Content::Raw));
        let count = given.len();
        match (given.pop(), count) {
            (Some(content), 1) => content.checked(),
            (_, 0) => Err(RequestError::Content("none".to_owned())),
            (_, several) => Err(RequestError::Content(several.to_string())),
        }
    }

    /// The piece of a streamed answer, when it is one.
    fn piece(&self) -> Result<Option<StreamPiece>, RequestError> {
        match &self.stream {
            None if self.append.is_some() || self.done.is_some() => Err(RequestError::Invalid(
                "`append` and `done` belong to a `stream`; name it",
            )),
            None => Ok(None),
            Some(id) if id.is_empty() => {
                Err(RequestError::Invalid("the name of a stream is empty"))
            }
            Some(_) if self.append.is_none() && self.done != Some(true) => Err(
                RequestError::Invalid("a piece of a stream has `append`, or `done`: true, or both"),
            ),
            Some(id) => Ok(Some(StreamPiece {
                id: id.clone(),
                append: self.append.clone().unwrap_or_default(),
                done: self.done.unwrap_or_default(),
            })),
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Markdown.
    Markdown(Markdown),
    /// Link.
    Link(Link),
    /// Action card.
    ActionCard(ActionCard),
    /// Picture, file, voice or video.
    Media(MediaKind, Attachment),
    /// One step of a card.
    Card(CardRequest),
    /// One piece of a streamed answer.
    Stream(StreamPiece),
    /// Raw msgKey and msgParam.
    Raw(RawMessage),
}

impl Content {
    fn checked(self) -> Result<Self, RequestError> {
        let empty = match &self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Markdown(markdown) => markdown.text.trim().is_empty(),
            Self::Link(link) => link.message_url.is_empty() || link.title.is_empty(),
            Self::ActionCard(card) => {
                if !(1..=MAX_BUTTONS).contains(&card.buttons.len()) {
                    return Err(RequestError::Invalid("an action card has 1 to 5 buttons"));
                }
                card.text.trim().is_empty()
            }
            Self::Media(_, attachment) => {
                attachment.source()?;
                if let Some(cover) = &attachment.cover {
                    cover.source()?;
                }
                false
            }
            Self::Card(card) => {
                card.step()?;
                false
            }
            Self::Stream(_) => false,
            Self::Raw(raw) => {
                if !raw.msg_param.is_object() {
                    return Err(RequestError::Invalid("raw.msg_param must be an object"));
                }
                raw.msg_key.is_empty()
            }
        };
        if empty {
            return Err(RequestError::Invalid("the content is empty"));
        }
        Ok(self)
    }
}

/// Markdown of DingTalk's dialect; long texts are split at paragraphs and fences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Markdown {
    /// Shown in the chat list and in notifications; default: the first line of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The markdown itself.
    pub text: String,
}

/// A link with a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Headline.
    pub title: String,
    /// Text under it.
    pub text: String,
    /// Where it leads.
    pub message_url: String,
    /// Picture beside it: an https URL or a mediaId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pic_url: Option<String>,
}

/// Markdown with 1 to 5 buttons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionCard {
    /// Shown in the chat list and in notifications.
    pub title: String,
    /// Markdown.
    pub text: String,
    /// 1 to 5 buttons.
    pub buttons: Vec<ActionButton>,
    /// How two buttons stand; others are always vertical.
    #[serde(default)]
    pub layout: Layout,
}

/// A button that opens a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionButton {
    /// What stands on it.
    pub title: String,
    /// What it opens.
    pub url: String,
}

/// How buttons stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One under the other.
    #[default]
    Vertical,
    /// Side by side.
    Horizontal,
}

/// A message of any robot template, passed through unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMessage {
    /// DingTalk's msgKey, such as `sampleText`.
    pub msg_key: String,
    /// Object that becomes msgParam, which DingTalk takes as a JSON string.
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub msg_param: serde_json::Value,
}

/// People to mention.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mentions {
    /// By staffId.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// By mobile number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mobiles: Vec<String>,
    /// Everybody in the group.
    #[serde(default)]
    pub all: bool,
}

impl Mentions {
    /// Whether nobody is mentioned.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.mobiles.is_empty() && !self.all
    }
}

/// How urgent a request is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// In its turn.
    #[default]
    Normal,
    /// Before what waits for other chats.
    High,
    /// The same, and it may use the reserve of the monthly quota.
    Alert,
}

/// Path of a message to DingTalk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The robot's Open API.
    Openapi,
    /// The session webhook of an inbound message.
    Webhook,
    /// An interactive card.
    Card,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Request, RequestError> {
        Request::parse(json.as_bytes())
    }

    #[test]
    fn every_form_of_a_target_is_read_and_written_alike() {
        for to in [
            r#""group:cidA+/b==""#,
            r#""user:manager1""#,
            r#"["user:a","user:b"]"#,
            r#"{"reply_to":"ding:msg=="}"#,
        ] {
            let request = parse(&format!(r#"{{"to":{to},"text":"hi"}}"#)).unwrap();
            assert_eq!(serde_json::to_string(&request.to).unwrap(), to);
            request.to.unwrap().check().unwrap();
        }
    }

    #[test]
    fn an_unknown_key_is_named_in_the_error() {
        let error = parse(r#"{"txt":"hi"}"#).unwrap_err().to_string();
        assert!(error.contains("txt"), "{error}");
    }

    #[test]
    fn exactly_one_content_is_required() {
        assert!(parse("{}").unwrap().content().is_err());
        let both = parse(r#"{"text":"a","markdown":{"text":"b"}}"#).unwrap();
        assert_eq!(both.content(), Err(RequestError::Content("2".into())));
        let image = parse(r#"{"image":{}}"#).unwrap();
        assert!(matches!(image.content(), Err(RequestError::Invalid(_))));
        let piece = parse(r#"{"append":"a"}"#).unwrap();
        assert!(matches!(piece.content(), Err(RequestError::Invalid(_))));
    }

    #[test]
    fn ids_of_the_wrong_shape_are_refused_with_the_cure() {
        let refused = |target: Target| target.check().unwrap_err().to_string();
        assert!(refused(Target::User("$:LWCP_v1:$abc".into())).contains("staff_id"));
        assert!(refused(Target::User("cid6KeBBLoveMJOGXo==".into())).contains("conversation id"));
        assert!(refused(Target::Group("cid6KeB==:manager1".into())).contains("suffix"));
        assert!(Target::User("cidric".into()).check().is_ok());
    }
}
