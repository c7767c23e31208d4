//! Messages to the robot: where, who, when, what, and how to answer (stream-protocol.md, section 5).

use std::borrow::Cow;
use std::time::Duration;

use super::content::{self, Content};
use super::quote;
use super::redact::{self, Redacted};
use super::{Reading, SessionWebhook, instant, other};
use crate::dingtalk::json::{self, Members};
use crate::dingtalk::stream::Frame;
use crate::message::{
    Chat, ChatType, Kind, Mention, MessageBody, Notice, Quoted, Secret, Sender, Timestamp,
};

/// Life of a session webhook whose expiry is not told (stream-protocol.md, section 5).
const WEBHOOK_LIFE: Duration = Duration::from_secs(90 * 60);

/// Reads a bot message. Without conversationId nobody can be answered and no chat has an order, so it
/// goes to kind `other`; without msgId the frame's messageId stands in.
pub(super) fn read<'a>(frame: &'a Frame, data: &Members<'a>, raw: Redacted<'a>) -> Reading<'a> {
    let scattered = raw.scattered;
    let sender = sender(data);
    let chat = chat(data);
    let chat_type = chat.as_ref().map(|chat| chat.chat_type);
    let said = Said::read(data);
    let mentions = mentions(data, &said);
    let sent_at = instant(data.integer("createAt").or_else(|| data.integer("createA")));
    let webhook = webhook(data, sent_at);
    let notice = notice(data);
    let mentioned = chat_type.and_then(|chat_type| mentioned(data, chat_type));
    let message = said.body(chat_type, scattered);
    let reading = other(frame, raw);
    let (kind, chat_key, topic) = match &chat {
        Some(chat) if chat.chat_type == ChatType::Group => (Kind::Group, chat.id.clone(), None),
        Some(chat) => {
            let staff_id = sender.as_ref().and_then(|sender| sender.staff_id.clone());
            (Kind::User, staff_id.unwrap_or(chat.id.clone()), None)
        }
        None => (Kind::Other, reading.chat_key, reading.topic),
    };
    Reading {
        kind,
        chat_key,
        dedup_id: data.filled("msgId").or(reading.dedup_id),
        chat,
        sender,
        mentioned,
        mentions,
        message: Some(message),
        topic,
        notice,
        sent_at,
        webhook,
        ..reading
    }
}

fn chat<'a>(data: &Members<'a>) -> Option<Chat<'a>> {
    let title = data.filled("conversationTitle");
    let chat_type = match data.text("conversationType").as_deref() {
        Some("1") => ChatType::User,
        Some("2") => ChatType::Group,
        _ => {
            let has = |name| data.value(name).is_some();
            let mentions = data.array("atUsers").is_some_and(|all| !all.is_empty());
            let group = title.is_some() || mentions || has("isInAtList") || has("sceneGroupCode");
            if group {
                ChatType::Group
            } else {
                ChatType::User
            }
        }
    };
    Some(Chat {
        id: data.filled("conversationId")?,
        chat_type,
        title,
    })
}

fn sender<'a>(data: &Members<'a>) -> Option<Sender<'a>> {
    let sender = Sender {
        staff_id: data.filled("senderStaffId"),
        id: data.filled("senderId"),
        union_id: data.filled("senderUnionId"),
        nick: data.filled("senderNick"),
        corp_id: data.filled("senderCorpId"),
        admin: data.boolean("isAdmin"),
    };
    (sender != Sender::default()).then_some(sender)
}

fn mentioned(data: &Members<'_>, chat_type: ChatType) -> Option<bool> {
    if chat_type == ChatType::User {
        return Some(true);
    }
    data.boolean("isInAtList").or_else(|| {
        let robot = data.filled("chatbotUserId")?;
        let at = data.array("atUsers")?;
        let is_robot = |user: &Members<'_>| user.filled("dingtalkId").as_ref() == Some(&robot);
        Some(
            at.iter()
                .filter_map(|user| Members::read(user.get()))
                .any(|user| is_robot(&user)),
        )
    })
}

/// Everyone mentioned but the robot. Names in a rich text count only where there is no list, as they
/// may be the robot's.
fn mentions<'a>(data: &Members<'a>, said: &Said<'a>) -> Vec<Mention<'a>> {
    let users = data.array("atUsers").unwrap_or_default();
    let mut all: Vec<Mention<'a>> = users
        .iter()
        .filter_map(|user| Members::read(user.get()))
        .map(|user| Mention {
            staff_id: user.filled("staffId"),
            id: user.filled("dingtalkId"),
            union_id: user.filled("unionId"),
            ..Mention::default()
        })
        .collect();
    drop_robot(data, &mut all);
    if let Some(at) = &said.at {
        all.extend(listed(at, "atUserIds").map(|staff_id| Mention {
            staff_id: Some(staff_id),
            ..Mention::default()
        }));
        all.extend(listed(at, "atDingtalkIds").map(|id| Mention {
            id: Some(id),
            ..Mention::default()
        }));
        all.extend(listed(at, "atMobiles").map(|mobile| Mention {
            mobile: Some(mobile),
            ..Mention::default()
        }));
        let robot = data.filled("chatbotUserId");
        all.retain(|one| one.id.is_none() || one.id != robot);
    }
    if users.is_empty() {
        all.extend(said.content.names.iter().map(|name| Mention {
            name: Some(name.clone()),
            ..Mention::default()
        }));
    }
    once(all)
}

