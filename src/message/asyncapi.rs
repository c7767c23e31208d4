//! The AsyncAPI 3.0 description of every subject. Bodies are the JSON Schemas beside it. It knows no
//! file.

use serde_json::{Map, Value, json};

use super::{Subjects, Verb, header};

/// How AsyncAPI names the dialect of the schemas.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// One kind of message: name, schema, what it is.
const MESSAGES: [(&str, &str, &str); 6] = [
    (
        "inbound",
        "inbound",
        "What DingTalk delivered, stored before it was acknowledged",
    ),
    ("outbound", "outbound", "A request to send"),
    (
        "receipt",
        "receipt",
        "Outcome of a request: exactly one each",
    ),
    (
        "deadLetter",
        "dead-letter",
        "What was given up, whole, with the reason",
    ),
    (
        "status",
        "status",
        "A link that changed, what became of a media item, how the quota stands, a stranger that reads too",
    ),
    (
        "cardReply",
        "card-reply",
        "What a press on a card changes at once",
    ),
];

/// Describes the subjects of `subjects` as a JSON value.
pub fn asyncapi(subjects: &Subjects) -> Value {
    let mut channels = channels(subjects);
    let mut operations = operations();
    let mut messages = messages();
    for verb in Verb::ALL {
        add(
            &mut channels,
            format!("api.{verb}"),
            verb_channel(subjects, verb),
        );
        add(&mut operations, format!("api.{verb}"), verb_operation(verb));
        add(
            &mut messages,
            format!("{verb}.request"),
            verb_message(verb, "request", "Question"),
        );
        add(
            &mut messages,
            format!("{verb}.reply"),
            verb_message(verb, "reply", "Answer"),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "nats-dingtalk",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "DingTalk on NATS JetStream. To answer a message, publish to its own subject with \
                `inbound` replaced by `outbound`.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "parameters": parameters()},
    })
}

fn add(object: &mut Value, name: String, value: Value) {
    if let Value::Object(object) = object {
        object.insert(name, value);
    }
}

/// The request subject of a verb; the reply comes on the subject that the requester names.
fn verb_channel(subjects: &Subjects, verb: Verb) -> Value {
    let message = |part: &str| reference(&format!("#/components/messages/{verb}.{part}"));
    json!({
        "address": format!("{}.{verb}", subjects.branch("api")),
        "description": verb.summary(),
        "messages": {"request": message("request"), "reply": message("reply")},
    })
}

fn verb_operation(verb: Verb) -> Value {
    let message = |part: &str| reference(&format!("#/channels/api.{verb}/messages/{part}"));
    json!({
        "action": "receive",
        "channel": reference(&format!("#/channels/api.{verb}")),
        "summary": verb.summary(),
        "messages": [message("request")],
        "reply": {
            "channel": reference(&format!("#/channels/api.{verb}")),
            "messages": [message("reply")],
        },
    })
}

fn verb_message(verb: Verb, part: &str, what: &str) -> Value {
    json!({
        "name": format!("{verb}.{part}"),
        "summary": format!("{what} of the verb {verb}"),
        "payload": {
            "schemaFormat": SCHEMA_FORMAT,
            "schema": reference(&format!("./verbs.schema.json#/$defs/{verb}.{part}")),
        },
    })
}

