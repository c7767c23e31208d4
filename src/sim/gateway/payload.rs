//! What is delivered, apart from how often: one payload renders into a new frame at every push.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

/// Topic of bot messages (stream-protocol.md, section 1.1).
pub const BOT_TOPIC: &str = "/v1.0/im/bot/messages/get";
/// Topic of card actions.
pub const CARD_TOPIC: &str = "/v1.0/card/instances/callback";

/// How a payload is retried when nobody acknowledges it (stream-protocol.md, section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum RetryTable {
    /// The EVENT table.
    Event,
    /// The bot message table.
    Bot,
    /// Never.
    Never,
}

/// The header values that change with every push.
pub(in crate::sim) struct Stamp<'a> {
    pub(in crate::sim) app_id: &'a str,
    pub(in crate::sim) connection_id: &'a str,
    pub(in crate::sim) message_id: &'a str,
    pub(in crate::sim) time: i64,
}

/// One delivery: what stays the same over its redeliveries.
#[derive(Debug, Clone)]
pub(in crate::sim) enum Payload {
    /// An envelope with its own data.
    Envelope(Arc<Envelope>),
    /// The n-th message of a burst, written from the burst's template when needed.
    Drawn(Arc<Template>, u64),
}

/// Type, topic, further headers and data of a frame.
#[derive(Debug)]
pub(in crate::sim) struct Envelope {
    pub(in crate::sim) app: Arc<str>,
    pub(in crate::sim) frame_type: String,
    pub(in crate::sim) topic: String,
    /// Further headers, each as `,"name":"value"`.
    headers_json: String,
    /// `data` as a JSON string, quotes included.
    data_json: String,
    pub(in crate::sim) business_id: Option<String>,
    event_type: String,
    pub(in crate::sim) retry: RetryTable,
}

impl Envelope {
    pub(in crate::sim) fn new(
        app: Arc<str>,
        frame_type: &str,
        topic: &str,
        headers: &[(String, String)],
        data: &str,
    ) -> Self {
        let mut headers_json = String::new();
        for (name, value) in headers {
            let _ = write!(headers_json, ",{}:{}", quoted(name), quoted(value));
        }
        let retry = match (frame_type, topic) {
            ("EVENT", _) => RetryTable::Event,
            ("CALLBACK", BOT_TOPIC) => RetryTable::Bot,
            _ => RetryTable::Never,
        };
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone())
        };
        let business_id = match retry {
            RetryTable::Event => header("eventId"),
            RetryTable::Bot => serde_json::from_str::<Value>(data)
                .ok()
                .and_then(|data| Some(data.get("msgId")?.as_str()?.to_owned())),
            RetryTable::Never => None,
        };
        Self {
            app,
            frame_type: frame_type.to_owned(),
            topic: topic.to_owned(),
            headers_json,
            data_json: quoted(data),
            business_id,
            event_type: header("eventType").unwrap_or_default(),
            retry,
        }
    }
}

/// A frame cut at the places that differ from message to message of a burst.
#[derive(Debug)]
pub(in crate::sim) struct Template {
    pub(in crate::sim) app: Arc<str>,
    /// Literal text, then the slot that follows it.
    pieces: Vec<(String, Slot)>,
    chats: Vec<String>,
    /// What all its `msgId`s begin with.
    pub(in crate::sim) id_base: String,
}

/// A place in a [`Template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    ConnectionId,
    MessageId,
    Time,
    MsgId,
    Chat,
    End,
}

const SLOTS: [(&str, Slot); 5] = [
    ("@CONNECTION@", Slot::ConnectionId),
    ("@MESSAGE@", Slot::MessageId),
    ("@TIME@", Slot::Time),
    ("@MSG@", Slot::MsgId),
    ("@CHAT@", Slot::Chat),
];

impl Template {
    /// Builds a template of bot messages; `data` holds `@MSG@`, `@CHAT@` and `@TIME@` where they differ.
    pub(in crate::sim) fn new(app: Arc<str>, app_id: &str, data: &str, chats: Vec<String>) -> Self {
        let whole = Envelope::new(Arc::clone(&app), "CALLBACK", BOT_TOPIC, &[], data);
        let mut text = String::new();
        let stamp = Stamp {
            app_id,
            connection_id: "@CONNECTION@",
            message_id: "@MESSAGE@",
            time: 0,
        };
        write_envelope(&mut text, &whole, &stamp);
        let text = text.replace("\"time\":\"0\"", "\"time\":\"@TIME@\"");
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        loop {
            let next = SLOTS
                .iter()
                .filter_map(|(mark, slot)| Some((rest.find(mark)?, *mark, *slot)))
                .min_by_key(|(at, ..)| *at);
            let Some((at, mark, slot)) = next else {
                pieces.push((rest.to_owned(), Slot::End));
                break;
            };
            let (literal, tail) = rest.split_at(at);
            pieces.push((literal.to_owned(), slot));
            rest = tail.get(mark.len()..).unwrap_or_default();
        }
        Self {
            app,
            pieces,
            chats,
            id_base: format!("msg{:014x}", fastrand::u64(..) >> 8),
        }
    }

    /// Business id of the n-th message.
    pub(in crate::sim) fn msg_id(&self, index: u64) -> String {
        burst_msg_id(&self.id_base, index)
    }

