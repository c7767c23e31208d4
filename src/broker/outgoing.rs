//! A message on its way into a stream, and the PubAck that comes back. It knows the wire form of
//! both, and nothing of connections.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StringDeserializer;

use super::error::{BrokerError, NOT_SENT};
use crate::message::header;

/// Bytes around name and value of a header: colon, blank, line end.
const LINE: usize = 4;
/// Room for what the broker adds to a message, in bytes.
const FRAMING: usize = 256;

macro_rules! known {
    ($($name:expr),* $(,)?) => { [$(($name, HeaderName::from_static($name))),*] };
}

/// Headers that the bridge writes itself.
static KNOWN: [(&str, HeaderName); 18] = known![
    header::MSG_ID,
    header::CE_SPECVERSION,
    header::CE_ID,
    header::CE_SOURCE,
    header::CE_TYPE,
    header::CE_TIME,
    header::CE_SUBJECT,
    header::CE_DATASCHEMA,
    header::TRACEPARENT,
    header::ACCOUNT,
    header::CHAT,
    header::DINGTALK_MSG_ID,
    header::CONTENT_TYPE,
    header::REQUEST_ID,
    header::CLAIM,
    header::MEDIA,
    header::SOURCE_SUBJECT,
    header::SOURCE_SEQUENCE,
];

/// Name and value of each header, in order; names that the bridge writes itself are not copied.
pub type Headers = Vec<(Cow<'static, str>, String)>;

/// A message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Subject.
    pub subject: String,
    /// Headers; `Nats-Msg-Id` always among them.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
}

impl Outgoing {
    /// Bytes of the message as the server counts them against its limit, with room for what it adds.
    pub fn size(&self) -> usize {
        let header = |(name, value): &(Cow<'_, str>, String)| name.len() + value.len() + LINE;
        let headers: usize = self.headers.iter().map(header).sum();
        self.payload.len() + headers + FRAMING
    }

    /// `Nats-Msg-Id`; empty when missing.
    pub fn message_id(&self) -> &str {
        let named = |(name, _): &&(Cow<'_, str>, String)| name == header::MSG_ID;
        let found = self.headers.iter().find(named);
        found.map_or("", |(_, value)| value)
    }

    /// The headers as the library's map: for what is added to them before they go out.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when one of them would break the header block.
    pub(super) fn header_map(&self) -> Result<HeaderMap, BrokerError> {
        let mut map = HeaderMap::new();
        for (at, (name, value)) in self.headers.iter().enumerate() {
            let value: HeaderValue = value.parse().map_err(|_| unsendable(name))?;
            let wire = wire_name(name)?;
            let before = self.headers.iter().take(at);
            if before.into_iter().any(|(before, _)| before == name) {
                map.append(wire, value);
            } else {
                map.insert(wire, value);
            }
        }
        Ok(map)
    }

    /// The headers as they go out on the path of every frame.
    ///
    /// The library's map takes a table, and for each header a list, a copy and two hashes: for the
    /// thirteen of a frame a quarter of all that the bridge does for it (docs/performance.md). So the
    /// lines are written here, each checked, and go in as the value of the first of them. Should the
    /// library come to refuse a value of several lines, they go in one by one.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when one of them would break the header block.
    pub(super) fn wire_headers(&self) -> Result<HeaderMap, BrokerError> {
        let mut headers = self.headers.iter();
        let Some((first, value)) = headers.next() else {
            return Ok(HeaderMap::new());
        };
        let mut lines = String::with_capacity(self.size() - self.payload.len());
        push_value(&mut lines, first, value)?;
        for (name, value) in headers {
            if !is_name(name) {
                return Err(unsendable(name));
            }
            lines.push_str("\r\n");
            lines.push_str(name);
            lines.push_str(": ");
            push_value(&mut lines, name, value)?;
        }
        let Some(lines) = as_one_value(lines) else {
            return self.header_map();
        };
        let mut map = HeaderMap::new();
        map.insert(wire_name(first)?, lines);
        Ok(map)
    }
}

/// A value of several lines. Only the library's decoder makes one without looking at it.
fn as_one_value(lines: String) -> Option<HeaderValue> {
    let lines: StringDeserializer<serde::de::value::Error> = lines.into_deserializer();
    HeaderValue::deserialize(lines).ok()
}

/// Adds a value; a line break in it would be a forged header.
fn push_value(lines: &mut String, name: &str, value: &str) -> Result<(), BrokerError> {
    if memchr::memchr2(b'\r', b'\n', value.as_bytes()).is_some() {
        return Err(unsendable(name));
    }
    lines.push_str(value);
    Ok(())
}

/// Whether the library takes it as a name.
fn is_name(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    !name.is_empty() && name.bytes().all(fit)
}

fn wire_name(name: &str) -> Result<HeaderName, BrokerError> {
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, wire)) => Ok(wire.clone()),
        None if !is_name(name) => Err(unsendable(name)),
        None => HeaderName::try_from(name).map_err(|_| unsendable(name)),
    }
}

fn unsendable(name: &str) -> BrokerError {
    BrokerError::Refused {
        code: NOT_SENT,
        description: format!("header `{}` cannot be sent", name.escape_debug()),
    }
}

