//! Which source wins: defaults, file, environment, flags. It knows which keys there are (from the
//! schema), not which values are right.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::Source;
use super::environment::Environment;
use super::error::{ConfigError, Origin, Problem, dotted};
use super::file;
use super::schema::{ACCOUNT_ALIASES, Keys, Shape};
use super::section::{ENVIRONMENT, Origins};
use super::{syntax, variables};

/// Largest configuration file, in bytes; a thousand accounts take a tenth of it.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Which layer wins: the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    ProxyVariables,
    File,
    ShortVariables,
    Variables,
    Flags,
}

/// The values of one source.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) rank: Rank,
    pub(super) origin: Origin,
    pub(super) values: Dict,
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
    variables::prefixed(environment, &keys, &mut layers, problems);
    variables::proxies(environment, &mut layers);
    for (flag, path, value) in source.overrides.values() {
        layers.push(Layer {
            rank: Rank::Flags,
            origin: Origin::Flag(flag.to_owned()),
            values: nested(&path, Value::from(value)),
        });
    }
    variables::short(environment, &mut layers, problems);
    layers.sort_by_key(|layer| layer.rank);
    displace(&keys, &mut layers);
    Ok(stack(&layers))
}

/// The layers, merged in their order.
pub(super) fn stack(layers: &[Layer]) -> Origins {
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

/// Tables around `value`, one for each key of `path` but the last.
pub(super) fn nested<T: AsRef<str>>(path: &[T], value: Value) -> Dict {
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
