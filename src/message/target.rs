//! The `to` of a request: a string, a list of users, or the message that is answered.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write};

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::outbound::RequestError;
use super::subject::Kind;

/// Most users that one request may address; calls take 20 each (oapi.md, section 2.1).
pub(crate) const MAX_USERS: usize = 5000;
/// Most users whose ids stand in the subject themselves; of a longer list their digest does.
pub(crate) const SUBJECT_USERS: usize = 20;
/// Between the users of one canonical subject, and before the digest of many; in no staffId.
pub(crate) const USER_SEPARATOR: char = ',';

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
    ///
    /// The id of several users is their list, joined by commas. More than 20 do not fit a subject:
    /// their id is `,<count>:<digest>`, the SHA-256 in hex of the distinct users in their order,
    /// joined by commas; it begins with the separator, so it is no list. The payload carries `to`.
    pub fn address(&self) -> Option<(Kind, Cow<'_, str>)> {
        match self {
            Self::Group(id) => Some((Kind::Group, Cow::Borrowed(id))),
            Self::User(id) => Some((Kind::User, Cow::Borrowed(id))),
            Self::Users(ids) => Some((Kind::User, Cow::Owned(list_id(ids)))),
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
            Self::Users(ids) => ids.iter().try_for_each(|id| check_listed(id)),
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

/// The users of a list in their order, each once.
pub(crate) fn distinct(ids: &[String]) -> Vec<&str> {
    let mut seen = HashSet::with_capacity(ids.len());
    let ids = ids.iter().map(String::as_str);
    ids.filter(|id| seen.insert(*id)).collect()
}

/// The id of a list in a canonical subject.
fn list_id(ids: &[String]) -> String {
    if ids.len() <= SUBJECT_USERS {
        return ids.join(",");
    }
    let users = distinct(ids);
    let list = users.join(",");
    if users.len() <= SUBJECT_USERS {
        return list;
    }
    let mut id = format!("{USER_SEPARATOR}{}:", users.len());
    for byte in Sha256::digest(list) {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
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

fn check_listed(id: &str) -> Result<(), RequestError> {
    if id.contains(USER_SEPARATOR) {
        return Err(refused(
            id,
            "a staffId holds no comma; list each user alone",
        ));
    }
    check_user(id)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(users: &[&str]) -> String {
        let users = users.iter().map(|&user| user.to_owned()).collect();
        let target = Target::Users(users);
        let (kind, id) = target.address().unwrap();
        assert_eq!(kind, Kind::User);
        id.into_owned()
    }

    #[test]
    fn a_short_list_is_its_own_id_and_a_long_one_has_a_digest() {
        assert_eq!(id(&["u1", "u2"]), "u1,u2");
        assert_eq!(id(&["u1"; 25]), "u1");
        let many: Vec<String> = (0..21).map(|n| format!("u{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let digest = id(&many);
        let hex = digest.strip_prefix(",21:").unwrap();
        assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        // What is listed twice changes nothing, another order does.
        assert_eq!(id(&[&many[..], &["u3"]].concat()), digest);
        let other: Vec<&str> = many.iter().rev().copied().collect();
        assert_ne!(id(&other), digest);
    }

    #[test]
    fn a_listed_user_holds_no_separator() {
        let target = Target::Users(vec!["u1".into(), "u2,u3".into()]);
        assert!(target.check().unwrap_err().to_string().contains("comma"));
    }
}