/// Headers as they came in, sorted by name: the client keeps no order.
pub(super) fn read_headers(map: Option<&HeaderMap>) -> Headers {
    let mut headers: Headers = map
        .into_iter()
        .flat_map(HeaderMap::iter)
        .flat_map(|(name, values)| {
            let pair = |value: &HeaderValue| {
                let name = Cow::Owned(name.to_string());
                (name, value.as_str().to_owned())
            };
            values.iter().map(pair)
        })
        .collect();
    headers.sort_by(|left, right| left.0.cmp(&right.0));
    headers
}

/// What a PubAck says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Sequence in the stream.
    pub sequence: u64,
    /// It was there already.
    pub duplicate: bool,
}

/// The reply to a publish: either half may be there.
#[derive(Deserialize)]
struct PubAck<'a> {
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    #[serde(borrow)]
    error: Option<ApiError<'a>>,
}

#[derive(Deserialize)]
struct ApiError<'a> {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default, borrow)]
    description: Cow<'a, str>,
}

/// Reads the answer to a publish.
pub(super) fn read_puback(reply: &Message) -> Result<Stored, BrokerError> {
    if reply.status == Some(StatusCode::NO_RESPONDERS) {
        let text = "jetstream is not ready or no stream takes this subject";
        return Err(BrokerError::Away(text.to_owned()));
    }
    let unreadable = || BrokerError::Away("an answer that is no acknowledgement".to_owned());
    let ack: PubAck<'_> = serde_json::from_slice(&reply.payload).map_err(|_| unreadable())?;
    match ack {
        PubAck {
            error: Some(error), ..
        } if error.err_code == 0 && error.code == 429 => {
            // An overrun ingest queue answers with the class alone.
            Err(BrokerError::Away(error.description.into_owned()))
        }
        PubAck {
            error: Some(error), ..
        } => Err(BrokerError::refusal(error.err_code, &error.description)),
        PubAck {
            seq: Some(sequence),
            duplicate,
            ..
        } => Ok(Stored {
            sequence,
            duplicate,
        }),
        PubAck { .. } => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: Option<u16>, payload: &str) -> Message {
        Message {
            subject: "_INBOX.x.1".into(),
            reply: None,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            headers: None,
            status: status.map(|code| StatusCode::from_u16(code).unwrap()),
            description: None,
            length: payload.len(),
        }
    }

    #[test]
    fn a_puback_names_the_sequence_and_whether_it_was_there() {
        let read = |text| read_puback(&reply(None, text)).unwrap();
        assert_eq!(
            read(r#"{"stream":"S","domain":"d","seq":7}"#),
            Stored {
                sequence: 7,
                duplicate: false
            }
        );
        assert!(read(r#"{"stream":"S","seq":7,"duplicate":true}"#).duplicate);
    }

    #[test]
    fn what_passes_by_itself_is_an_absence_and_the_rest_is_a_refusal() {
        let error = |status, text| read_puback(&reply(status, text)).unwrap_err();
        assert!(matches!(error(Some(503), ""), BrokerError::Away(_)));
        assert!(matches!(error(None, "{}"), BrokerError::Away(_)));
        assert!(matches!(error(None, "oops"), BrokerError::Away(_)));
        let busy = r#"{"error":{"code":429,"err_code":10167,"description":"too many requests"}}"#;
        assert!(matches!(error(None, busy), BrokerError::Away(_)));
        let bare = r#"{"error":{"code":429,"description":"too many requests"}}"#;
        assert!(matches!(error(None, bare), BrokerError::Away(_)));
        let full =
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}"#;
        assert!(error(None, full).is_code(10077));
    }

    #[test]
    fn a_line_break_in_a_header_is_refused_before_it_is_sent() {
        let message = |name: &'static str, value: &str| Outgoing {
            subject: "s".into(),
            headers: vec![(name.into(), value.into())],
            payload: Bytes::new(),
        };
        for (name, value) in [("a", "b\r\nc: d"), ("a\r\nb", "c"), ("a:b", "c"), ("", "c")] {
            let mut message = message(name, value);
            assert!(message.header_map().is_err(), "{name:?}: {value:?}");
            assert!(message.wire_headers().is_err(), "{name:?}: {value:?}");
            message.headers.insert(0, ("first".into(), String::new()));
            assert!(message.wire_headers().is_err(), "{name:?}: {value:?}");
        }
    }

    #[test]
    fn every_header_goes_out_and_comes_in_again_a_repeated_one_twice() {
        let pair = |name: &'static str, value: &str| (Cow::Borrowed(name), value.to_owned());
        let message = Outgoing {
            subject: "s".into(),
            headers: vec![
                pair("Nats-Msg-Id", "x"),
                pair("X-Mine", "1"),
                pair("X-Mine", "2"),
                pair("ce-id", "键"),
            ],
            payload: Bytes::new(),
        };
        let map = message.header_map().unwrap();
        assert_eq!(read_headers(Some(&map)), message.headers);
        let wire = message.wire_headers().unwrap();
        let lines = "x\r\nX-Mine: 1\r\nX-Mine: 2\r\nce-id: 键";
        assert_eq!(wire.len(), 1, "the library takes no ready lines any more");
        assert_eq!(wire.get("Nats-Msg-Id").unwrap().as_str(), lines);
    }
}
