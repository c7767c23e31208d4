//! Where values come from and which source wins: defaults, file, environment, flags. It knows which
//! keys there are (from the schema), not which values are right.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::Source;
use super::environment::Environment;
use super::error::{ConfigError, Origin, Problem, dotted};
use super::file;
use super::schema::{ACCOUNT_ALIASES, Keys, Shape};
use super::section::{ENVIRONMENT, Origins, read_secret, shown};
use super::syntax;

/// Prefix of every environment variable that sets a key.
const PREFIX: &str = "NATS_DINGTALK_";
/// Separates the levels of a key in an environment variable.
const LEVEL: &str = "__";
/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "NATS_DINGTALK_CONFIG";
/// Name of the account made of `DINGTALK_CLIENT_ID` and `DINGTALK_CLIENT_SECRET`.
const DEFAULT_ACCOUNT: &str = "default";
/// Largest configuration file, in bytes; a thousand accounts take a tenth of it.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Which layer wins: the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    ProxyVariables,
    File,
    ShortVariables,
    Variables,
    Flags,
}

/// The values of one source.
#[derive(Clone)]
struct Layer {
    rank: Rank,
    origin: Origin,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.origin {
            Origin::File(path) => Metadata::from("file", figment::Source::File(path.clone())),
            Origin::Environment(name) => {
                Metadata::from(ENVIRONMENT, figment::Source::Custom(name.clone()))
            }
            Origin::Flag(flag) => Metadata::from("flag", figment::Source::Custom(flag.clone())),
            Origin::Default => Metadata::named("default"),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Merges all layers. Problems that leave the rest readable go to `problems`.
///
/// # Errors
/// A file that cannot be read or is not TOML.
pub(super) fn merge(
    source: &Source,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Result<Origins, ConfigError> {
    let keys = Keys::new();
    let mut layers = Vec::new();
    if let Some(path) = source.path(environment) {
        layers.push(file_layer(&path, &keys, problems)?);
    }
    variables(environment, &keys, &mut layers, problems);
    for (variables, key) in [
        (["https_proxy", "HTTPS_PROXY"], "proxy"),
        (["no_proxy", "NO_PROXY"], "no_proxy"),
    ] {
        if let Some((name, value)) = environment.first(&variables) {
            let path = ["dingtalk", key];
            layers.push(layer(Rank::ProxyVariables, name, &path, Value::from(value)));
        }
    }
    for (flag, path, value) in source.overrides.values() {
        layers.push(Layer {
            rank: Rank::Flags,
            origin: Origin::Flag(flag.to_owned()),
            values: nested(&path, Value::from(value)),
        });
    }
    short_variables(environment, &mut layers, problems);
    layers.sort_by_key(|layer| layer.rank);
    displace(&keys, &mut layers);
    Ok(stack(&layers))
}

fn stack(layers: &[Layer]) -> Origins {
    let figment = layers
        .iter()
        .cloned()
        .fold(Figment::new(), |figment, layer| figment.merge(layer));
    let values = figment.data().ok();
    let values = values.and_then(|mut profiles| profiles.remove(&Profile::Default));
    Origins {
        value: Value::from(values.unwrap_or_default()),
        figment,
    }
}

/// Reads the configuration file.
fn file_layer(path: &Path, keys: &Keys, problems: &mut Vec<Problem>) -> Result<Layer, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let problem = |fault: String, cure: &str| Problem {
        key: String::new(),
        origin: origin.clone(),
        fault,
        cure: cure.to_owned(),
    };
    let text = file::read(path, MAX_FILE).map_err(|reason| {
        problem(
            format!("the configuration file cannot be read: {reason}"),
            "check the path given with --config or NATS_DINGTALK_CONFIG, and that this user may read it",
        )
    })?;
    let mut values: Dict = <Toml as Format>::from_str(&text).map_err(|error| {
        let fault = syntax::fault(&text, error.span(), error.message(), keys);
        problem(fault, "correct that line; texts stand in double quotes")
    })?;
    if let Some(Value::Dict(_, accounts)) = values.get_mut("accounts") {
        for (name, account) in accounts.iter_mut() {
            let Value::Dict(_, account) = account else {
                continue;
            };
            for (alias, key) in ACCOUNT_ALIASES {
                let Some(value) = account.remove(alias) else {
                    continue;
                };
                if account.insert(key.to_owned(), value).is_some() {
                    problems.push(Problem {
                        key: dotted(&["accounts", name, alias]),
                        origin: origin.clone(),
                        fault: format!("is another name of `{key}`, which is given as well"),
                        cure: "keep one of the two".to_owned(),
                    });
                }
            }
        }
    }
    Ok(Layer {
        rank: Rank::File,
        origin,
        values,
    })
}

/// Adds one layer for each `NATS_DINGTALK_…` variable.
fn variables(
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
            let cure =
                format!("write {PREFIX}<SECTION>{LEVEL}<KEY>, such as NATS_DINGTALK_NATS__URL");
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
        Some(Shape::List) if text.trim_start().starts_with('[') => {
            text.trim().parse().unwrap_or_else(|_| Value::from(text))
        }
        Some(Shape::List) => {
            let items = text.split(',').map(|item| Value::from(item.trim()));
            Value::from(items.collect::<Vec<_>>())
        }
        Some(Shape::Text | Shape::Table) | None => Value::from(text),
    }
}

/// Adds the account that `DINGTALK_CLIENT_ID` and `DINGTALK_CLIENT_SECRET` make, unless an account
/// has that client id.
fn short_variables(
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

/// Lets a secret of a higher layer replace the `_file` form of a lower one, and the other way round:
/// both at once are refused in one layer only.
fn displace(keys: &Keys, layers: &mut [Layer]) {
    for at in 0..layers.len() {
        let (lower, rest) = layers.split_at_mut(at);
        let Some(layer) = rest.first() else {
            continue;
        };
        for path in leaves(&layer.values) {
            let Some((key, table)) = path.split_last() else {
                continue;
            };
            let sibling = key
                .strip_suffix("_file")
                .map_or_else(|| format!("{key}_file"), str::to_owned);
            let mut other = table.to_vec();
            other.push(sibling);
            if keys.shape(&other) != Some(Shape::Text) {
                continue;
            }
            for lower in lower.iter_mut().filter(|lower| lower.rank < layer.rank) {
                remove(&mut lower.values, &other);
            }
        }
    }
}

fn leaves(dict: &Dict) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (key, value) in dict {
        match value {
            Value::Dict(_, inner) => paths.extend(leaves(inner).into_iter().map(|mut path| {
                path.insert(0, key.clone());
                path
            })),
            _ => paths.push(vec![key.clone()]),
        }
    }
    paths
}

/// Removes what stands at `path` and says whether anything did.
pub(super) fn remove<T: AsRef<str>>(dict: &mut Dict, path: &[T]) -> bool {
    match path {
        [] => false,
        [key] => dict.remove(key.as_ref()).is_some(),
        [key, rest @ ..] => match dict.get_mut(key.as_ref()) {
            Some(Value::Dict(_, inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

fn layer<T: AsRef<str>>(rank: Rank, variable: &str, path: &[T], value: Value) -> Layer {
    Layer {
        rank,
        origin: Origin::Environment(variable.to_owned()),
        values: nested(path, value),
    }
}

fn nested<T: AsRef<str>>(path: &[T], value: Value) -> Dict {
    let mut path = path.iter().rev();
    let Some(last) = path.next() else {
        return Dict::new();
    };
    let innermost = Dict::from([(last.as_ref().to_owned(), value)]);
    path.fold(innermost, |inner, key| {
        Dict::from([(key.as_ref().to_owned(), Value::from(inner))])
    })
}

/// Every file that the merged values name as the holder of a secret.
///
/// # Errors
/// A configuration file that cannot be read or is not TOML.
pub(super) fn secret_files(
    source: &Source,
    environment: &Environment,
) -> Result<Vec<PathBuf>, ConfigError> {
    let origins = merge(source, environment, &mut Vec::new())?;
    let root = origins.value.as_dict().cloned().unwrap_or_default();
    let named = leaves(&root).into_iter();
    let named = named.filter(|path| path.last().is_some_and(|key| key.ends_with("_file")));
    let file = |path: Vec<String>| Some(origins.value.find_ref(&path.join("."))?.as_str()?.into());
    Ok(named.filter_map(file).collect())
}
