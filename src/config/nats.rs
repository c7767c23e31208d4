//! Section `nats`: the broker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::section::Section;
use super::text;
use crate::message::{Secret, Subjects};

/// Schemes of broker URLs.
const SCHEMES: &[&str] = &["nats", "tls", "ws", "wss"];
/// Longest subject prefix, in bytes; every stream, bucket and consumer name repeats it.
const MAX_PREFIX: usize = 64;
/// Prefix of subjects unless set.
const DEFAULT_PREFIX: &str = "dingtalk";
/// Shortest deduplication window: DingTalk repeats a frame for up to 5 min (stream-protocol.md,
/// section 4).
const MIN_DEDUP_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Longest time that messages are kept.
const MAX_AGE: Duration = Duration::from_secs(10 * 366 * 86_400);
/// Length of an nkey seed, in characters.
const NKEY_SEED: usize = 58;

/// Where the broker is and how the bridge uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Nats {
    /// A broker that runs already, or one that the bridge starts.
    pub server: ServerLocation,
    /// Who the bridge is.
    pub auth: NatsAuth,
    /// Encryption towards the broker.
    pub tls: NatsTls,
    /// Replicas of every stream, 1 to 5; default 1.
    pub replicas: usize,
    /// Prefix of every subject; default `dingtalk`.
    pub subjects: Subjects,
    /// Prefix of stream, bucket and consumer names; default `DINGTALK`.
    pub stream_prefix: String,
    /// Deduplication window of the inbound stream; default 30 min.
    pub dedup_window: Duration,
    /// How long messages are kept; default 7 d (dead letters 30 d).
    pub max_age: Duration,
}

/// Which broker.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerLocation {
    /// Comma-separated `nats://`, `tls://` URLs.
    Url(String),
    /// The bridge finds, starts and supervises a nats-server on loopback.
    Managed {
        /// Folder of its JetStream store and configuration.
        data_dir: PathBuf,
        /// The program; absent: `nats-server` on PATH.
        program: Option<PathBuf>,
        /// Loopback port; 0 picks a free one.
        port: u16,
    },
}

/// Credentials for the broker: at most one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum NatsAuth {
    /// None.
    None,
    /// A `.creds` file.
    CredsFile(PathBuf),
    /// An nkey seed.
    Nkey(Secret),
    /// Token of the broker's token authentication.
    Token(Secret),
    /// User and password.
    User {
        /// User name.
        user: String,
        /// Password.
        password: Secret,
    },
}

/// TLS towards the broker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NatsTls {
    /// CA certificates in PEM, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate in PEM; comes with `key`.
    pub cert: Option<PathBuf>,
    /// Key of the client certificate in PEM.
    pub key: Option<PathBuf>,
}

/// The broker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNats {
    /// Broker that runs already: comma-separated `nats://`, `tls://`, `ws://` or `wss://` URLs of one
    /// cluster, without user and password. Absent: the bridge starts and supervises a nats-server of
    /// its own on loopback.
    url: Option<String>,
    /// Own nats-server: folder of its store. Default: `nats` in the data folder (see `spool.dir`).
    data_dir: Option<PathBuf>,
    /// Own nats-server: the program. Default: `nats-server` on PATH.
    server: Option<PathBuf>,
    /// Own nats-server: loopback port; 0 picks a free one.
    #[schemars(range(min = 0, max = 65_535))]
    port: i64,
    /// A `.creds` file (JWT and seed). At most one of creds_file, nkey, token and user may be given.
    creds_file: Option<PathBuf>,
    /// An nkey seed (`SU…`).
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    nkey: Option<Secret>,
    /// File that holds the nkey seed.
    nkey_file: Option<PathBuf>,
    /// Token of the broker's token authentication.
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    token: Option<Secret>,
    /// File that holds the token.
    token_file: Option<PathBuf>,
    /// User name; comes with `password` or `password_file`.
    user: Option<String>,
    /// Password of `user`.
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    password: Option<Secret>,
    /// File that holds the password.
    password_file: Option<PathBuf>,
    /// TLS towards the broker.
    tls: RawTls,
    /// Replicas of every stream, 1 to 5; odd numbers only are useful, 3 survives one server.
    #[schemars(range(min = 1, max = 5))]
    replicas: i64,
    /// Prefix of every subject, tokens of letters, digits, `_` and `-` joined by dots. In capitals, with
    /// `_` for dots, it is the prefix of stream, bucket and consumer names as well, so two bridges with
    /// different prefixes share a broker.
    subject_prefix: String,
    /// Deduplication window of the inbound stream, at least 5 min and at most `max_age`. Longer takes
    /// more memory in the broker (22 MiB at 100 messages/s and 30 min).
    dedup_window: String,
    /// How long messages are kept; dead letters stay 30 days or as long as this, if longer.
    max_age: String,
}

