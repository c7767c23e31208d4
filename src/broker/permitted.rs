//! What the user of this bridge may do at the broker, as the broker says, beside what a bridge needs. It
//! asks, and changes nothing.

use async_nats::client::Request;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::connection::inbox;
use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use super::rights::{Role, USER_INFO, rights};
use crate::config::{self, NatsAuth};

/// What a user may do and needs not, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permitted {
    /// Nothing is refused to it.
    Everything,
    /// It is restricted, and may do all that a bridge does.
    Enough,
    /// It lacks these: each a right in the words of a person.
    Lacks(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Option<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    permissions: Option<Granted>,
}

#[derive(Debug, Default, Deserialize)]
struct Granted {
    publish: Option<List>,
    subscribe: Option<List>,
    responses: Option<IgnoredAny>,
}

/// Patterns; without `allow`, all that is not denied is allowed.
#[derive(Debug, Default, Deserialize)]
struct List {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

/// Asks the broker.
pub(super) async fn ask(hub: &Hub) -> Result<Permitted, BrokerError> {
    hub.ready().await?;
    let request = Request::new()
        .payload(Bytes::new())
        .timeout(Some(REQUEST_TIMEOUT));
    let answer = hub.client().send_request(USER_INFO, request).await?;
    let answer: Answer = serde_json::from_slice(&answer.payload)
        .map_err(|error| BrokerError::Away(error.to_string()))?;
    let granted = answer.data.and_then(|user| user.permissions);
    Ok(granted.map_or(Permitted::Everything, |granted| {
        compare(&hub.settings, &granted)
    }))
}

fn compare(nats: &config::Nats, granted: &Granted) -> Permitted {
    let (name, inboxes) = match &nats.auth {
        NatsAuth::User { user, .. } => (user.as_str(), format!("{}.>", inbox(user))),
        _ => ("bridge", "_INBOX.>".to_owned()),
    };
    let own = format!("_INBOX_{name}.>");
    let needed = rights(nats, name, &Role::Bridge);
    let publish = needed.publish.iter();
    let mut lacks: Vec<String> = publish
        .filter(|subject| !covers(granted.publish.as_ref(), subject))
        .map(|subject| format!("publish to {subject}"))
        .collect();
    for subject in &needed.subscribe {
        let subject = if *subject == own { &inboxes } else { subject };
        if !covers(granted.subscribe.as_ref(), subject) {
            lacks.push(format!("subscribe to {subject}"));
        }
    }
    // Whoever asks a verb is answered in an inbox that nobody can name before.
    let answers = granted.responses.is_some()
        || covers(granted.publish.as_ref(), ">")
        || covers(granted.publish.as_ref(), "_INBOX.>");
    if needed.answers && !answers {
        lacks.push("answer requests (allow_responses)".to_owned());
    }
    match lacks.is_empty() {
        true => Permitted::Enough,
        false => Permitted::Lacks(lacks),
    }
}

/// Whether all of `needed` is allowed and nothing of it denied.
fn covers(list: Option<&List>, needed: &str) -> bool {
    let Some(list) = list else { return true };
    let allowed = list.allow.is_empty() || list.allow.iter().any(|wider| includes(wider, needed));
    allowed && !list.deny.iter().any(|denied| overlaps(denied, needed))
}

/// Whether every subject of `needed` is one of `wider`.
fn includes(wider: &str, needed: &str) -> bool {
    let (mut wider, mut needed) = (wider.split('.'), needed.split('.'));
    loop {
        match (wider.next(), needed.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Whether a subject can be of both.
fn overlaps(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(token), Some(same)) if token == same => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::connection::tests::section;
    use crate::config::NatsTls;

    fn lacks(granted: &str) -> Vec<String> {
        let nats = section(NatsAuth::None, NatsTls::default());
        match compare(&nats, &serde_json::from_str(granted).unwrap()) {
            Permitted::Lacks(lacks) => lacks,
            Permitted::Enough | Permitted::Everything => Vec::new(),
        }
    }

    #[test]
    fn patterns_include_and_overlap_as_the_broker_reads_them() {
        for (wider, needed, included, overlapping) in [
            (">", "a.b", true, true),
            ("a.>", "a.b.>", true, true),
            ("a.*", "a.*", true, true),
            ("a.*", "a.>", false, true),
            ("a.>", "a", false, false),
            ("a.b", "a.*", false, true),
            ("a.b", "a.c", false, false),
            ("*.b.>", "a.b", false, false),
        ] {
            assert_eq!(includes(wider, needed), included, "{wider} {needed}");
            assert_eq!(overlaps(wider, needed), overlapping, "{wider} {needed}");
        }
    }

    #[test]
    fn a_wide_user_lacks_nothing_and_a_narrow_one_what_is_not_in_its_list() {
        assert!(lacks("{}").is_empty());
        let wide = r#"{"publish":{"allow":["$JS.>","$KV.>","$O.>","$SYS.REQ.USER.INFO","dingtalk.>","_INBOX.>"]}}"#;
        assert!(lacks(wide).is_empty(), "{:?}", lacks(wide));
        let denied = r#"{"publish":{"deny":["$JS.API.STREAM.PURGE.>"]}}"#;
        let denied = lacks(denied);
        assert_eq!(denied.len(), 2, "{denied:?}");
        assert!(denied[0].starts_with("publish to $JS.API.STREAM.PURGE.OBJ_DINGTALK_"));
        let deaf = r#"{"subscribe":{"allow":["_INBOX.>","dingtalk.>"]}}"#;
        assert_eq!(lacks(deaf), ["subscribe to $SRV.>"]);
        let mute =
            r#"{"publish":{"allow":["$JS.>","$KV.>","$O.>","$SYS.REQ.USER.INFO","dingtalk.>"]}}"#;
        assert_eq!(lacks(mute), ["answer requests (allow_responses)"]);
    }
}
