//! From layers to checked values. It knows every section, and no key.

use std::collections::BTreeMap;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};

use super::account::Checked;
use super::environment::Environment;
use super::error::{ConfigError, Problem, dotted, name_or_mask};
use super::schema::Raw;
use super::section::{Origins, Section};
use super::source::Source;
use super::suggest::nearest;
use super::{Account, Config, layers};
use crate::message::AccountName;

/// Loads the configuration: defaults < TOML file < environment < flags. The environment is taken at
/// this moment.
///
/// # Errors
/// [`ConfigError`] with every problem that was found.
pub fn load(source: &Source) -> Result<Config, ConfigError> {
    load_from(source, &Environment::capture())
}

/// Loads the configuration with the given environment.
///
/// # Errors
/// [`ConfigError`] with every problem that was found.
pub fn load_from(source: &Source, environment: &Environment) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let origins = layers::merge(source, environment, &mut problems)?;
    let raw = shape(&origins, &mut problems);
    let config = check(raw, &origins, environment, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::new(problems)),
    }
}

/// Reads the merged values into the sections. Whatever does not fit is noted and left out, so that
/// the next misfit is found as well.
fn shape(origins: &Origins, problems: &mut Vec<Problem>) -> Raw {
    let mut values = origins.value.as_dict().cloned().unwrap_or_default();
    loop {
        let error = match Value::from(values.clone()).deserialize::<Raw>() {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let path = present(&values, &error.path);
        let (fault, cure) = explain(&error.kind, &path);
        problems.push(Problem {
            key: dotted(&path),
            origin: origins.at(&path),
            fault,
            cure,
        });
        if !layers::remove(&mut values, &path) {
            return Raw::default();
        }
    }
}

/// The part of `path` that leads through tables: an entry of a list is left out with its list.
fn present(values: &Dict, path: &[String]) -> Vec<String> {
    let mut table = Some(values);
    let mut present = Vec::new();
    for key in path {
        let Some(value) = table.and_then(|table| table.get(key)) else {
            break;
        };
        present.push(key.clone());
        table = value.as_dict();
    }
    present
}

/// Fault and cure, without the value.
fn explain(kind: &Kind, path: &[String]) -> (String, String) {
    match kind {
        Kind::UnknownField(name, known) => {
            let meant = nearest(name, known.iter().copied());
            let cure = meant.map_or_else(
                || format!("known here are {}", known.join(", ")),
                |meant| format!("did you mean `{meant}`?"),
            );
            ("is not a known key".to_owned(), cure)
        }
        Kind::UnknownVariant(_, known) => {
            let known: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
            (
                "is none of the choices".to_owned(),
                format!("write one of {}", known.join(", ")),
            )
        }
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            let expected = plain(expected);
            let cure = match (expected, actual) {
                ("text", Actual::Seq | Actual::Map) => "write one text in double quotes",
                ("text", _) => "put the value in double quotes",
                ("a table", _) => "write it as a table in square brackets",
                ("a list of texts", _) => "write a list such as [\"a\", \"b\"]",
                _ => "write it without quotes",
            };
            (
                format!("must be {expected}, but is {}", described(actual)),
                cure.to_owned(),
            )
        }
        _ => {
            let key = path.last().map_or("the value", |key| name_or_mask(key));
            (
                "cannot be read".to_owned(),
                format!("see `{key}` in config/example.toml"),
            )
        }
    }
}

fn plain(expected: &str) -> &str {
    match expected {
        "a string" | "path string" => "text",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list of texts",
        "a map" => "a table",
        structure if structure.starts_with("struct ") => "a table",
        choice if choice.contains("enum ") => "text",
        other => other,
    }
}

const fn described(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}

fn check(
    raw: Raw,
    origins: &Origins,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let data_dir = environment.data_dir();
    let nats = raw
        .nats
        .check(&mut Section::new(&["nats"], origins, problems), &data_dir);
    let dingtalk = raw
        .dingtalk
        .check(&mut Section::new(&["dingtalk"], origins, problems));
    let (mut accounts, mut webhooks) = (BTreeMap::new(), BTreeMap::new());
    for (name, account) in raw.accounts {
        let mut section = Section::new(&["accounts", &name], origins, problems);
        let checked = account.check(&mut section);
        let Ok(name) = AccountName::parse(&name) else {
            section.refuse(
                "",
                "is no name for an account",
                "use 1 to 64 characters of a-z, A-Z, 0-9, `_` and `-`: it is part of every subject",
            );
            continue;
        };
        match checked {
            Checked::App(account) => drop(accounts.insert(name, account)),
            Checked::Webhook(account) => drop(webhooks.insert(name, account)),
        }
    }
    refuse_shared_ids(&accounts, origins, problems);
    let inbound = raw
        .inbound
        .check(&mut Section::new(&["inbound"], origins, problems));
    let spool = raw
        .spool
        .check(&mut Section::new(&["spool"], origins, problems), &data_dir);
    let admin = raw
        .admin
        .check(&mut Section::new(&["admin"], origins, problems));
    let ops = raw
        .ops
        .check(&mut Section::new(&["ops"], origins, problems));
    let log = raw
        .log
        .check(&mut Section::new(&["log"], origins, problems));
    Some(Config {
        nats: nats?,
        dingtalk,
        accounts,
        webhooks,
        inbound,
        spool,
        admin,
        ops,
        log,
    })
}

/// Refuses two accounts of one app: they would take each other's messages.
fn refuse_shared_ids(
    accounts: &BTreeMap<AccountName, Account>,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) {
    let mut owners: BTreeMap<&str, &AccountName> = BTreeMap::new();
    for (name, account) in accounts
        .iter()
        .filter(|(_, account)| !account.client_id.is_empty())
    {
        if let Some(owner) = owners.insert(&account.client_id, name) {
            Section::new(&["accounts", name.as_str()], origins, problems).refuse(
                "client_id",
                format!("is the client id of `accounts.{owner}` too"),
                "keep one account for each app; two would take each other's messages",
            );
        }
    }
}
