//! JSON Schemas of the message bodies, read off their types. It knows no file.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::verb_schema::verbs;
use super::{CardReply, DeadLetter, Inbound, Receipt, Request, Status};

/// Contents of a request; exactly one is given.
const CONTENTS: [&str; 11] = [
    "text",
    "markdown",
    "link",
    "action_card",
    "image",
    "file",
    "audio",
    "video",
    "card",
    "stream",
    "raw",
];

/// Who writes a message, which decides what a reader may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// The bridge: members may be added.
    Bridge,
    /// A service: unknown members are refused.
    Client,
}

/// The schemas (JSON Schema 2020-12) by name: `inbound`, `outbound`, `receipt`, `dead-letter`,
/// `status`, `verbs`, `card-reply`.
///
/// What the bridge writes may gain members in later versions, so those schemas are open; requests
/// are closed, as the bridge refuses unknown keys.
pub fn schemas() -> [(&'static str, Value); 7] {
    [
        ("inbound", inbound()),
        ("outbound", outbound()),
        (
            "receipt",
            schema_of::<Receipt>("receipt", "Outcome of a request", Writer::Bridge),
        ),
        (
            "dead-letter",
            schema_of::<DeadLetter>("dead-letter", "What was given up", Writer::Bridge),
        ),
        (
            "status",
            schema_of::<Status>(
                "status",
                "What the bridge says about itself",
                Writer::Bridge,
            ),
        ),
        ("verbs", verbs()),
        (
            "card-reply",
            schema_of::<CardReply>(
                "card-reply",
                "What a press on a card changes at once",
                Writer::Client,
            ),
        ),
    ]
}

fn inbound() -> Value {
    let title = "What DingTalk delivered";
    let mut schema = schema_of::<Inbound<'static>>("inbound", title, Writer::Bridge);
    // The bridge writes `raw` behind the view, which is why the type calls it optional.
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push(json!("raw"));
    }
    schema
}

pub(super) fn outbound() -> Value {
    let mut schema = schema_of::<Request>("outbound", "A request to send", Writer::Client);
    let one_of: Vec<Value> = CONTENTS
        .iter()
        .map(|key| json!({"required": [key]}))
        .collect();
    if let Value::Object(schema) = &mut schema {
        schema.insert("oneOf".to_owned(), Value::Array(one_of));
    }
    schema
}

pub(super) fn schema_of<T: JsonSchema>(name: &str, title: &str, writer: Writer) -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = match writer {
        Writer::Bridge => settings.for_serialize(),
        Writer::Client => settings.for_deserialize(),
    };
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    tidy(&mut schema);
    if let Value::Object(schema) = &mut schema {
        schema.insert(
            "$id".to_owned(),
            json!(format!("urn:nats-dingtalk:schema:{name}:1")),
        );
        schema.insert("title".to_owned(), json!(title));
    }
    schema
}

/// Removes what says nothing to a reader: the widths of Rust's integers, null defaults, and null for
/// members that are left out instead.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("format").is_some_and(is_width) {
                object.remove("format");
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            let required = object.get("required").cloned().unwrap_or_default();
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                let always = |key: &str| {
                    let listed = required.as_array();
                    listed.is_some_and(|keys| keys.iter().any(|name| name == key))
                };
                for (key, property) in properties {
                    if let (false, Value::Object(property)) = (always(key), property) {
                        without_null(property);
                    }
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_width(format: &Value) -> bool {
    let widths = ["uint", "int"];
    format
        .as_str()
        .is_some_and(|name| widths.iter().any(|width| name.starts_with(width)))
}

/// Turns `type: [X, null]` and `anyOf: [X, null]` into X.
fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("anyOf") {
        options.retain(|option| option.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(name: &str) -> Value {
        let found = schemas().into_iter().find(|(key, _)| *key == name);
        found.unwrap().1
    }

    #[test]
    fn a_request_has_exactly_one_content_and_no_unknown_key() {
        let validator = jsonschema::validator_for(&schema("outbound")).unwrap();
        for good in [
            json!({"to": "user:manager1", "text": "hello"}),
            json!({"to": ["user:a", "user:b"], "markdown": {"text": "# hi"}, "id": "order-1"}),
            json!({"to": {"reply_to": "ding:msg"}, "raw": {"msg_key": "sampleText", "msg_param": {}}}),
            json!({"text": "hello", "expires_at": "2026-11-20T10:00:00.000Z", "via": "webhook"}),
        ] {
            assert!(validator.is_valid(&good), "{good}");
            Request::parse(good.to_string().as_bytes())
                .unwrap()
                .content()
                .unwrap();
        }
        for bad in [
            json!({"to": "user:manager1"}),
            json!({"text": "a", "markdown": {"text": "b"}}),
            json!({"text": "a", "txt": "b"}),
            json!({"text": "a", "to": "manager1"}),
            json!({"append": "a"}),
        ] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
    }

    #[test]
    fn the_schema_invites_every_content() {
        let schema = schema("outbound");
        let keys = schema["properties"].as_object().unwrap();
        assert!(CONTENTS.iter().all(|key| keys.contains_key(*key)));
    }

    #[test]
    fn what_is_always_there_is_required_of_an_inbound_message() {
        let schema = schema("inbound");
        assert_eq!(
            schema["required"],
            json!(["id", "account", "kind", "received_at", "raw"])
        );
        let validator = jsonschema::validator_for(&schema).unwrap();
        let body = json!({
            "id": "ding:msg", "account": "sales", "kind": "group", "received_at": "2026-11-20T10:00:00.301Z",
            "chat": {"id": "cid==", "type": "group"},
            "message": {"type": "text", "text": "hi", "media": [], "quoted": null, "later": 1},
            "raw": {"msgId": "msg"}, "later": true,
        });
        assert!(
            validator.is_valid(&body),
            "{:?}",
            validator.validate(&body).err()
        );
        let without = json!({"id": "ding:msg", "account": "sales", "kind": "other"});
        assert!(!validator.is_valid(&without));
    }

    #[test]
    fn null_stands_only_where_it_is_written_and_integers_have_no_width() {
        for (name, schema) in schemas() {
            let text = schema.to_string();
            let nulls = text.matches("\"null\"").count();
            // `message.quoted` is always written.
            assert_eq!(nulls, usize::from(name == "inbound"), "{name}: {text}");
            assert!(
                !text.contains("uint") && text.contains("2020-12"),
                "{name}: {text}"
            );
        }
    }
}
