//! What is written back to DingTalk: the texts of acknowledgements (stream-protocol.md, section 4.1).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::delivery::Ack;
use super::frame::Frame;
use crate::dingtalk::json;
use crate::message::{CardReply, param_strings};

/// Code 200 for anything that DingTalk does not read the content of, as a JSON string.
const RESPONSE: &str = r#""{\"response\": null}""#;
/// Code 200 for an EVENT.
const SUCCESS: &str = r#""{\"status\":\"SUCCESS\",\"message\":\"success\"}""#;
/// Code 500 for an EVENT: both the code and the status ask for a redelivery, so either reading of
/// the documentation is served (stream-protocol.md, section 4.2).
const LATER: &str = r#""{\"status\":\"LATER\",\"message\":\"later\"}""#;

/// Something that a session writes.
#[derive(Debug)]
pub(super) enum Answer {
    /// The answer to a data frame.
    Ack {
        /// Its `headers.messageId`.
        message_id: String,
        /// Whether it is an EVENT.
        event: bool,
        /// What to say.
        ack: Ack,
    },
    /// The answer to a SYSTEM frame, ready to be sent.
    System(String),
    /// A WebSocket ping.
    Ping,
}

impl Answer {
    /// The message on the wire.
    pub(super) fn into_message(self) -> Message {
        match self {
            Self::Ack {
                message_id,
                event,
                ack,
            } => Message::Text(acknowledgement(&message_id, event, ack).into()),
            Self::System(text) => Message::Text(Utf8Bytes::from(text)),
            Self::Ping => Message::Ping(bytes::Bytes::new()),
        }
    }
}

