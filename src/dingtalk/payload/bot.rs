//! Messages to the robot: where, who, when, what, and how to answer (stream-protocol.md, section 5).

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use memchr::memmem;
use serde_json::value::RawValue;

use super::body::{self, Body};
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
    let body = Body::sort(data);
    let sender = sender(&body);
    let chat = chat(&body);
    let chat_type = chat.as_ref().map(|chat| chat.chat_type);
    let said = Said::read(data, &body);
    let (mentioned, mentions) = mentions(&body, chat_type, &said);
    let sent_at = instant(body.create_at.integer());
    let webhook = webhook(&body, sent_at);
    let notice = notice(&body);
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
        dedup_id: body.msg_id.filled().or(reading.dedup_id),
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

fn chat<'a>(body: &Body<'a>) -> Option<Chat<'a>> {
    let title = body.conversation_title.filled();
    let chat_type = match body.conversation_type.filled().as_deref() {
        Some("1") => ChatType::User,
        Some("2") => ChatType::Group,
        _ => {
            let mentions = body.at_users.array().is_some_and(|all| !all.is_empty());
            let told = body.is_in_at_list.0.or(body.scene_group_code.0).is_some();
            if title.is_some() || mentions || told {
                ChatType::Group
            } else {
                ChatType::User
            }
        }
    };
    Some(Chat {
        id: body.conversation_id.filled()?,
        chat_type,
        title,
    })
}

fn sender<'a>(body: &Body<'a>) -> Option<Sender<'a>> {
    let sender = Sender {
        staff_id: body.sender_staff_id.filled(),
        id: body.sender_id.filled(),
        union_id: body.sender_union_id.filled(),
        nick: body.sender_nick.filled(),
        corp_id: body.sender_corp_id.filled(),
        admin: body.is_admin.boolean(),
    };
    (sender != Sender::default()).then_some(sender)
}

/// Whether the robot was mentioned, and everyone else who was. Names in a rich text count only where
/// there is no list, as they may be the robot's.
fn mentions<'a>(
    body: &Body<'a>,
    chat_type: Option<ChatType>,
    said: &Said<'a>,
) -> (Option<bool>, Vec<Mention<'a>>) {
    let users = body.at_users.array();
    let listed = users.as_ref().is_some_and(|users| !users.is_empty());
    let mut all: Vec<Mention<'a>> = users
        .iter()
        .flatten()
        .filter_map(|user| Members::read(user.get()))
        .map(|user| Mention {
            staff_id: user.filled("staffId"),
            id: user.filled("dingtalkId"),
            union_id: user.filled("unionId"),
            ..Mention::default()
        })
        .collect();
    let robot = body.chatbot_user_id.filled();
    let is_robot = |one: &Mention<'_>| one.id.is_some() && one.id == robot;
    let robot_listed = all.iter().any(is_robot);
    let mentioned = match chat_type {
        None => None,
        Some(ChatType::User) => Some(true),
        Some(ChatType::Group) => body
            .is_in_at_list
            .boolean()
            .or((users.is_some() && robot.is_some()).then_some(robot_listed)),
    };
    if mentioned == Some(true) && !robot_listed {
        drop_masked_robot(&mut all);
    }
    if let Some(at) = &said.at {
        all.extend(listed_in(at));
    }
    if !listed {
        all.extend(said.content.names.iter().map(|name| Mention {
            name: Some(name.clone()),
            ..Mention::default()
        }));
    }
    all.retain(|one| !is_robot(one));
    (mentioned, once(all))
}

/// The robot is listed without staffId; where DingTalk masks the ids so that chatbotUserId finds it
/// no more, it is the only one without.
fn drop_masked_robot(all: &mut Vec<Mention<'_>>) {
    let mut without = all.iter().filter(|one| one.staff_id.is_none());
    if without.next().is_some() && without.next().is_none() {
        all.retain(|one| one.staff_id.is_some());
    }
}

