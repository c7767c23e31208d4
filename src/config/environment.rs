//! The process environment, captured in one place. It knows names, not what they mean.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Folder of state when there is no home.
const SYSTEM_DATA_DIR: &str = "/var/lib/nats-dingtalk";
/// Name of the bridge's folder below a data home.
const DATA_DIR_NAME: &str = "nats-dingtalk";

/// The environment variables that configuration may read; an empty variable counts as unset, because
/// compose files and unit files pass unset ones on as empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Takes the variables of this process that are text.
    pub fn capture() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The names of this process's variables, whatever they say.
    pub fn names() -> impl Iterator<Item = OsString> {
        std::env::vars_os().map(|(name, _)| name)
    }

    /// The value of `name`, unless it is empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?;
        (!value.trim().is_empty()).then_some(value.as_str())
    }

    /// The first of `names` that is set, with its value.
    pub(super) fn first<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names
            .iter()
            .find_map(|name| Some((*name, self.value(name)?)))
    }

    /// Every variable whose name begins with `prefix` in any case: whole name, rest in lower case,
    /// value.
    pub(super) fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, String, &str)> {
        self.variables.iter().filter_map(move |(name, value)| {
            let start = name.get(..prefix.len())?;
            let rest = name.get(prefix.len()..)?;
            let ours = start.eq_ignore_ascii_case(prefix) && !value.trim().is_empty();
            ours.then(|| (name.as_str(), rest.to_ascii_lowercase(), value.as_str()))
        })
    }

    /// The folder for state: `$XDG_DATA_HOME/nats-dingtalk`, `~/.local/share/nats-dingtalk`, or
    /// `/var/lib/nats-dingtalk` for a process without a home.
    pub(super) fn data_dir(&self) -> PathBuf {
        let absolute = |name: &str| {
            let path = PathBuf::from(self.value(name)?);
            path.is_absolute().then_some(path)
        };
        absolute("XDG_DATA_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local/share")))
            .map_or_else(
                || PathBuf::from(SYSTEM_DATA_DIR),
                |home| home.join(DATA_DIR_NAME),
            )
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(variables: T) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables.map(|(k, v)| (k.into(), v.into())).collect(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.variables.len())
    }
}
