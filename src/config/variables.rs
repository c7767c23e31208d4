//! What environment variables set: `NATS_DINGTALK_<SECTION>__<KEY>`, the short `DINGTALK_…` ones, and
//! the proxy's. It knows which keys there are (from the schema), not which values are right.

use std::path::Path;

use figment::value::{Dict, Value};

use super::environment::Environment;
use super::error::{Origin, Problem, dotted};
use super::layers::{Layer, Rank, nested, stack};
use super::schema::{ACCOUNT_ALIASES, Keys, Shape};
use super::section::{read_secret, shown};
use super::suggest::nearest;

/// Prefix of every variable that sets a key.
const PREFIX: &str = "NATS_DINGTALK_";
/// Separates the levels of a key in a variable.
const LEVEL: &str = "__";
/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "NATS_DINGTALK_CONFIG";
/// Name of the account made of `DINGTALK_CLIENT_ID` and `DINGTALK_CLIENT_SECRET`.
const DEFAULT_ACCOUNT: &str = "default";

/// Adds one layer for each `NATS_DINGTALK_…` variable.
pub(super) fn prefixed(
    environment: &Environment,
    keys: &Keys,
    layers: &mut Vec<Layer>,
    problems: &mut Vec<Problem>,
) {
    let mut seen: Vec<(Vec<String>, &str)> = Vec::new();
    for (name, rest, value) in environment.below(PREFIX) {
        if name.eq_ignore_ascii_case(FILE_VARIABLE) || is_service_link(&rest) {
            continue;
        }
        let mut path: Vec<String> = rest.split(LEVEL).map(str::to_owned).collect();
        let problem = |path: &[String], fault: String, cure: String| Problem {
            key: dotted(path),
            origin: Origin::Environment(name.to_owned()),
            fault,
            cure,
        };
        if path.len() < 2 || path.iter().any(String::is_empty) {
            let cure = correction(&rest, keys);
            problems.push(problem(&[], "sets no known key".to_owned(), cure));
            continue;
        }
        if let [section, account, key, ..] = path.as_mut_slice()
            && section == "accounts"
        {
            match written_name(account, layers) {
                Ok(written) => *account = written,
                Err(both) => {
                    let fault = format!("means both accounts {both}");
                    let cure = "rename one of them, or set the key in the file".to_owned();
                    problems.push(problem(&path, fault, cure));
                    continue;
                }
            }
            if let Some((_, meant)) = ACCOUNT_ALIASES.iter().find(|(alias, _)| alias == key) {
                *key = (*meant).to_owned();
            }
        }
        if let Some((_, other)) = seen.iter().find(|(before, _)| *before == path) {
            let fault = format!("is set by {other} as well");
            problems.push(problem(&path, fault, "unset one of the two".to_owned()));
            continue;
        }
        let value = typed(value, keys.shape(&path));
        layers.push(layer(Rank::Variables, name, &path, value));
        seen.push((path, name));
    }
}

/// Whether Kubernetes or Docker made this variable for a service that is called like the program:
/// `NATS_DINGTALK_PORT_8680_TCP_ADDR` and the like.
fn is_service_link(rest: &str) -> bool {
    !rest.contains(LEVEL)
        && (rest == "port" || rest.starts_with("port_") || rest.starts_with("service_"))
}

/// The name as the file writes it, which may have capitals and hyphens; else the name itself.
fn written_name(account: &str, layers: &[Layer]) -> Result<String, String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let names = layers
        .iter()
        .filter_map(|layer| layer.values.get("accounts")?.as_dict())
        .flat_map(Dict::keys);
    let mut matching: Vec<&String> = names.filter(|name| plain(name) == plain(account)).collect();
    matching.dedup();
    match matching.as_slice() {
        [] => Ok(account.to_owned()),
        [one] => Ok((*one).clone()),
        several => several
            .iter()
            .find(|name| **name == account)
            .map(|name| (*name).clone())
            .ok_or_else(|| dotted(several).replace('.', " and ")),
    }
}

/// A variable's text as the kind of value that its key takes; a secret of digits stays text.
fn typed(text: &str, shape: Option<Shape>) -> Value {
    match shape {
        Some(Shape::Scalar) => text.trim().parse().unwrap_or_else(|_| Value::from(text)),
        Some(Shape::List) => match text.trim().parse() {
            Ok(list @ Value::Array(..)) => list,
            // A pattern such as `[Bb]ot` begins like a list and is none.
            _ => Value::from(text.split(',').map(str::trim).collect::<Vec<_>>()),
        },
        Some(Shape::Text | Shape::Table) | None => Value::from(text),
    }
}