impl Default for RawNats {
    fn default() -> Self {
        Self {
            url: None,
            data_dir: None,
            server: None,
            port: 4222,
            creds_file: None,
            nkey: None,
            nkey_file: None,
            token: None,
            token_file: None,
            user: None,
            password: None,
            password_file: None,
            tls: RawTls::default(),
            replicas: 1,
            subject_prefix: DEFAULT_PREFIX.to_owned(),
            dedup_window: "30m".to_owned(),
            max_age: "7d".to_owned(),
        }
    }
}

/// TLS towards the broker.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    /// CA certificates in PEM, instead of the system's.
    ca: Option<PathBuf>,
    /// Client certificate in PEM; comes with `key`.
    cert: Option<PathBuf>,
    /// Key of the client certificate in PEM.
    key: Option<PathBuf>,
}

impl RawNats {
    /// The checked section, if nothing is wrong with it; `data_dir` is the folder for state.
    pub(super) fn check(mut self, section: &mut Section<'_>, data_dir: &Path) -> Option<Nats> {
        let range = MIN_DEDUP_WINDOW..=MAX_AGE;
        let max_age = section.duration("max_age", &self.max_age, range.clone());
        let dedup_window = section.duration("dedup_window", &self.dedup_window, range);
        if dedup_window
            .zip(max_age)
            .is_some_and(|(window, age)| window > age)
        {
            section.refuse(
                "dedup_window",
                "must not be longer than `nats.max_age`",
                "shorten it or keep messages longer",
            );
        }
        let subjects = subjects(section, &self.subject_prefix);
        let tls = std::mem::take(&mut self.tls).check(section);
        let replicas = section.number("replicas", self.replicas, 1..=5_usize);
        let auth = self.auth(section);
        let server = self.server(section, data_dir);
        if !section.is_set("url") {
            refuse_for_own_server(section, replicas);
        }
        let subjects = subjects?;
        Some(Nats {
            server,
            auth,
            tls,
            replicas,
            stream_prefix: subjects.prefix().to_ascii_uppercase().replace('.', "_"),
            subjects,
            dedup_window: dedup_window?,
            max_age: max_age?,
        })
    }

    fn server(self, section: &mut Section<'_>, data_dir: &Path) -> ServerLocation {
        if let Some(urls) = self.url {
            return ServerLocation::Url(broker_urls(section, &urls));
        }
        ServerLocation::Managed {
            data_dir: section
                .path("data_dir", self.data_dir)
                .unwrap_or_else(|| data_dir.join("nats")),
            program: section.path("server", self.server),
            port: section.number("port", self.port, 0..=u16::MAX),
        }
    }

