//! What goes to the broker in place of a message that it does not take: one that names the object
//! which holds the body (claim check), and where that is refused too, a dead letter of bounded size
//! that names it. It publishes no message itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{debug, error};

use super::dead;
use crate::broker::{Broker, BrokerError, Outgoing};
use crate::message::{DeadLetter, DeadReason, Direction, Subjects, Timestamp, header, prefix};

/// Refusals that meet the same message again however often it is published: larger than the stream
/// takes, headers longer than any stream takes.
const FINAL: [u64; 2] = [10054, 10097];
/// Members of a body that stay beside its claim.
const MEMBERS: [&str; 8] = [
    "id",
    "account",
    "kind",
    "chat",
    "sender",
    "sent_at",
    "received_at",
    "reply",
];
/// Longest of them, in bytes of JSON. Ids in subjects are bounded; names and titles are not, and may
/// fill a frame.
const MAX_MEMBER: usize = 8 << 10;
/// Longest header that a dead letter takes over.
const MAX_HEADER: usize = 4 << 10;
/// Longest account, subject, id and refusal in such a letter.
const MAX_TEXT: usize = 4 << 10;

/// Makes smaller messages of those that are too large.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    pub(super) broker: Broker,
    pub(super) subjects: Subjects,
}

/// A member of a claim.
#[derive(Serialize)]
#[serde(untagged)]
enum Member<'a> {
    Kept(&'a RawValue),
    Claim { claim: &'a str },
}

impl Claims {
    /// Whether the same message would be refused every time.
    pub(super) fn is_final(&self, refusal: &BrokerError, message: &Outgoing) -> bool {
        is_final(refusal, message.size() > self.broker.max_payload())
    }

    /// The message itself, or its claim when it is larger than the server takes.
    pub(super) async fn fitting(&self, message: Outgoing) -> Result<Outgoing, BrokerError> {
        if message.size() <= self.broker.max_payload() {
            return Ok(message);
        }
        self.claim(message).await
    }

    /// What to publish instead of a message that met a final refusal: its claim, and instead of a
    /// claim a dead letter.
    ///
    /// # Errors
    /// The refusal, when it met such a letter: there is nothing smaller. Or what kept the body out
    /// of the object store.
    pub(super) async fn instead_of(
        &self,
        message: Outgoing,
        refusal: BrokerError,
    ) -> Result<Outgoing, BrokerError> {
        let Some(key) = named(&message, header::CLAIM) else {
            debug!(nats.subject = message.subject, %refusal, "the broker takes no message of this size, its body goes to the object store");
            return self.claim(message).await;
        };
        if named(&message, header::DEAD_REASON) == Some(DeadReason::TooLarge.as_str()) {
            return Err(refusal);
        }
        error!(nats.subject = message.subject, nats.object = key, %refusal, "the broker never takes this message, kept as a dead letter");
        Ok(self.letter(&message, key, &refusal))
    }

    /// Puts the body into the object store and names it.
    async fn claim(&self, message: Outgoing) -> Result<Outgoing, BrokerError> {
        let key = message.message_id().to_owned();
        let claim = claim_of(&message.payload, &key);
        self.broker.put_object(&key, message.payload).await?;
        let mut headers = message.headers;
        headers.push((header::CLAIM.into(), key));
        Ok(Outgoing {
            subject: message.subject,
            headers,
            payload: claim,
        })
    }

    fn letter(&self, message: &Outgoing, key: &str, refusal: &BrokerError) -> Outgoing {
        let account = named(message, header::ACCOUNT).unwrap_or_default();
        let detail = format!("neither it nor its claim is taken: {refusal}");
        let letter = DeadLetter {
            direction: Direction::Inbound,
            account: cut(account),
            reason: DeadReason::TooLarge,
            detail: cut(&detail),
            code: None,
            subject: cut(&message.subject),
            id: Some(cut(message.message_id())),
            payload: serde_json::json!({ "claim": key }),
            at: Timestamp::now(),
        };
        let headers = message.headers.iter();
        let headers = headers.filter(|(name, value)| is_taken_over(name, value));
        dead::outgoing(&self.subjects, &letter, headers.cloned().collect())
    }
}

/// A message that is too large for the server is not sent at all, and refused without a code.
fn is_final(refusal: &BrokerError, too_large: bool) -> bool {
    let BrokerError::Refused { code, .. } = refusal else {
        return false;
    };
    too_large || FINAL.contains(code)
}

/// Whether a header of a message is one of its dead letter as well.
fn is_taken_over(name: &str, value: &str) -> bool {
    let own = [
        header::CE_DATASCHEMA,
        header::DEAD_REASON,
        header::DEAD_DETAIL,
        header::MEDIA,
    ];
    !own.contains(&name) && value.len() <= MAX_HEADER && !value.contains(char::is_control)
}

fn named<'a>(message: &'a Outgoing, wanted: &str) -> Option<&'a str> {
    let found = message.headers.iter().find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.as_str())
}

