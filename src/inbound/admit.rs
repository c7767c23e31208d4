//! What a frame becomes: read, gated, addressed, written down, in one pass over its data.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::Policies;
use super::dead;
use super::flight::Flight;
use super::gate;
use super::media::{self, Errand};
use super::responder::Callbacks;
use super::sessions::Sessions;
use crate::broker::{Headers, Outgoing};
use crate::config::{Gated, Media as Rule};
use crate::dingtalk::payload::{self, Reading};
use crate::dingtalk::stream::{Ack, Delivery};
use crate::message::{
    AccountName, Chat, ChatType, DeadLetter, DeadReason, Direction, Inbound, Kind, Reply,
    SessionEntry, Subjects, Timestamp, header, prefix,
};
use crate::telemetry::{CardChats, FrameOutcome, Metrics};

/// Room for the normalised view beside the raw data.
const VIEW_BYTES: usize = 1024;
/// What CloudEvents consumers validate the body against.
const SCHEMA: &str = "urn:nats-dingtalk:schema:inbound:1";
/// What a dead letter says about a frame that cannot be read.
const UNREADABLE: &str = "the data of the frame is not the JSON that its topic promises";
/// What it says about one without data, of which the letter holds everything.
const EMPTY: &str = "the frame holds no data, the payload is the frame itself";
/// What it says about one that no subject can name.
const UNADDRESSABLE: &str = "the id of its chat, card, event or topic is longer than 1024 bytes";
/// Longest id in a subject or header, in bytes. Percent-encoded it is three times as long; a server
/// closes the connection at a subject of 4096 bytes, which would be sent again for ever.
const MAX_ID: usize = 1024;

/// Turns deliveries into flights.
#[derive(Debug)]
pub(super) struct Admitter {
    subjects: Subjects,
    policies: watch::Receiver<Policies>,
    sessions: Sessions,
    callbacks: Callbacks,
    chats: CardChats,
    metrics: Metrics,
}

impl Admitter {
    pub(super) fn new(
        subjects: Subjects,
        policies: watch::Receiver<Policies>,
        (sessions, callbacks, chats): (Sessions, Callbacks, CardChats),
        metrics: Metrics,
    ) -> Self {
        Self {
            subjects,
            policies,
            sessions,
            callbacks,
            chats,
            metrics,
        }
    }

    /// The flight that stores the frame; `None` when the policy drops it, which ends it here.
    pub(super) fn admit(&self, delivery: Delivery) -> Option<Flight> {
        let reading = payload::read(&delivery.frame);
        let key = dedup_key(&delivery, &reading);
        if reading.notice.is_some() {
            self.metrics.quota_notice(&delivery.account);
            warn!(dingtalk.account = %delivery.account, "dingtalk sent a notice instead of content, see the monthly quota in the developer console");
        }
        let mut gated = false;
        let mut media = Vec::new();
        let addressable = reading.chat_key.len() <= MAX_ID;
        let mut pressed = false;
        let message = if reading.readable && addressable {
            match self.gate(&delivery.account, &reading) {
                Some((reason, Gated::Drop)) => {
                    debug!(dingtalk.account = %delivery.account, dingtalk.msg_id = key, reason, "gated");
                    self.end_gated(delivery);
                    return None;
                }
                Some((_, Gated::Publish)) => gated = true,
                None => self.keep_session(&delivery, &reading, &key),
            }
            pressed = !gated && track(&reading).is_some();
            let (message, errands) = self.view(&delivery, reading, &key, gated);
            media = errands;
            message
        } else {
            // The session has counted frames that are no JSON at all.
            if !reading.readable && !delivery.frame.is_undecodable() {
                self.metrics.frame_undecodable(&delivery.account);
            }
            warn!(dingtalk.account = %delivery.account, dingtalk.topic = short(&delivery.frame.topic), bytes = delivery.frame.text.len(), "frame cannot be read, kept as a dead letter");
            self.dead(&delivery, &reading, &key)
        };
        let callback = pressed.then(|| self.callbacks.of(&delivery.account, &message.payload));
        Some(Flight {
            account: delivery.account,
            message,
            ticket: Some(delivery.ticket),
            callback,
            received: delivery.received,
            gated,
            media,
            ended: None,
        })
    }

    fn gate(&self, account: &AccountName, reading: &Reading<'_>) -> Option<(&'static str, Gated)> {
        let policies = self.policies.borrow();
        let policy = &policies.get(account)?.policy;
        let reason = gate::keeps_out(policy, reading)?;
        Some((reason.as_str(), policy.gated))
    }