/// Without empty entries and without those that repeat an id.
fn once(mut all: Vec<Mention<'_>>) -> Vec<Mention<'_>> {
    let mut seen = HashSet::with_capacity(all.len());
    all.retain(|one| {
        let ids = [
            &one.id,
            &one.staff_id,
            &one.union_id,
            &one.mobile,
            &one.name,
        ];
        let told = ids.into_iter().enumerate();
        let told = told.filter_map(|(at, id)| Some((at, id.as_ref()?.clone())));
        let (mut any, mut new) = (false, true);
        for id in told {
            any = true;
            new &= seen.insert(id);
        }
        any && new
    });
    all
}

/// The lists beside a text: `at: {atUserIds, atDingtalkIds, atMobiles}`.
fn listed_in<'a>(at: &Members<'a>) -> Vec<Mention<'a>> {
    let mut all = Vec::new();
    for name in ["atUserIds", "atDingtalkIds", "atMobiles"] {
        let ids = at.array(name).unwrap_or_default();
        let ids = ids.into_iter().filter_map(json::text);
        for id in ids.filter(|id| !id.is_empty()) {
            let mut mention = Mention::default();
            match name {
                "atUserIds" => mention.staff_id = Some(id),
                "atDingtalkIds" => mention.id = Some(id),
                _ => mention.mobile = Some(id),
            }
            all.push(mention);
        }
    }
    all
}

/// DingTalk's own notice, such as `20001` when the monthly quota is used up and content is missing.
fn notice<'a>(body: &Body<'a>) -> Option<Notice<'a>> {
    let code = body.error_code.filled()?;
    (code != "0").then(|| Notice {
        code,
        message: body.error_message.filled(),
    })
}

fn webhook(body: &Body<'_>, sent_at: Option<Timestamp>) -> Option<SessionWebhook> {
    let url = Secret::new(body.webhook.filled()?);
    let expires_at = instant(body.webhook_expires.integer())
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
    fn read(data: &Members<'a>, body: &Body<'a>) -> Self {
        let message_type = body.message_type.filled().unwrap_or(Cow::Borrowed("text"));
        let text_members = body.text.object();
        let text = || match (&text_members, body.text.0) {
            (Some(members), _) => content::of_object("text", members, 0),
            (None, Some(text)) => content::read("text", text),
            (None, None) => Content::default(),
        };
        let from = |value: Option<&'a RawValue>| {
            let read = |value| content::read(&message_type, value);
            value.map_or_else(Content::default, read)
        };
        let content = if message_type == "text" {
            text().or_else(|| from(body.content.0))
        } else {
            // Older shapes keep the content under the name of the msgtype.
            from(body.content.0)
                .or_else(|| from(data.value(&message_type)))
                .or_else(text)
        };
        let at = text_members.as_ref().and_then(|text| text.object("at"));
        Self {
            quoted: quoted(data, body, text_members.as_ref()),
            message_type,
            content,
            at: at.or_else(|| body.at.object()),
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

/// What the message answers. Most answer nothing, which is seen without opening anything.
fn quoted(
    data: &Members<'_>,
    body: &Body<'_>,
    text: Option<&Members<'_>>,
) -> Option<Quoted<'static>> {
    let in_text = text.is_some_and(|text| text.iter().any(|(name, _)| body::is_quote(name)));
    let in_content = body.content.0.is_some_and(|content| {
        let json = content.get().as_bytes();
        memmem::find(json, b"repliedMsg").is_some() || memmem::find(json, b"quote").is_some()
    });
    if !in_text && !in_content && body.quote.0.is_none() {
        return None;
    }
    let content = body.content.0.map(|value| match json::text(value) {
        Some(text) => text,
        None => Cow::Borrowed(value.get()),
    });
    let content = content.as_deref().and_then(Members::read);
    let containers: Vec<&Members<'_>> = text.into_iter().chain(content.as_ref()).collect();
    quote::read(data, &containers)
}