fn cut(text: &str) -> String {
    prefix(text, MAX_TEXT).to_owned()
}

/// The members of a body that are always there, with `raw` naming the object; of a dead letter
/// everything, with `payload` naming it. The body is read without looking into its members, which
/// may nest without end.
fn claim_of(body: &[u8], key: &str) -> Bytes {
    let whole: BTreeMap<String, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let is_letter = whole.contains_key("payload");
    let stays = |name: &str, value: &RawValue| {
        is_letter || (MEMBERS.contains(&name) && value.get().len() <= MAX_MEMBER)
    };
    let kept = whole.iter().filter(|(name, value)| stays(name, value));
    let kept = kept.map(|(name, value)| (name.as_str(), Member::Kept(value)));
    let mut small: BTreeMap<&str, Member<'_>> = kept.collect();
    let place = if is_letter { "payload" } else { "raw" };
    small.insert(place, Member::Claim { claim: key });
    serde_json::to_vec(&small).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn claim(body: &str) -> Value {
        serde_json::from_slice(&claim_of(body.as_bytes(), "a:1")).unwrap()
    }

    #[test]
    fn a_claim_keeps_what_every_consumer_needs() {
        let message = r#"{"id":"a:1","account":"sales","message":{"text":"x"},"raw":{"x":1}}"#;
        let expected = r#"{"id":"a:1","account":"sales","raw":{"claim":"a:1"}}"#;
        assert_eq!(
            claim(message),
            serde_json::from_str::<Value>(expected).unwrap()
        );
        let letter = claim(r#"{"direction":"inbound","reason":"undecodable","payload":"long"}"#);
        assert_eq!(letter["reason"], "undecodable");
        assert_eq!(letter["payload"]["claim"], "a:1");
    }

    #[test]
    fn a_claim_is_small_and_whole_whatever_the_body_holds() {
        let (title, deep) = ("t".repeat(1 << 20), 100_000);
        let raw = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
        let body = format!(
            r#"{{"id":"a:1","chat":{{"id":"c","title":"{title}"}},"sender":{{"nick":"n"}},"raw":{raw}}}"#
        );
        let expected = r#"{"id":"a:1","sender":{"nick":"n"},"raw":{"claim":"a:1"}}"#;
        assert_eq!(
            claim(&body),
            serde_json::from_str::<Value>(expected).unwrap()
        );
    }

    #[test]
    fn only_what_meets_the_same_message_every_time_is_final() {
        let refused = |code| BrokerError::Refused {
            code,
            description: String::new(),
        };
        for (refusal, too_large, expected) in [
            (refused(0), true, true),
            (refused(0), false, false),
            (refused(10054), false, true),
            // A full stream takes it once there is room.
            (refused(10077), false, false),
            (BrokerError::Away("the broker".to_owned()), true, false),
        ] {
            assert_eq!(is_final(&refusal, too_large), expected, "{refusal}");
        }
    }
}
