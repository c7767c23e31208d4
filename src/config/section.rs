//! Checks that every section shares: ranges, durations, URLs, files and secrets, each with an error
//! that names the key. It knows no section.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::value::{Tag, Value};
use humantime_serde::re::humantime;
use reqwest::Url;

use super::error::{Origin, Problem, dotted};
use super::file;
use crate::message::Secret;

/// Largest secret file, in bytes; anything bigger is some other file.
const MAX_SECRET_FILE: u64 = 64 * 1024;
/// Name of the metadata of layers that come from environment variables.
pub(super) const ENVIRONMENT: &str = "environment";

/// The merged layers, asked where a value came from.
pub(super) struct Origins {
    pub(super) figment: Figment,
    pub(super) value: Value,
}

impl Origins {
    /// The source of the value at `path`, or of the nearest table around it.
    pub(super) fn at<T: AsRef<str>>(&self, path: &[T]) -> Origin {
        let mut value = &self.value;
        let mut origin = self.of(value.tag());
        for key in path {
            let Some(inner) = value.as_dict().and_then(|dict| dict.get(key.as_ref())) else {
                break;
            };
            value = inner;
            origin = self.of(value.tag());
        }
        origin
    }

    fn of(&self, tag: Tag) -> Origin {
        let Some(source) = self
            .figment
            .get_metadata(tag)
            .and_then(|metadata| Some((metadata.name.as_ref(), metadata.source.as_ref()?)))
        else {
            return Origin::Default;
        };
        match source {
            (_, figment::Source::File(path)) => Origin::File(path.clone()),
            (ENVIRONMENT, figment::Source::Custom(name)) => Origin::Environment(name.clone()),
            (_, figment::Source::Custom(flag)) => Origin::Flag(flag.clone()),
            _ => Origin::Default,
        }
    }
}

