//! Section `nats`: the broker.

use std::path::PathBuf;
use std::time::Duration;

use crate::message::{Secret, Subjects};

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
    /// A token.
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
