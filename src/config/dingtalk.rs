//! Section `dingtalk`: hosts and how to reach them.

use std::path::PathBuf;
use std::time::Duration;

use crate::message::Secret;

/// DingTalk's hosts; both can be pointed at a simulator, a proxy or an overseas site.
#[derive(Debug, Clone, PartialEq)]
pub struct Dingtalk {
    /// Base URL of the v1.0 API and of `connections/open`, without a slash at the end.
    pub api_url: String,
    /// Base URL of the legacy API, without a slash at the end.
    pub oapi_url: String,
    /// Additional CA certificates in PEM (TLS inspection, private sites).
    pub ca_file: Option<PathBuf>,
    /// Proxy for HTTPS and WebSocket, from the file or `HTTPS_PROXY`; may hold a password.
    pub proxy: Option<Secret>,
    /// Hosts that are reached without the proxy, comma-separated, from the file or `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Deadline of one API call and of connecting; default 10 s.
    pub timeout: Duration,
}
