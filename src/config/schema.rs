//! The JSON Schema of the configuration, and what the loader asks of it: which keys there are and
//! what kind of value each takes. The types are its only source.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::RawAccount;
use super::admin::RawAdmin;
use super::dingtalk::RawDingtalk;
use super::inbound::RawInbound;
use super::log::RawLog;
use super::nats::RawNats;
use super::ops::RawOps;
use super::spool::RawSpool;

/// Other names of account keys, from DingTalk's older console: alias, key.
pub(super) const ACCOUNT_ALIASES: [(&str, &str); 3] = [
    ("app_key", "client_id"),
    ("app_secret", "client_secret"),
    ("app_secret_file", "client_secret_file"),
];

/// The whole configuration as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Configuration of nats-dingtalk")]
pub(super) struct Raw {
    /// The broker.
    pub(super) nats: RawNats,
    /// DingTalk's hosts and how to reach them.
    pub(super) dingtalk: RawDingtalk,
    /// DingTalk apps by name. The name is a token of every subject: 1 to 64 letters, digits, `_`, `-`.
    pub(super) accounts: BTreeMap<String, RawAccount>,
    /// When a frame is acknowledged to DingTalk.
    pub(super) inbound: RawInbound,
    /// The local spool, which is also the journal.
    pub(super) spool: RawSpool,
    /// Health and metrics over HTTP.
    pub(super) admin: RawAdmin,
    /// How the bridge stops.
    pub(super) ops: RawOps,
    /// What is written to standard error, and how.
    pub(super) log: RawLog,
}

/// The JSON Schema (2020-12) of the configuration file, as `schemas/config.schema.json` holds it.
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<Raw>()
        .to_value();
    if let Some(accounts) = schema.pointer_mut("/properties/accounts") {
        accounts["propertyNames"] = json!({ "pattern": "^[A-Za-z0-9_-]{1,64}$" });
    }
    tidy(&mut schema);
    schema
}

/// Removes what a reader of a TOML file has no use for: null, and the widths of integers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // A table of properties may have one called `format`, which is no text.
            if object.get("format").is_some_and(Value::is_string) {
                object.remove("format");
            }
            if let Some(Value::Null) = object.get("default") {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if object.get("type").is_some_and(|name| name == "object") {
                object.remove("default");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds the aliases, so that an editor that knows the schema accepts them too.
pub(super) fn add_account_aliases(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for (alias, key) in ACCOUNT_ALIASES {
        let mut property = json!({ "type": "string", "description": format!("Alias of `{key}`.") });
        if alias == "app_secret" {
            property["writeOnly"] = Value::Bool(true);
        }
        properties.insert(alias.to_owned(), property);
    }
}

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text, or something that text stands for.
    Text,
    /// A number or a switch.
    Scalar,
    /// A list of texts.
    List,
    /// Keys of its own.
    Table,
}

/// The known keys.
pub(super) struct Keys {
    root: Value,
}

impl Keys {
    /// Reads them off the types.
    pub(super) fn new() -> Self {
        Self { root: schema() }
    }

    /// What stands at `path`; nothing for an unknown key.
    pub(super) fn shape<T: AsRef<str>>(&self, path: &[T]) -> Option<Shape> {
        let node = self.node(path)?;
        let is = |name: &str| match node.get("type") {
            Some(Value::String(only)) => only == name,
            Some(Value::Array(types)) => types.iter().any(|one| one == name),
            _ => false,
        };
        Some(if is("object") {
            Shape::Table
        } else if is("array") {
            Shape::List
        } else if is("string") || !(is("integer") || is("boolean")) {
            Shape::Text
        } else {
            Shape::Scalar
        })
    }

    /// Whether any section has a key of this name.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.leaves()
            .iter()
            .any(|path| path.last().is_some_and(|key| key == name))
    }

    /// The path of every key that holds a value; `*` stands for the name of an account.
    pub(super) fn leaves(&self) -> Vec<Vec<String>> {
        let mut leaves = Vec::new();
        collect(&self.root, &mut Vec::new(), &mut leaves);
        leaves
    }

    fn node<T: AsRef<str>>(&self, path: &[T]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |node, key| {
            let named = node
                .get("properties")
                .and_then(|keys| keys.get(key.as_ref()));
            named.or_else(|| {
                node.get("additionalProperties")
                    .filter(|any| any.is_object())
            })
        })
    }
}

fn collect(node: &Value, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    let named = node.get("properties").and_then(Value::as_object);
    let any = node
        .get("additionalProperties")
        .filter(|any| any.is_object());
    if named.is_none() && any.is_none() {
        leaves.push(path.clone());
        return;
    }
    let named = named
        .into_iter()
        .flatten()
        .map(|(name, node)| (name.as_str(), node));
    for (name, node) in named.chain(any.map(|node| ("*", node))) {
        path.push(name.to_owned());
        collect(node, path, leaves);
        path.pop();
    }
}
