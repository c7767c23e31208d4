//! JSON Schemas of the verbs: one document with a definition for each question and answer.

use serde_json::{Map, Value, json};

use super::Receipt;
use super::schema::{Writer, outbound, schema_of};
use super::verb::{
    BindQuestion, BindingAnswer, CancelQuestion, ChatAnswer, ChatQuestion, MediaAnswer,
    MediaQuestion, PersonAnswer, PersonQuestion, ReactionAnswer, ReactionQuestion,
    ReadStatusAnswer, RecallAnswer, SentQuestion, SessionQuestion, Verb, VerbFailure,
};

/// Longest wait of `send` for its receipt, in milliseconds.
pub const MAX_TIMEOUT_MS: u64 = 60_000;
/// The wait when none is asked for.
pub const TIMEOUT_MS: u64 = 30_000;

impl Verb {
    /// The schema of what it is asked.
    pub fn question_schema(self) -> Value {
        let name = format!("api.{self}.request");
        let title = format!("Request of the verb {self}");
        let (name, title) = (name.as_str(), title.as_str());
        let writer = Writer::Client;
        match self {
            Self::Send => send(name, title),
            Self::Cancel => schema_of::<CancelQuestion>(name, title, writer),
            Self::Recall | Self::ReadStatus => schema_of::<SentQuestion>(name, title, writer),
            Self::React | Self::Unreact => schema_of::<ReactionQuestion>(name, title, writer),
            Self::MediaUrl => schema_of::<MediaQuestion>(name, title, writer),
            Self::Chat => schema_of::<ChatQuestion>(name, title, writer),
            Self::UserByUnionId => schema_of::<PersonQuestion>(name, title, writer),
            Self::Bind => schema_of::<BindQuestion>(name, title, writer),
            Self::Binding | Self::Unbind => schema_of::<SessionQuestion>(name, title, writer),
        }
    }

    /// The schema of what it answers.
    pub fn answer_schema(self) -> Value {
        let name = format!("api.{self}.reply");
        let title = format!("Reply of the verb {self}");
        let (name, title) = (name.as_str(), title.as_str());
        let writer = Writer::Bridge;
        match self {
            Self::Send | Self::Cancel => schema_of::<Receipt>(name, title, writer),
            Self::Recall => schema_of::<RecallAnswer>(name, title, writer),
            Self::ReadStatus => schema_of::<ReadStatusAnswer>(name, title, writer),
            Self::React | Self::Unreact => schema_of::<ReactionAnswer>(name, title, writer),
            Self::MediaUrl => schema_of::<MediaAnswer>(name, title, writer),
            Self::Chat => schema_of::<ChatAnswer>(name, title, writer),
            Self::UserByUnionId => schema_of::<PersonAnswer>(name, title, writer),
            Self::Bind | Self::Binding | Self::Unbind => {
                schema_of::<BindingAnswer>(name, title, writer)
            }
        }
    }
}

/// The document: definitions `<verb>.request`, `<verb>.reply` and `failure`.
pub(super) fn verbs() -> Value {
    let mut definitions = Map::new();
    for verb in Verb::ALL {
        definitions.insert(format!("{verb}.request"), verb.question_schema());
        definitions.insert(format!("{verb}.reply"), verb.answer_schema());
    }
    let failure =
        schema_of::<VerbFailure>("api.failure", "Reply that is a failure", Writer::Bridge);
    definitions.insert("failure".to_owned(), failure);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:nats-dingtalk:schema:verbs:1",
        "title": "Requests and replies of <prefix>.api.<verb>",
        "$defs": definitions,
    })
}

/// An outbound request that also says how long to wait.
fn send(name: &str, title: &str) -> Value {
    let mut schema = outbound();
    if let Value::Object(schema) = &mut schema {
        schema.insert(
            "$id".to_owned(),
            json!(format!("urn:nats-dingtalk:schema:{name}:1")),
        );
        schema.insert("title".to_owned(), json!(title));
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let wait = json!({
                "description": "How long to wait for the receipt, in milliseconds",
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_TIMEOUT_MS,
                "default": TIMEOUT_MS,
            });
            properties.insert("timeout_ms".to_owned(), wait);
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_and_answer_is_a_schema_that_takes_what_the_type_writes() {
        for verb in Verb::ALL {
            for schema in [verb.question_schema(), verb.answer_schema()] {
                jsonschema::validator_for(&schema).unwrap();
            }
        }
        assert!(jsonschema::validator_for(&verbs()).is_ok());
        let recall = jsonschema::validator_for(&Verb::Recall.question_schema()).unwrap();
        assert!(recall.is_valid(&json!({"id": "order-1"})));
        assert!(recall.is_valid(&json!({"keys": ["k"], "chat": "group:cid=="})));
        assert!(
            !recall.is_valid(&json!({"key": "k"})),
            "unknown keys are refused"
        );
        let send = jsonschema::validator_for(&Verb::Send.question_schema()).unwrap();
        assert!(send.is_valid(&json!({"to": "user:u1", "text": "a", "timeout_ms": 5000})));
        assert!(!send.is_valid(&json!({"to": "user:u1", "text": "a", "timeout_ms": 90_000})));
    }
}