fn channels(subjects: &Subjects) -> Value {
    let chat = |branch: &str| format!("{}.{{account}}.{{kind}}.{{id}}", subjects.branch(branch));
    json!({
        "inbound": channel(&chat("inbound"), "INBOUND", "inbound",
            "Messages, card actions, events and unknown frames, in the order of arrival for each chat"),
        "gated": channel(&chat("gated"), "GATED", "inbound",
            "What the policy of an account kept out, where it is configured to be published"),
        "outboundChat": channel(&chat("outbound"), "OUTBOUND", "outbound",
            "Requests for one chat, sent in the order of publishing"),
        "outboundAccount": channel(&format!("{}.{{account}}", subjects.branch("outbound")), "OUTBOUND",
            "outbound", "Requests whose target stands in the payload"),
        "outboundBare": channel(&subjects.branch("outbound"), "OUTBOUND", "outbound",
            "Requests whose account and target stand in the payload"),
        "receipt": channel(&format!("{}.{{account}}.{{request}}", subjects.branch("receipt")), "RECEIPT",
            "receipt", "Outcomes of requests"),
        "dead": channel(&format!("{}.{{direction}}.{{account}}", subjects.branch("dead")), "DEAD",
            "deadLetter", "What was given up"),
        "status": channel(&format!("{}.{{account}}", subjects.branch("status")), "STATUS", "status",
            "Link changes and media that was stored or could not be, the newest of each account"),
        "cardPress": {
            "address": format!("{}.card.{{account}}", subjects.branch("api")),
            "description": "Core NATS, no stream: the bridge asks whoever listens what a press on a card changes, \
                and waits 1.5 s; without anybody the press is answered empty",
            "parameters": {"account": reference("#/components/parameters/account")},
            "messages": {
                "inbound": reference("#/components/messages/inbound"),
                "cardReply": reference("#/components/messages/cardReply"),
            },
        },
    })
}

fn channel(address: &str, stream: &str, message: &str, description: &str) -> Value {
    let mut names = Map::new();
    for part in address.split('.') {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            let target = format!("#/components/parameters/{name}");
            names.insert(name.to_owned(), reference(&target));
        }
    }
    let target = format!("#/components/messages/{message}");
    let mut channel = object(json!({
        "address": address,
        "description": description,
        "messages": {message: reference(&target)},
        "x-nats-stream": format!("DINGTALK_{stream}"),
    }));
    if !names.is_empty() {
        channel.insert("parameters".to_owned(), Value::Object(names));
    }
    Value::Object(channel)
}

fn operations() -> Value {
    let operation = |action: &str, channel: &str, summary: &str| {
        json!({
            "action": action,
            "channel": reference(&format!("#/channels/{channel}")),
            "summary": summary,
        })
    };
    let request = |channel: &str, summary: &str| {
        let mut operation = object(operation("receive", channel, summary));
        let reply = json!({"channel": reference("#/channels/receipt")});
        operation.insert("reply".to_owned(), reply);
        Value::Object(operation)
    };
    json!({
        "deliver": operation("send", "inbound", "The bridge stores what DingTalk delivers"),
        "gate": operation("send", "gated", "The bridge stores what a policy kept out"),
        "sendToChat": request("outboundChat", "The bridge sends to the chat of the subject"),
        "sendFromAccount": request("outboundAccount", "The bridge sends to the target of the payload"),
        "send": request("outboundBare", "The bridge sends with the account and to the target of the payload"),
        "receipt": operation("send", "receipt", "The bridge stores the outcome of a request"),
        "giveUp": operation("send", "dead", "The bridge stores what it gives up"),
        "tell": operation("send", "status", "The bridge tells how its links and media stand"),
        "askAboutPress": {
            "action": "send",
            "channel": reference("#/channels/cardPress"),
            "summary": "The bridge asks what a press on a card changes at once",
            "messages": [reference("#/channels/cardPress/messages/inbound")],
            "reply": {
                "channel": reference("#/channels/cardPress"),
                "messages": [reference("#/channels/cardPress/messages/cardReply")],
            },
        },
    })
}

fn messages() -> Value {
    let mut messages = Map::new();
    for (name, schema, summary) in MESSAGES {
        let headers = headers(name);
        let message = json!({
            "name": name,
            "summary": summary,
            "headers": {"type": "object", "properties": headers},
            "payload": {
                "schemaFormat": SCHEMA_FORMAT,
                "schema": reference(&format!("./{schema}.schema.json")),
            },
        });
        messages.insert(name.to_owned(), message);
    }
    Value::Object(messages)
}