    /// The credentials, at most one kind of them.
    fn auth(&mut self, section: &mut Section<'_>) -> NatsAuth {
        let creds = section.readable("creds_file", self.creds_file.take());
        let nkey = section.secret("nkey", self.nkey.take(), self.nkey_file.take());
        if nkey.as_ref().is_some_and(|seed| !is_seed(seed.expose())) {
            let key = if section.is_set("nkey") {
                "nkey"
            } else {
                "nkey_file"
            };
            section.refuse(
                key,
                "is not an nkey seed of a user",
                "give the line of 58 characters that begins with SU, as `nk -gen user` prints it",
            );
        }
        let token = section.secret("token", self.token.take(), self.token_file.take());
        let password = section.secret("password", self.password.take(), self.password_file.take());
        let user = self.user.take();
        let user = match (user.filter(|user| !user.is_empty()), password) {
            (Some(user), Some(password)) => Some(NatsAuth::User { user, password }),
            (Some(_), None) => {
                section.refuse(
                    "user",
                    "has no password",
                    "set `nats.password` or `nats.password_file` as well",
                );
                None
            }
            (None, Some(_)) => {
                section.refuse("user", "is missing, but a password is given", "set both");
                None
            }
            (None, None) => None,
        };
        let kinds = [
            ("creds_file", creds.map(NatsAuth::CredsFile)),
            ("nkey", nkey.map(NatsAuth::Nkey)),
            ("token", token.map(NatsAuth::Token)),
            ("user", user),
        ];
        let mut given = kinds
            .into_iter()
            .filter_map(|(key, auth)| Some((key, auth?)));
        let Some((first, auth)) = given.next() else {
            return NatsAuth::None;
        };
        if let Some((second, _)) = given.next() {
            section.refuse(
                second,
                format!("is given, and `nats.{first}` as well"),
                "keep one kind of credentials",
            );
        }
        auth
    }
}

impl RawTls {
    fn check(self, section: &mut Section<'_>) -> NatsTls {
        match (&self.cert, &self.key) {
            (Some(_), None) => section.refuse(
                "tls.key",
                "is missing, but `nats.tls.cert` is given",
                "name the key of the client certificate",
            ),
            (None, Some(_)) => section.refuse(
                "tls.cert",
                "is missing, but `nats.tls.key` is given",
                "name the client certificate",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
        NatsTls {
            ca: section.readable("tls.ca", self.ca),
            cert: section.readable("tls.cert", self.cert),
            key: section.readable("tls.key", self.key),
        }
    }
}

fn is_seed(text: &str) -> bool {
    let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
    text.len() == NKEY_SEED && text.starts_with("SU") && text.bytes().all(base32)
}

fn broker_urls(section: &mut Section<'_>, text: &str) -> String {
    let mut urls = Vec::new();
    for text in text.split(',').map(str::trim) {
        let Some(url) = section.url("url", text, SCHEMES) else {
            continue;
        };
        if !url.username().is_empty() || url.password().is_some() {
            section.refuse(
                "url",
                "holds a user, password or token",
                "move it to `nats.user` and `nats.password`, or to `nats.token`: URLs are logged",
            );
        }
        urls.push(text);
    }
    urls.join(",")
}

fn subjects(section: &mut Section<'_>, prefix: &str) -> Option<Subjects> {
    let subjects = Subjects::new(prefix).ok();
    let subjects = subjects.filter(|subjects| subjects.prefix().len() <= MAX_PREFIX);
    if subjects.is_none() {
        section.refuse(
            "subject_prefix",
            format!("must be at most {MAX_PREFIX} characters: tokens of a-z, A-Z, 0-9, `_` and `-` joined by dots"),
            "use something like \"dingtalk\" or \"acme.dingtalk\"",
        );
    }
    subjects
}

/// Refuses what makes sense only with a broker that runs already.
fn refuse_for_own_server(section: &mut Section<'_>, replicas: usize) {
    for key in [
        "creds_file",
        "nkey",
        "nkey_file",
        "token",
        "token_file",
        "user",
        "tls.ca",
        "tls.cert",
        "tls.key",
    ] {
        if section.is_set(key) {
            section.refuse(
                key,
                "is given, but `nats.url` is not",
                "set `nats.url` to the broker it belongs to, or remove the key: the bridge's own nats-server needs none",
            );
        }
    }
    if replicas > 1 {
        section.refuse(
            "replicas",
            "is more than 1, but `nats.url` is not set and the bridge's own nats-server is alone",
            "set `nats.url` to a cluster or remove the key",
        );
    }
}