    fn write(&self, text: &mut String, index: u64, stamp: &Stamp<'_>) {
        for (literal, slot) in &self.pieces {
            text.push_str(literal);
            match slot {
                Slot::ConnectionId => text.push_str(stamp.connection_id),
                Slot::MessageId => text.push_str(stamp.message_id),
                Slot::Time => {
                    let _ = write!(text, "{}", stamp.time);
                }
                Slot::MsgId => {
                    let _ = write!(text, "{}{index:08x}==", self.id_base);
                }
                Slot::Chat => {
                    let count = self.chats.len().max(1) as u64;
                    let chat = usize::try_from(index % count).unwrap_or(0);
                    text.push_str(self.chats.get(chat).map_or("", String::as_str));
                }
                Slot::End => {}
            }
        }
    }
}

/// The `msgId` of the n-th message of a burst.
pub(in crate::sim) fn burst_msg_id(id_base: &str, index: u64) -> String {
    format!("{id_base}{index:08x}==")
}

impl Payload {
    pub(in crate::sim) fn app(&self) -> &Arc<str> {
        match self {
            Self::Envelope(envelope) => &envelope.app,
            Self::Drawn(template, _) => &template.app,
        }
    }

    pub(in crate::sim) fn frame_type(&self) -> &str {
        match self {
            Self::Envelope(envelope) => &envelope.frame_type,
            Self::Drawn(..) => "CALLBACK",
        }
    }

    pub(in crate::sim) fn topic(&self) -> &str {
        match self {
            Self::Envelope(envelope) => &envelope.topic,
            Self::Drawn(..) => BOT_TOPIC,
        }
    }

    pub(in crate::sim) fn business_id(&self) -> Option<String> {
        match self {
            Self::Envelope(envelope) => envelope.business_id.clone(),
            Self::Drawn(template, index) => Some(template.msg_id(*index)),
        }
    }

    pub(in crate::sim) fn event_type(&self) -> &str {
        match self {
            Self::Envelope(envelope) => &envelope.event_type,
            Self::Drawn(..) => "",
        }
    }

    /// The data as JSON; null when it is not JSON.
    pub(in crate::sim) fn data(&self) -> Value {
        match self {
            Self::Envelope(envelope) => serde_json::from_str::<String>(&envelope.data_json)
                .ok()
                .and_then(|data| serde_json::from_str(&data).ok())
                .unwrap_or_default(),
            Self::Drawn(..) => Value::Null,
        }
    }

    pub(in crate::sim) fn retry(&self) -> RetryTable {
        match self {
            Self::Envelope(envelope) => envelope.retry,
            Self::Drawn(..) => RetryTable::Bot,
        }
    }

    /// Appends the frame for one push.
    pub(in crate::sim) fn write(&self, text: &mut String, stamp: &Stamp<'_>) {
        match self {
            Self::Envelope(envelope) => write_envelope(text, envelope, stamp),
            Self::Drawn(template, index) => template.write(text, *index, stamp),
        }
    }
}

fn write_envelope(text: &mut String, envelope: &Envelope, stamp: &Stamp<'_>) {
    let _ = write!(
        text,
        concat!(
            r#"{{"specVersion":"1.0","type":{},"headers":{{"appId":"{}","connectionId":"{}","#,
            r#""contentType":"application/json","messageId":"{}","time":"{}","topic":{}{}}},"data":{}}}"#
        ),
        quoted(&envelope.frame_type),
        stamp.app_id,
        stamp.connection_id,
        stamp.message_id,
        stamp.time,
        quoted(&envelope.topic),
        envelope.headers_json,
        envelope.data_json,
    );
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp<'static> {
        Stamp {
            app_id: "app",
            connection_id: "ticket",
            message_id: "7f000001_1_2_3",
            time: 1_769_851_757_821,
        }
    }

    #[test]
    fn an_envelope_has_string_headers_and_data_inside_a_string() {
        let headers = [("eventId".to_owned(), "e1".to_owned())];
        let envelope = Envelope::new(
            Arc::from("ding"),
            "EVENT",
            "*",
            &headers,
            "{\"a\":\"é\\n\"}",
        );
        assert_eq!(envelope.business_id.as_deref(), Some("e1"));
        let mut text = String::new();
        Payload::Envelope(Arc::new(envelope)).write(&mut text, &stamp());
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(frame["headers"]["time"], "1769851757821");
        assert_eq!(frame["headers"]["eventId"], "e1");
        assert_eq!(frame["data"], "{\"a\":\"é\\n\"}");
    }

    #[test]
    fn a_drawn_message_is_the_template_with_its_own_ids() {
        let data = r#"{"msgId":"@MSG@","conversationId":"@CHAT@","createAt":@TIME@}"#;
        let chats = vec!["cidA==".to_owned(), "cidB==".to_owned()];
        let template = Arc::new(Template::new(Arc::from("ding"), "app", data, chats));
        let payload = Payload::Drawn(Arc::clone(&template), 3);
        let mut text = String::new();
        payload.write(&mut text, &stamp());
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(frame["headers"]["connectionId"], "ticket");
        let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["msgId"].as_str(), payload.business_id().as_deref());
        assert_eq!(data["conversationId"], "cidB==");
        assert_eq!(data["createAt"], 1_769_851_757_821_i64);
    }
}