/// One section while it is checked: where it stands, and what was found wrong so far.
///
/// A check that fails notes a problem and answers with a harmless stand-in, so that one load finds
/// everything; a load with a problem yields no configuration.
pub(super) struct Section<'a> {
    path: Vec<String>,
    origins: &'a Origins,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// The section at `path`.
    pub(super) fn new(
        path: &[&str],
        origins: &'a Origins,
        problems: &'a mut Vec<Problem>,
    ) -> Section<'a> {
        Section {
            path: path.iter().map(ToString::to_string).collect(),
            origins,
            problems,
        }
    }

    /// Whether anybody set `key`.
    pub(super) fn is_set(&self, key: &str) -> bool {
        let mut value = Some(&self.origins.value);
        for key in self.path.iter().map(String::as_str).chain(key.split('.')) {
            value = value.and_then(|value| value.as_dict()?.get(key));
        }
        value.is_some()
    }

    /// Notes that `key` is wrong, unless something is wrong with it already.
    pub(super) fn refuse(&mut self, key: &str, fault: impl Into<String>, cure: impl Into<String>) {
        let mut path = self.path.clone();
        path.extend(
            key.split('.')
                .filter(|key| !key.is_empty())
                .map(str::to_owned),
        );
        let key = dotted(&path);
        if self.problems.iter().any(|problem| problem.key == key) {
            return;
        }
        self.problems.push(Problem {
            key,
            origin: self.origins.at(&path),
            fault: fault.into(),
            cure: cure.into(),
        });
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(&mut self, key: &str, value: i64, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + Copy + std::fmt::Display,
    {
        match T::try_from(value) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (*range.start(), *range.end());
                self.refuse(
                    key,
                    format!("must be between {low} and {high}"),
                    "choose a value in that range or remove the key for its default",
                );
                low
            }
        }
    }

    /// A duration such as `30s` or `7d` within `range`.
    pub(super) fn duration(
        &mut self,
        key: &str,
        text: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Ok(duration) = humantime::parse_duration(text.trim()) else {
            self.refuse(
                key,
                "is not a duration",
                "write a number with its unit, such as \"500ms\", \"20s\", \"30m\" or \"7d\"",
            );
            return None;
        };
        if !range.contains(&duration) {
            let low = humantime::format_duration(*range.start());
            let high = humantime::format_duration(*range.end());
            self.refuse(
                key,
                format!("must be between {low} and {high}"),
                "choose a value in that range or remove the key for its default",
            );
            return None;
        }
        Some(duration)
    }

    /// The URL in `text`, if it has one of `schemes` and a host, and neither user, password, query
    /// nor fragment.
    pub(super) fn url(&mut self, key: &str, text: &str, schemes: &[&str]) -> Option<Url> {
        let wanted = format!("write {}host[:port]", schemes.join("://, ") + "://");
        let Ok(url) = Url::parse(text.trim()) else {
            self.refuse(key, "is not a URL", wanted);
            return None;
        };
        if !schemes.contains(&url.scheme()) {
            self.refuse(key, "has a scheme that cannot be used here", wanted);
            return None;
        }
        if url.host_str().is_none_or(str::is_empty) {
            self.refuse(key, "names no host", wanted);
            return None;
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.refuse(key, "has a query or fragment", "end it after the path");
            return None;
        }
        Some(url)
    }

    /// The path of a file that can be read now; absent stays absent.
    pub(super) fn readable(&mut self, key: &str, path: Option<PathBuf>) -> Option<PathBuf> {
        let path = path?;
        match file::probe(&path) {
            Ok(()) => Some(path),
            Err(reason) => {
                self.unreadable(key, &path, &reason);
                None
            }
        }
    }

    /// A path, not empty; absent stays absent.
    pub(super) fn path(&mut self, key: &str, path: Option<PathBuf>) -> Option<PathBuf> {
        let path = path?;
        if path.as_os_str().is_empty() {
            self.refuse(key, "is empty", "name a path or remove the key");
            return None;
        }
        Some(path)
    }

    /// A secret given as the value of `key` or in the file that `<key>_file` names, not both; the file
    /// may end with one newline.
    pub(super) fn secret(
        &mut self,
        key: &str,
        value: Option<Secret>,
        file: Option<PathBuf>,
    ) -> Option<Secret> {
        let file_key = format!("{key}_file");
        let (key, secret) = match (value, file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.refuse(
                    key,
                    format!("is given, and `{file_key}` as well"),
                    "keep one of the two",
                );
                return None;
            }
            (Some(value), None) => (key, value),
            (None, Some(path)) => (file_key.as_str(), self.secret_file(&file_key, &path)?),
        };
        let text = secret.expose();
        if text.trim().is_empty() {
            self.refuse(
                key,
                "holds an empty secret",
                "give the secret or remove the key",
            );
            return None;
        }
        if text.chars().any(char::is_control) {
            self.refuse(
                key,
                "holds a secret with control characters or more than one line",
                "give the secret alone on one line",
            );
            return None;
        }
        Some(secret)
    }

    fn secret_file(&mut self, key: &str, path: &Path) -> Option<Secret> {
        match read_secret(path) {
            Ok(text) => Some(Secret::new(text)),
            Err(reason) => {
                self.unreadable(key, path, &reason);
                None
            }
        }
    }

    fn unreadable(&mut self, key: &str, path: &Path, reason: &str) {
        self.refuse(
            key,
            format!("names {}, which cannot be read: {reason}", shown(path)),
            "check the path, and that this user may read it",
        );
    }
}

/// The text of a secret file without its last newline.
///
/// # Errors
/// Why it cannot be read, in words.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let text = file::read(path, MAX_SECRET_FILE)?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}

/// `path` for a message, unless it holds no slash: then it may be the secret itself.
pub(super) fn shown(path: &Path) -> String {
    if path.as_os_str().as_encoded_bytes().contains(&b'/') {
        path.display().to_string()
    } else {
        "a file in the working directory (if it is the secret itself, use the key without `_file`)"
            .to_owned()
    }
}