fn headers(message: &str) -> Map<String, Value> {
    let inbound = [
        (
            header::MSG_ID,
            "Deduplication key, equal to `id` and `ce-id`",
        ),
        (header::CE_SPECVERSION, "CloudEvents, binary mode"),
        (header::CE_ID, "Equal to `id`"),
        (header::CE_SOURCE, "CloudEvents source"),
        (header::CE_TYPE, "CloudEvents type"),
        (
            header::CE_TIME,
            "When it was said, else when it was received",
        ),
        (header::CE_SUBJECT, "CloudEvents subject"),
        (header::CE_DATASCHEMA, "Schema of the body"),
        (header::TRACEPARENT, "W3C trace context"),
        (header::ACCOUNT, "Account that received it"),
        (
            header::CHAT,
            "Exact id of the chat, card, event type or topic",
        ),
        (header::DINGTALK_MSG_ID, "DingTalk's own id"),
        (
            header::CLAIM,
            "Object-store key of a body that was too large",
        ),
        (
            header::MEDIA,
            "How many media items are fetched; absent when none is",
        ),
    ];
    let outbound = [
        (header::MSG_ID, "Idempotency key, where the body names none"),
        (
            header::CONTENT_TYPE,
            "`text/plain` and `text/markdown` make the payload itself the content",
        ),
        (
            header::TRACEPARENT,
            "W3C trace context, passed on to the receipt",
        ),
    ];
    let receipt = [
        (header::MSG_ID, "Deduplication key"),
        (header::REQUEST_ID, "Idempotency key of the request"),
        (header::ACCOUNT, "Account that sent it"),
        (header::TRACEPARENT, "W3C trace context of the request"),
    ];
    let dead = [
        (header::MSG_ID, "Deduplication key"),
        (header::ACCOUNT, "Account concerned"),
        (header::DEAD_REASON, "Why, one word"),
        (header::DEAD_DETAIL, "Why, in words"),
        (header::SOURCE_SUBJECT, "Subject that it came from"),
        (header::SOURCE_SEQUENCE, "Stream sequence that it came from"),
    ];
    let status = [
        (header::MSG_ID, "Deduplication key"),
        (header::ACCOUNT, "Account concerned"),
    ];
    let listed: &[(&str, &str)] = match message {
        "inbound" => &inbound,
        "outbound" => &outbound,
        "receipt" => &receipt,
        "status" => &status,
        "cardReply" => &[],
        _ => &dead,
    };
    listed
        .iter()
        .map(|(name, text)| {
            (
                (*name).to_owned(),
                json!({"type": "string", "description": text}),
            )
        })
        .collect()
}

fn parameters() -> Value {
    json!({
        "account": {"description": "Name of the account in the configuration"},
        "kind": {
            "description": "What the id is; requests take group, user and card",
            "enum": ["group", "user", "card", "event", "other"],
        },
        "id": {"description": "Exact id; bytes outside [A-Za-z0-9_=+/@:$-] and a leading $ are percent-encoded"},
        "request": {"description": "Idempotency key of the request, encoded as an id"},
        "direction": {"description": "Side of the bridge that gave up", "enum": ["inbound", "outbound"]},
    })
}

/// The members of a value that is written as an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn reference(target: &str) -> Value {
    json!({"$ref": target})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_inside_the_document_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    let target = object.get("$ref").and_then(Value::as_str);
                    found.extend(target.map(str::to_owned));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = asyncapi(&Subjects::new("dingtalk").unwrap());
        let mut found = Vec::new();
        references(&document, &mut found);
        let schemas: Vec<String> = crate::message::schemas()
            .iter()
            .map(|(name, _)| format!("./{name}.schema.json"))
            .collect();
        assert!(found.len() > 20);
        for target in found {
            let known = match target.strip_prefix('#') {
                Some(pointer) => document.pointer(pointer).is_some(),
                None => {
                    let file = target.split('#').next().unwrap_or_default();
                    schemas.iter().any(|known| known == file)
                }
            };
            assert!(known, "{target}");
        }
    }

    #[test]
    fn addresses_follow_the_configured_prefix() {
        let document = asyncapi(&Subjects::new("acme.chat").unwrap());
        let address = &document["channels"]["inbound"]["address"];
        assert_eq!(address, "acme.chat.inbound.{account}.{kind}.{id}");
    }
}
