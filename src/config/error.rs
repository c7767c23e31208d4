//! What is wrong with a configuration: which key, where it came from, what cures it. It never holds
//! a value, because any value may be a secret in the wrong place.

use std::fmt;
use std::path::PathBuf;

/// Longest piece of foreign text that a message quotes, in bytes; DingTalk's secrets are longer.
const MAX_QUOTED: usize = 32;

/// Why a configuration was refused: every problem that one load found, at least one.
///
/// Its text names keys, files and variables, and never a value other than the path of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Refuses a configuration for `problems`.
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// What was found, in the order of the sections.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.problems.as_slice() {
            return problem.fmt(f);
        }
        write!(f, "{} problems in the configuration", self.problems.len())?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong, and its cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key; empty when the whole source is meant.
    pub key: String,
    /// Where the value came from.
    pub origin: Origin,
    /// What is wrong, read after the key.
    pub fault: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => {}
            origin => write!(f, "{origin}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        write!(f, "{}; {}", self.fault, self.cure)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// A flag on the command line, with its dashes.
    Flag(String),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// `text` when it reads like a name, else a stand-in: an unknown key may be a secret on a wrong line.
pub(super) fn name_or_mask(text: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if text.len() <= MAX_QUOTED && !text.is_empty() && text.bytes().all(plain) {
        text
    } else {
        "…"
    }
}

/// A path of keys joined by dots, with stand-ins for what does not read like a name.
pub(super) fn dotted<T: AsRef<str>>(path: &[T]) -> String {
    let names: Vec<&str> = path.iter().map(|key| name_or_mask(key.as_ref())).collect();
    names.join(".")
}