    fn end_gated(&self, delivery: Delivery) {
        let answered = delivery.ticket.answer(Ack::Done);
        if answered {
            self.metrics.acked(delivery.received.elapsed());
        } else {
            self.metrics.ack_lost(&delivery.account);
        }
        self.metrics
            .frame_ended(&delivery.account, FrameOutcome::Gated);
    }

    fn keep_session(&self, delivery: &Delivery, reading: &Reading<'_>, key: &str) {
        if let Some(webhook) = &reading.webhook {
            let entry = SessionEntry {
                url: webhook.url.clone(),
                expires_at: webhook.expires_at,
                account: delivery.account.clone(),
                kind: reading.kind,
                chat: reading.chat_key.clone().into_owned(),
                conversation: reading
                    .chat
                    .as_ref()
                    .map(|chat| chat.id.clone().into_owned()),
            };
            self.sessions.keep(key, entry);
        }
    }

    /// What becomes of the media of a message; nothing is fetched of what was kept out.
    fn media_rule(&self, account: &AccountName, gated: bool) -> Rule {
        let policies = self.policies.borrow();
        match policies.get(account).map(|rules| rules.media) {
            Some(Rule::Fetch) if !gated => Rule::Fetch,
            Some(Rule::Off) => Rule::Off,
            Some(Rule::Fetch | Rule::Link) | None => Rule::Link,
        }
    }

    /// The message that the frame becomes, and the media that it announces.
    fn view(
        &self,
        delivery: &Delivery,
        reading: Reading<'_>,
        key: &str,
        gated: bool,
    ) -> (Outgoing, Vec<Errand>) {
        let mut headers = self.headers(delivery, &reading, key);
        let account = &delivery.account;
        let (kind, chat) = (reading.kind, reading.chat_key.as_ref());
        let subject = if gated {
            self.subjects.gated(account, kind, chat)
        } else {
            self.subjects.inbound(account, kind, chat)
        };
        let answerable = match kind {
            Kind::Group | Kind::User => true,
            // An AI-assistant card has no outTrackId to answer on.
            Kind::Card => track(&reading).is_some(),
            Kind::Event | Kind::Other => false,
        };
        let placed = match reading.chat {
            Some(_) => None,
            None => self.place(account, &reading),
        };
        let mut message = reading.message;
        if let Some(message) = &mut message {
            media::assign(message, self.media_rule(account, gated), account, key);
        }
        let view = Inbound {
            id: key.into(),
            account: account.as_str().into(),
            kind,
            chat: reading.chat.or(placed),
            sender: reading.sender,
            mentioned: reading.mentioned,
            mentions: reading.mentions,
            message,
            card: reading.card,
            topic: reading.topic,
            notice: reading.notice,
            sent_at: reading.sent_at,
            received_at: delivery.received_at,
            reply: answerable.then(|| Reply {
                subject: self.subjects.outbound(account, kind, chat).into(),
                webhook_until: reading.webhook.as_ref().map(|webhook| webhook.expires_at),
            }),
            raw: None,
        };
        let mut body = Vec::with_capacity(reading.raw.len() + VIEW_BYTES);
        if let Err(error) = view.write(&reading.raw, &mut body) {
            // Text, numbers and string keys only: there is nothing in the view that JSON refuses.
            warn!(%error, "the normalised view could not be written");
        }
        headers.push((header::CE_DATASCHEMA.into(), SCHEMA.to_owned()));
        let errands = media::announced(&view, account);
        if !errands.is_empty() {
            headers.push((header::MEDIA.into(), errands.len().to_string()));
        }
        let message = Outgoing {
            subject,
            headers,
            payload: Bytes::from(body),
        };
        (message, errands)
    }

