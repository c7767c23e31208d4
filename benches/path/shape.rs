//! What a bare loop publishes: the data of the frame as it came with one header, or a message that is
//! the bridge's in everything but the work that it took.

use std::path::Path;

use async_nats::jetstream::Context;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A message as the bridge stored it, and the ids in it that differ from frame to frame.
#[derive(Serialize, Deserialize)]
pub(super) struct Sample {
    headers: Vec<(String, String)>,
    body: String,
    msg_id: String,
    chat: String,
}

/// A subject, headers, and a body unless it is the data as it came.
pub(super) type Ready = (String, HeaderMap, Option<Bytes>);

/// How messages are made out of ids.
pub(super) enum Shape {
    /// One header, and the data as it came.
    Plain,
    /// A copy of the sample with the ids of the frame.
    Full(Box<Template>),
}

/// The sample, cut where ids stand; they are equally long in every frame.
pub(super) struct Template {
    body: Vec<u8>,
    msg_at: Vec<usize>,
    chat_at: Vec<usize>,
    /// Headers that are the same in every message.
    fixed: HeaderMap,
    /// The others: name, what stands before the id, which id, and what stands behind.
    changing: Vec<(HeaderName, String, Id, String)>,
    ids: (String, String),
}

#[derive(Clone, Copy)]
enum Id {
    Message,
    Chat,
}

impl Sample {
    /// The only message of the inbound stream.
    pub(super) async fn of(jetstream: &Context) -> Self {
        let stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
        let stored = stream.get_raw_message(1).await.unwrap();
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, values) in stored.headers.iter() {
            for value in values {
                headers.push((name.to_string(), value.as_str().to_owned()));
            }
        }
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).unwrap()
        };
        Self {
            msg_id: header("Dingtalk-Msg-Id"),
            chat: header("Dingtalk-Chat"),
            body: String::from_utf8(stored.payload.to_vec()).unwrap(),
            headers,
        }
    }

    /// Bytes of body and headers, as the broker counts them.
    pub(super) fn bytes(&self) -> (usize, usize) {
        // Colon, blank and line end; the first line and the last are the protocol's.
        let header = |(name, value): &(String, String)| name.len() + value.len() + 4;
        let headers: usize = self.headers.iter().map(header).sum();
        (self.body.len(), headers + 12)
    }

    /// How many headers it has.
    pub(super) fn headers(&self) -> usize {
        self.headers.len()
    }

    pub(super) fn write(&self, path: &Path) {
        std::fs::write(path, serde_json::to_vec(self).unwrap()).unwrap();
    }
}

impl Shape {
    /// By the path of a sample; plain for `-`.
    pub(super) fn read(sample: &str) -> Self {
        if sample == "-" {
            return Self::Plain;
        }
        let sample: Sample = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
        Self::Full(Box::new(Template::new(sample)))
    }

    /// The message of a frame.
    pub(super) fn message(&self, msg_id: &str, chat: &str) -> Ready {
        let subject = format!("dingtalk.inbound.bench.group.{chat}");
        match self {
            Self::Plain => {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("bench:{msg_id}"));
                (subject, headers, None)
            }
            Self::Full(template) => {
                let (headers, body) = template.fill(msg_id, chat);
                (subject, headers, Some(body))
            }
        }
    }
}

impl Template {
    fn new(sample: Sample) -> Self {
        let places = |id: &str| sample.body.match_indices(id).map(|(at, _)| at).collect();
        let (msg_at, chat_at): (Vec<_>, Vec<_>) = (places(&sample.msg_id), places(&sample.chat));
        assert!(
            !msg_at.is_empty() && !chat_at.is_empty(),
            "ids stand in the body"
        );
        let mut fixed = HeaderMap::new();
        let mut changing = Vec::new();
        for (name, value) in &sample.headers {
            let name = HeaderName::try_from(name.as_str()).unwrap();
            let ids = [(Id::Message, &sample.msg_id), (Id::Chat, &sample.chat)];
            let cut = ids
                .into_iter()
                .find_map(|(which, id)| Some((which, value.split_once(id.as_str())?)));
            match cut {
                Some((which, (before, behind))) => {
                    changing.push((name, before.to_owned(), which, behind.to_owned()));
                }
                None => fixed.insert(name, value.as_str()),
            }
        }
        Self {
            body: sample.body.into_bytes(),
            msg_at,
            chat_at,
            fixed,
            changing,
            ids: (sample.msg_id, sample.chat),
        }
    }

    fn fill(&self, msg_id: &str, chat: &str) -> (HeaderMap, Bytes) {
        assert!(msg_id.len() == self.ids.0.len() && chat.len() == self.ids.1.len());
        let mut body = self.body.clone();
        for (places, id) in [(&self.msg_at, msg_id), (&self.chat_at, chat)] {
            for at in places {
                body[*at..*at + id.len()].copy_from_slice(id.as_bytes());
            }
        }
        let mut headers = self.fixed.clone();
        for (name, before, which, behind) in &self.changing {
            let id = match which {
                Id::Message => msg_id,
                Id::Chat => chat,
            };
            let value: HeaderValue = [before, id, behind].concat().parse().unwrap();
            headers.insert(name.clone(), value);
        }
        (headers, body.into())
    }
}
