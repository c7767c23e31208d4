//! The `to` of a request: a string, a list of users, or the message that is answered.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::outbound::RequestError;
use super::subject::Kind;

/// Most users that one request may address; calls take 20 each (oapi.md, section 2.1).
pub(crate) const MAX_USERS: usize = 5000;

/// Who gets a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `"group:<openConversationId>"`.
    Group(String),
    /// `"user:<staffId>"`.
    User(String),
    /// `["user:<staffId>", …]`, at most 5000.
    Users(Vec<String>),
    /// `{"reply_to":"<id of an inbound message>"}`.
    ReplyTo(String),
    /// `{"session":"<session id>"}`: the chat that was bound to it (`dingtalk.api.bind`).
    Session(String),
}

impl Target {
    /// The kind and id of the canonical subject; `None` for a reply or a session, which
    /// have to be looked up.
    pub fn address(&self) -> Option<(Kind, Cow<'_, str>)> {
        match self {
            Self::Group(id) => Some((Kind::Group, Cow::Borrowed(id))),
            Self::User(id) => Some((Kind::User, Cow::Borrowed(id))),
            Self::Users(ids) => Some((Kind::User, Cow::Owned(ids.join(",")))),
            Self::ReplyTo(_) | Self::Session(_) => None,
        }
    }

    /// Refuses ids of the wrong shape before they cost a call.
    ///
    /// # Errors
    /// [`RequestError::Target`] that says what to write instead.
    pub fn check(&self) -> Result<(), RequestError> {
        match self {
            Self::Group(id) => check_group(id),
            Self::User(id) => check_user(id),
            Self::Users(ids) if ids.is_empty() || ids.len() > MAX_USERS => Err(refused(
                &format!("{} users", ids.len()),
                "give 1 to 5000 users",
            )),
            Self::Users(ids) => ids.iter().try_for_each(|id| check_user(id)),
            Self::ReplyTo(id) if id.is_empty() => {
                Err(refused("reply_to", "give the id of an inbound message"))
            }
            Self::Session(id) if id.is_empty() => {
                Err(refused("session", "give the id that the chat was bound to"))
            }
            Self::ReplyTo(_) | Self::Session(_) => Ok(()),
        }
    }
}

fn refused(target: &str, reason: &'static str) -> RequestError {
    RequestError::Target {
        target: target.to_owned(),
        reason,
    }
}

fn check_group(id: &str) -> Result<(), RequestError> {
    if id.is_empty() {
        return Err(refused("group:", "the openConversationId is missing"));
    }
    if id.contains(':') && !id.starts_with("$:LWCP") {
        return Err(refused(
            id,
            "a group id has no sender suffix; give the openConversationId up to its last `=` alone",
        ));
    }
    check_lwcp(id)
}

fn check_user(id: &str) -> Result<(), RequestError> {
    if id.is_empty() {
        return Err(refused("user:", "the staffId is missing"));
    }
    if looks_like_conversation(id) {
        return Err(refused(
            id,
            "this is a conversation id, not a staffId; write group:… for a group and the sender's staff_id for a 1:1 chat",
        ));
    }
    check_lwcp(id)
}

fn check_lwcp(id: &str) -> Result<(), RequestError> {
    if id.starts_with("$:LWCP") {
        return Err(refused(
            id,
            "an encrypted $:LWCP id cannot be addressed; use the sender's staff_id, or answer with reply_to",
        ));
    }
    Ok(())
}

/// Whether `id` has the shape of a conversation id: `cid`, base64, padding.
fn looks_like_conversation(id: &str) -> bool {
    id.strip_prefix("cid").is_some_and(|rest| {
        rest.len() >= 8
            && rest.ends_with('=')
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-'))
    })
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""group:<id>", "user:<id>", ["user:<id>", …], {"reply_to":"<inbound id>"} or {"session":"<session id>"}"#)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
        match text.split_once(':') {
            Some(("group", id)) => Ok(Target::Group(id.to_owned())),
            Some(("user", id)) => Ok(Target::User(id.to_owned())),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Target, A::Error> {
        let mut users = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            match text.strip_prefix("user:") {
                Some(id) => users.push(id.to_owned()),
                None => {
                    return Err(de::Error::invalid_value(de::Unexpected::Str(&text), &self));
                }
            }
        }
        Ok(Target::Users(users))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Target, A::Error> {
        const KEYS: &[&str] = &["reply_to", "session"];
        let Some((key, id)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field("reply_to"));
        };
        if let Some(other) = map.next_key::<String>()? {
            return Err(de::Error::unknown_field(&other, &[]));
        }
        match key.as_str() {
            "reply_to" => Ok(Target::ReplyTo(id)),
            "session" => Ok(Target::Session(id)),
            _ => Err(de::Error::unknown_field(&key, KEYS)),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Group(id) => serializer.collect_str(&format_args!("group:{id}")),
            Self::User(id) => serializer.collect_str(&format_args!("user:{id}")),
            Self::Users(ids) => serializer.collect_seq(ids.iter().map(|id| format!("user:{id}"))),
            Self::ReplyTo(id) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("reply_to", id)?;
                map.end()
            }
            Self::Session(id) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("session", id)?;
                map.end()
            }
        }
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Who gets the message",
            "oneOf": [
                {"type": "string", "pattern": "^(group|user):.+"},
                {"type": "array", "minItems": 1, "maxItems": MAX_USERS,
                 "items": {"type": "string", "pattern": "^user:.+"}},
                {"type": "object", "required": ["reply_to"], "additionalProperties": false,
                 "properties": {"reply_to": {"type": "string",
                    "description": "`id` of an inbound message"}}},
                {"type": "object", "required": ["session"], "additionalProperties": false,
                 "properties": {"session": {"type": "string",
                    "description": "id that a chat was bound to"}}}
            ]
        })
    }
}