    /// The chat of a card, where DingTalk leaves it out and the bridge put the card there itself.
    fn place(&self, account: &AccountName, reading: &Reading<'_>) -> Option<Chat<'static>> {
        let (kind, id) = self.chats.find(account, track(reading)?)?;
        let chat_type = match kind {
            Kind::Group => ChatType::Group,
            Kind::User => ChatType::User,
            Kind::Card | Kind::Event | Kind::Other => return None,
        };
        Some(Chat {
            id: id.into(),
            chat_type,
            title: None,
        })
    }

    fn dead(&self, delivery: &Delivery, reading: &Reading<'_>, key: &str) -> Outgoing {
        let detail = match reading.readable {
            true => UNADDRESSABLE,
            false if delivery.frame.data.is_empty() => EMPTY,
            false => UNREADABLE,
        };
        // Too deep, a number beyond all floats, half a surrogate pair: kept as the text that it is.
        let payload = serde_json::from_str(&reading.raw)
            .unwrap_or_else(|_| serde_json::Value::String(reading.raw.clone().into_owned()));
        let letter = DeadLetter {
            direction: Direction::Inbound,
            account: delivery.account.as_str().to_owned(),
            reason: DeadReason::Undecodable,
            detail: detail.to_owned(),
            code: None,
            // Whole, an id may be longer than any message.
            subject: self.subjects.inbound(
                &delivery.account,
                reading.kind,
                short(&reading.chat_key),
            ),
            id: Some(key.to_owned()),
            payload,
            at: delivery.received_at,
        };
        let headers = self.headers(delivery, reading, key);
        dead::outgoing(&self.subjects, &letter, headers)
    }

    fn headers(&self, delivery: &Delivery, reading: &Reading<'_>, key: &str) -> Headers {
        let account = delivery.account.as_str();
        let at: Timestamp = reading.sent_at.unwrap_or(delivery.received_at);
        let mut headers = Vec::with_capacity(16);
        let mut put = |name: &'static str, value: String| headers.push((name.into(), value));
        put(header::MSG_ID, header_value(key));
        put(header::CE_SPECVERSION, "1.0".to_owned());
        put(header::CE_ID, header_value(key));
        put(header::CE_SOURCE, ["/dingtalk/", account].concat());
        put(header::CE_TYPE, event_type(reading));
        put(header::CE_TIME, at.to_string());
        put(header::CE_SUBJECT, header_value(short(&reading.chat_key)));
        put(header::TRACEPARENT, traceparent());
        put(header::ACCOUNT, account.to_owned());
        put(header::CHAT, header_value(short(&reading.chat_key)));
        if let Some(id) = &reading.dedup_id {
            put(header::DINGTALK_MSG_ID, header_value(short(id)));
        }
        put(header::CONTENT_TYPE, "application/json".to_owned());
        headers
    }
}

/// `<clientId>:<business id>`. Without an id, with one that is too long for a header, or when the data
/// cannot be read and the id is that of this push only, equal content is the same frame.
fn dedup_key(delivery: &Delivery, reading: &Reading<'_>) -> String {
    match &reading.dedup_id {
        Some(id) if reading.readable && id.len() <= MAX_ID => {
            [&*delivery.client_id, ":", id.as_ref()].concat()
        }
        _ => {
            let text = if delivery.frame.data.is_empty() {
                delivery.frame.text.as_str()
            } else {
                &delivery.frame.data
            };
            let digest = Sha256::digest(text.as_bytes());
            format!("{}:sha256-{digest:x}", delivery.client_id)
        }
    }
}

/// The card that was pressed, where it can be told.
fn track<'a>(reading: &'a Reading<'_>) -> Option<&'a str> {
    reading.card.as_ref()?.out_track_id.as_deref()
}

/// As much of an id as a header takes.
fn short(id: &str) -> &str {
    prefix(id, MAX_ID)
}

fn event_type(reading: &Reading<'_>) -> String {
    match reading.kind {
        Kind::Group | Kind::User => "com.dingtalk.bot.message".to_owned(),
        Kind::Card => "com.dingtalk.card.action".to_owned(),
        Kind::Event => format!(
            "com.dingtalk.event.{}",
            header_value(short(&reading.chat_key))
        ),
        Kind::Other => "com.dingtalk.frame".to_owned(),
    }
}

/// A header value as CloudEvents wants it: printable ASCII but `"` and `%` stands as it is, all
/// else is percent-encoded, so no id can break out of its header.
fn header_value(value: &str) -> String {
    let plain = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'%';
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut encoded = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Begins a W3C trace, so that an answer can be traced to its question.
fn traceparent() -> String {
    let mut trace = String::with_capacity(55);
    trace.push_str("00-");
    push_hex(&mut trace, &fastrand::u128(1..).to_be_bytes());
    trace.push('-');
    push_hex(&mut trace, &fastrand::u64(1..).to_be_bytes());
    trace.push_str("-01");
    trace
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for digit in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_breaks_out_of_its_header() {
        assert_eq!(header_value("cidA+/b=="), "cidA+/b==");
        assert_eq!(header_value("a\r\nb: c"), "a%0D%0Ab:%20c");
        assert_eq!(header_value("钉\"%"), "%E9%92%89%22%25");
    }

    #[test]
    fn a_long_id_is_cut_between_two_characters() {
        assert_eq!(short("cid"), "cid");
        assert_eq!(short(&"钉".repeat(400)).len(), 1023);
    }

    #[test]
    fn a_trace_has_the_form_of_the_standard() {
        let trace = traceparent();
        let lengths: Vec<usize> = trace.split('-').map(str::len).collect();
        assert_eq!(lengths, [2, 32, 16, 2]);
    }
}