/// The answer to a SYSTEM frame: its data echoed byte for byte. `None` when it has no id to answer.
pub(super) fn echo(frame: &Frame) -> Option<Answer> {
    let message_id = frame.message_id.as_deref()?;
    let text = frame.with_raw_data(|data| match data.map(|value| value.get()) {
        None => answer_text(200, message_id, "OK", r#""""#),
        Some(string) if string.starts_with('"') => answer_text(200, message_id, "OK", string),
        // An object instead of a string is answered as the string that it should have been.
        Some(other) => answer_text(200, message_id, "OK", &json_string(other)),
    });
    Some(Answer::System(text))
}

/// Why DingTalk wants the connection closed, for the log.
pub(super) fn disconnect_reason(frame: &Frame) -> String {
    let members = json::Members::read(&frame.data);
    let reason = members.as_ref().and_then(|all| all.filled("reason"));
    reason.map_or_else(
        || "no reason given".to_owned(),
        |reason| reason.chars().take(120).collect(),
    )
}

fn acknowledgement(message_id: &str, event: bool, ack: Ack) -> String {
    match (ack, event) {
        (Ack::Card(reply), _) => {
            let data = json_string(&card_response(&reply).to_string());
            answer_text(200, message_id, "OK", &data)
        }
        (Ack::Done, false) => answer_text(200, message_id, "OK", RESPONSE),
        (Ack::Done, true) => answer_text(200, message_id, "OK", SUCCESS),
        (Ack::Later, _) => answer_text(500, message_id, "ok", LATER),
    }
}

/// The change of a card (stream-protocol.md, section 3.4): what it does not name stays, and what is
/// private is the presser's.
fn card_response(reply: &CardReply) -> Value {
    let mut response = Map::new();
    let mut put = |name: &str, params: BTreeMap<String, String>| {
        if !params.is_empty() {
            response.insert(
                name.to_owned(),
                serde_json::json!({ "cardParamMap": params }),
            );
        }
    };
    put("cardData", reply.public());
    put("userPrivateData", param_strings(&reply.private));
    if !response.is_empty() {
        let by_key =
            serde_json::json!({ "updateCardDataByKey": true, "updatePrivateDataByKey": true });
        response.insert("cardUpdateOptions".to_owned(), by_key);
    }
    serde_json::json!({ "response": response })
}

/// `data` is the JSON string as it stands on the wire, quotes included.
fn answer_text(code: u16, message_id: &str, message: &str, data: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(128 + message_id.len() + data.len());
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        r#"{{"code":{code},"headers":{{"contentType":"application/json","messageId":"#
    );
    if message_id.bytes().all(plain) {
        let _ = write!(text, r#""{message_id}""#);
    } else {
        text.push_str(&json_string(message_id));
    }
    let _ = write!(text, r#"}},"message":"{message}","data":{data}}}"#);
    text
}

fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file(name: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/frames")
            .join(name);
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn text(answer: Answer) -> String {
        answer.into_message().into_text().unwrap().to_string()
    }

    fn message_id(ack: &Value) -> String {
        ack["headers"]["messageId"].as_str().unwrap().to_owned()
    }

    /// Text of the form `{"code":…,"headers":{…},"message":…,"data":…}` in the order of the files.
    fn in_order(ack: &Value) -> String {
        format!(
            r#"{{"code":{},"headers":{{"contentType":{},"messageId":{}}},"message":{},"data":{}}}"#,
            ack["code"],
            ack["headers"]["contentType"],
            ack["headers"]["messageId"],
            ack["message"],
            ack["data"]
        )
    }

    #[test]
    fn acknowledgements_are_the_official_texts() {
        for (name, event, ack) in [
            ("121-ack-bot-official.json", false, Ack::Done),
            ("122-ack-event-success.json", true, Ack::Done),
            ("124-ack-event-later-go.json", true, Ack::Later),
        ] {
            let expected = file(name);
            let written = text(Answer::Ack {
                message_id: message_id(&expected),
                event,
                ack,
            });
            assert_eq!(written, in_order(&expected), "{name}");
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected);
        }
    }

    #[test]
    fn a_system_ping_is_answered_with_its_data_byte_for_byte() {
        let ping = file("01-system-ping.json").to_string();
        let expected = file("120-ack-system-ping.json");
        let answer = echo(&Frame::decode(ping.into())).unwrap();
        assert_eq!(text(answer), in_order(&expected));

        // Escapes, spaces and the order of members stay as DingTalk wrote them.
        let raw = r#""{ \"opaque\" :\u0022\u4e2d\/x\u0022 , \"a\":1.50 }""#;
        let odd = format!(
            r#"{{"type":"SYSTEM","headers":{{"topic":"ping","messageId":"p"}},"data":{raw}}}"#
        );
        let answer = text(echo(&Frame::decode(odd.into())).unwrap());
        assert!(answer.ends_with(&format!(r#""data":{raw}}}"#)), "{answer}");
    }

    #[test]
    fn a_system_frame_without_an_id_is_not_answered_and_one_without_data_gets_empty_data() {
        assert!(echo(&Frame::decode(r#"{"type":"SYSTEM"}"#.into())).is_none());
        let bare = Frame::decode(r#"{"headers":{"messageId":"x"}}"#.into());
        let value: Value = serde_json::from_str(&text(echo(&bare).unwrap())).unwrap();
        assert_eq!(value["data"], "");
        let object = Frame::decode(r#"{"headers":{"messageId":"x"},"data":{"opaque":"o"}}"#.into());
        let value: Value = serde_json::from_str(&text(echo(&object).unwrap())).unwrap();
        assert_eq!(value["data"], r#"{"opaque":"o"}"#);
    }

    #[test]
    fn an_id_with_quotes_and_controls_is_escaped() {
        let answer = text(Answer::Ack {
            message_id: "a\"b\\c\n".to_owned(),
            event: false,
            ack: Ack::Done,
        });
        let value: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(value["headers"]["messageId"], "a\"b\\c\n");
    }

    #[test]
    fn the_reason_of_a_disconnect_frame_is_read() {
        let frame = Frame::decode(file("03-system-disconnect-timeout.json").to_string().into());
        assert_eq!(
            disconnect_reason(&frame),
            "persistent connection is timeout"
        );
        assert_eq!(
            disconnect_reason(&Frame::decode("{}".into())),
            "no reason given"
        );
    }
}
