//! What a configuration is loaded from: a file and what the command line overrides. It never reads
//! either.

use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::layers::FILE_VARIABLE;

/// Files that are tried when none is named.
const DEFAULT_FILES: [&str; 2] = ["nats-dingtalk.toml", "/etc/nats-dingtalk/config.toml"];

/// Where a configuration is loaded from, as often as one likes.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file of `--config`. Absent: `NATS_DINGTALK_CONFIG`, else `./nats-dingtalk.toml` if present, else
    /// `/etc/nats-dingtalk/config.toml` if present, else none.
    pub file: Option<PathBuf>,
    /// What flags set, above everything else.
    pub overrides: Overrides,
}

impl Source {
    /// The file that a load reads now, if any; a default file only when it is there.
    pub fn path(&self, environment: &Environment) -> Option<PathBuf> {
        self.named(environment).or_else(|| {
            let present = DEFAULT_FILES
                .iter()
                .map(Path::new)
                .find(|path| path.is_file());
            present.map(Path::to_owned)
        })
    }

    /// The files that a load may read, there or not.
    pub(super) fn candidates(&self, environment: &Environment) -> Vec<PathBuf> {
        self.named(environment).map_or_else(
            || DEFAULT_FILES.iter().map(PathBuf::from).collect(),
            |named| vec![named],
        )
    }

    fn named(&self, environment: &Environment) -> Option<PathBuf> {
        let named = self.file.clone();
        named.or_else(|| environment.value(FILE_VARIABLE).map(PathBuf::from))
    }
}

/// What flags set. The flag of a field is its name with hyphens: `--nats-url`. No secret is among
/// them, because a command line is public.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `nats.url`.
    pub nats_url: Option<String>,
    /// `dingtalk.api_url`.
    pub api_url: Option<String>,
    /// `dingtalk.oapi_url`.
    pub oapi_url: Option<String>,
    /// `spool.dir`.
    pub spool_dir: Option<String>,
    /// `admin.listen`.
    pub admin_listen: Option<String>,
    /// `log.filter`.
    pub log_filter: Option<String>,
    /// `log.format`.
    pub log_format: Option<String>,
}

impl Overrides {
    /// Flag, path of the key and value of everything that is set.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, [&'static str; 2], &str)> {
        let all = [
            ("--nats-url", ["nats", "url"], &self.nats_url),
            ("--api-url", ["dingtalk", "api_url"], &self.api_url),
            ("--oapi-url", ["dingtalk", "oapi_url"], &self.oapi_url),
            ("--spool-dir", ["spool", "dir"], &self.spool_dir),
            ("--admin-listen", ["admin", "listen"], &self.admin_listen),
            ("--log-filter", ["log", "filter"], &self.log_filter),
            ("--log-format", ["log", "format"], &self.log_format),
        ];
        all.into_iter()
            .filter_map(|(flag, path, value)| Some((flag, path, value.as_deref()?)))
    }
}

impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.values().map(|(flag, ..)| flag))
            .finish()
    }
}