/// The robot stands in the list under chatbotUserId and without staffId; where DingTalk masks the ids, it
/// is the only one without.
fn drop_robot(data: &Members<'_>, all: &mut Vec<Mention<'_>>) {
    let robot = data.filled("chatbotUserId");
    let listed = all.len();
    all.retain(|one| one.id.is_none() || one.id != robot);
    if all.len() < listed || data.boolean("isInAtList") != Some(true) {
        return;
    }
    let mut without = all.iter().filter(|one| one.staff_id.is_none());
    if without.next().is_some() && without.next().is_none() {
        all.retain(|one| one.staff_id.is_some());
    }
}

/// Without empty entries and repeated ids.
fn once(all: Vec<Mention<'_>>) -> Vec<Mention<'_>> {
    let mut kept: Vec<Mention<'_>> = Vec::with_capacity(all.len());
    for one in all {
        let repeated = kept.iter().any(|other| {
            let same_id = one.id.is_some() && one.id == other.id;
            let same_staff = one.staff_id.is_some() && one.staff_id == other.staff_id;
            same_id || same_staff || one == *other
        });
        if !repeated && one != Mention::default() {
            kept.push(one);
        }
    }
    kept
}

fn listed<'a>(at: &Members<'a>, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let list = at.array(name).unwrap_or_default();
    let ids = list.into_iter().filter_map(json::text);
    ids.filter(|id| !id.is_empty())
}

/// DingTalk's own notice, such as `20001` when the monthly quota is used up and content is missing.
fn notice<'a>(data: &Members<'a>) -> Option<Notice<'a>> {
    let first = |names: [&str; 3]| names.iter().find_map(|name| data.filled(name));
    let code = first(["errCode", "errorCode", "errcode"])?;
    (code != "0").then(|| Notice {
        code,
        message: first(["errMsg", "errorMessage", "errmsg"]),
    })
}

fn webhook(data: &Members<'_>, sent_at: Option<Timestamp>) -> Option<SessionWebhook> {
    let url = Secret::new(data.filled("sessionWebhook")?);
    let expires_at = instant(data.integer("sessionWebhookExpiredTime"))
        .unwrap_or_else(|| sent_at.unwrap_or_else(Timestamp::now).after(WEBHOOK_LIFE));
    Some(SessionWebhook { url, expires_at })
}

/// What the message says, before it is known who listens.
struct Said<'a> {
    message_type: Cow<'a, str>,
    content: Content<'a>,
    quoted: Option<Quoted<'static>>,
    at: Option<Members<'a>>,
}

impl<'a> Said<'a> {
    fn read(data: &Members<'a>) -> Self {
        let message_type = data
            .filled("msgtype")
            .or_else(|| data.filled("msgType"))
            .unwrap_or(Cow::Borrowed("text"));
        let text = data.value("text");
        let text_members = text.and_then(|text| Members::read(text.get()));
        let text = || match (&text_members, text) {
            (Some(members), _) => content::of_object("text", members, 0),
            (None, Some(text)) => content::read("text", text),
            (None, None) => Content::default(),
        };
        let from = |name: &str| {
            let value = data.value(name);
            value.map_or_else(Content::default, |value| {
                content::read(&message_type, value)
            })
        };
        let content = if message_type == "text" {
            text().or_else(|| from("content"))
        } else {
            // Older shapes keep the content under the name of the msgtype.
            from("content")
                .or_else(|| from(&message_type))
                .or_else(text)
        };
        let at = text_members
            .as_ref()
            .and_then(|text| text.object("at"))
            .or_else(|| data.object("at"));
        Self {
            quoted: quoted(data, text_members.as_ref()),
            message_type,
            content,
            at,
        }
    }

    /// The body as it goes out: the space that "@robot" left in front of a group message is dropped.
    fn body(self, chat_type: Option<ChatType>, scattered: bool) -> MessageBody<'a> {
        let mut text = self.content.text;
        let mut quoted = self.quoted;
        if chat_type == Some(ChatType::Group) {
            text = trimmed(text);
        }
        if scattered {
            text = Cow::Owned(redact::scrub(&text).into_owned());
            if let Some(quoted) = &mut quoted {
                quoted.text = Cow::Owned(redact::scrub(&quoted.text).into_owned());
            }
        }
        MessageBody {
            message_type: self.message_type,
            text,
            media: self.content.media,
            quoted,
        }
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches(' ')),
        Cow::Owned(text) if text.starts_with(' ') => {
            Cow::Owned(text.trim_start_matches(' ').to_owned())
        }
        text => text,
    }
}

fn quoted(data: &Members<'_>, text: Option<&Members<'_>>) -> Option<Quoted<'static>> {
    // Content is opened a second time only when one of `isReplyMsg`, `repliedMsg`, `quoteMessage` and
    // `quoteContent` may be in it.
    let content = data
        .value("content")
        .filter(|value| value.get().contains("epl") || value.get().contains("quote"))
        .map(|value| match json::text(value) {
            Some(text) => text,
            None => Cow::Borrowed(value.get()),
        });
    let content = content.as_deref().and_then(Members::read);
    let containers: Vec<&Members<'_>> = text.into_iter().chain(content.as_ref()).collect();
    quote::read(data, &containers)
}