/// Adds the account that `DINGTALK_CLIENT_ID` and `DINGTALK_CLIENT_SECRET` make, unless an account
/// has that client id.
pub(super) fn short(
    environment: &Environment,
    layers: &mut Vec<Layer>,
    problems: &mut Vec<Problem>,
) {
    let id = environment.first(&["DINGTALK_CLIENT_ID", "DINGTALK_APP_KEY"]);
    let id_file = environment.first(&["DINGTALK_CLIENT_ID_FILE", "DINGTALK_APP_KEY_FILE"]);
    let secret = environment.first(&["DINGTALK_CLIENT_SECRET", "DINGTALK_APP_SECRET"]);
    let secret_file =
        environment.first(&["DINGTALK_CLIENT_SECRET_FILE", "DINGTALK_APP_SECRET_FILE"]);
    let mut refuse = |name: &str, fault: String, cure: &str| {
        problems.push(Problem {
            key: String::new(),
            origin: Origin::Environment(name.to_owned()),
            fault,
            cure: cure.to_owned(),
        });
    };
    for ((first, _), (second, _)) in id.zip(id_file).into_iter().chain(secret.zip(secret_file)) {
        refuse(
            second,
            format!("is set, and {first} as well"),
            "unset one of the two",
        );
    }
    let (name, id) = match (id, id_file) {
        (Some((name, id)), _) => (name, id.trim().to_owned()),
        (None, Some((name, path))) => match read_secret(Path::new(path)) {
            Ok(id) => (name, id.trim().to_owned()),
            Err(reason) => {
                let shown = shown(Path::new(path));
                let fault = format!("names {shown}, which cannot be read: {reason}");
                return refuse(name, fault, "check the path and its permissions");
            }
        },
        (None, None) => {
            if let Some((name, _)) = secret.or(secret_file) {
                let fault = "is set, but DINGTALK_CLIENT_ID is not".to_owned();
                refuse(name, fault, "set both or neither");
            }
            return;
        }
    };
    let known = stack(layers);
    let accounts = known.value.find_ref("accounts").and_then(Value::as_dict);
    let client_id = |account: &Value| account.find_ref("client_id")?.as_str().map(str::to_owned);
    let has_it = |account: &Value| client_id(account).as_deref() == Some(id.as_str());
    if accounts.is_some_and(|accounts| accounts.values().any(has_it)) {
        return;
    }
    let default = accounts.and_then(|accounts| accounts.get(DEFAULT_ACCOUNT));
    if default.and_then(client_id).is_some() {
        return refuse(
            name,
            "would make an account `default`, but there is one with another client id".to_owned(),
            "unset the variable or give that account another name",
        );
    }
    let path = ["accounts", DEFAULT_ACCOUNT, "client_id"];
    layers.push(layer(Rank::ShortVariables, name, &path, Value::from(id)));
    for (variable, key) in [
        (secret, "client_secret"),
        (secret_file, "client_secret_file"),
    ] {
        if let Some((name, value)) = variable {
            let path = ["accounts", DEFAULT_ACCOUNT, key];
            layers.push(layer(Rank::ShortVariables, name, &path, Value::from(value)));
        }
    }
}

/// Adds the usual proxy variables, under everything else; the lower-case form wins, as in curl.
pub(super) fn proxies(environment: &Environment, layers: &mut Vec<Layer>) {
    for (variables, key) in [
        (["https_proxy", "HTTPS_PROXY"], "proxy"),
        (["no_proxy", "NO_PROXY"], "no_proxy"),
    ] {
        if let Some((name, value)) = environment.first(&variables) {
            let path = ["dingtalk", key];
            layers.push(layer(Rank::ProxyVariables, name, &path, Value::from(value)));
        }
    }
}

/// What a variable without levels probably meant.
fn correction(rest: &str, keys: &Keys) -> String {
    let leaves = keys.leaves();
    let names: Vec<String> = leaves.iter().map(|path| path.join(LEVEL)).collect();
    nearest(rest, names.iter().map(String::as_str)).map_or_else(
        || format!("write {PREFIX}<SECTION>{LEVEL}<KEY>, such as {PREFIX}NATS{LEVEL}URL"),
        |name| format!("did you mean {PREFIX}{}?", name.to_ascii_uppercase()),
    )
}

fn layer<T: AsRef<str>>(rank: Rank, variable: &str, path: &[T], value: Value) -> Layer {
    Layer {
        rank,
        origin: Origin::Environment(variable.to_owned()),
        values: nested(path, value),
    }
}
