//! Section `dingtalk`: hosts and how to reach them.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::section::Section;
use super::text;
use crate::message::Secret;

/// Deadline of one API call and of connecting. DingTalk answers within one second or not at all, so
/// it is no key.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Hosts beside DingTalk's own that media may be fetched from; `.example.com` includes its
    /// subdomains. Those named here may also resolve to private addresses.
    pub media_hosts: Vec<String>,
    /// Deadline of one API call and of connecting; default 10 s.
    pub timeout: Duration,
}

/// DingTalk's hosts and how to reach them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDingtalk {
    /// Base URL of the v1.0 API and of the Stream gateway: another one for a simulator, a reverse
    /// proxy or an overseas site.
    api_url: String,
    /// Base URL of the legacy API.
    oapi_url: String,
    /// CA certificates in PEM that are trusted besides the system's (TLS inspection, private sites).
    ca_file: Option<PathBuf>,
    /// Proxy for HTTPS and WebSocket, `http://[user:password@]host:port`; "" uses none. Default:
    /// the variable `https_proxy` or `HTTPS_PROXY`.
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    proxy: Option<Secret>,
    /// Hosts reached without the proxy, comma-separated. Default: the variable `no_proxy` or `NO_PROXY`.
    no_proxy: Option<String>,
    /// Hosts beside DingTalk's own that media may be fetched from, such as "files.example.com" or
    /// ".example.com" with its subdomains. Only those named here may be at private addresses.
    media_hosts: Vec<String>,
}

impl Default for RawDingtalk {
    fn default() -> Self {
        Self {
            api_url: "https://api.dingtalk.com".to_owned(),
            oapi_url: "https://oapi.dingtalk.com".to_owned(),
            ca_file: None,
            proxy: None,
            no_proxy: None,
            media_hosts: Vec::new(),
        }
    }
}

impl RawDingtalk {
    /// The checked section.
    pub(super) fn check(self, section: &mut Section<'_>) -> Dingtalk {
        Dingtalk {
            api_url: base_url(section, "api_url", &self.api_url),
            oapi_url: base_url(section, "oapi_url", &self.oapi_url),
            ca_file: section.readable("ca_file", self.ca_file),
            proxy: proxy(section, self.proxy),
            no_proxy: self.no_proxy.filter(|hosts| !hosts.trim().is_empty()),
            media_hosts: hosts(section, self.media_hosts),
            timeout: TIMEOUT,
        }
    }
}

fn base_url(section: &mut Section<'_>, key: &str, text: &str) -> String {
    let Some(url) = section.url(key, text, &["https", "http"]) else {
        return String::new();
    };
    if !url.username().is_empty() || url.password().is_some() {
        section.refuse(
            key,
            "holds a user or password",
            "remove it: DingTalk takes none",
        );
    }
    url.as_str().trim_end_matches('/').to_owned()
}

fn hosts(section: &mut Section<'_>, hosts: Vec<String>) -> Vec<String> {
    let legal = |host: &String| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    };
    if !hosts.iter().all(legal) {
        section.refuse(
            "media_hosts",
            "holds an entry that is no host name",
            "give host names without scheme and path, such as \"files.example.com\"",
        );
    }
    hosts
        .into_iter()
        .map(|host| host.to_ascii_lowercase())
        .collect()
}

/// The proxy with its scheme: `host:port` alone is usual in `HTTPS_PROXY`.
fn proxy(section: &mut Section<'_>, proxy: Option<Secret>) -> Option<Secret> {
    let proxy = proxy?;
    let text = proxy.expose().trim();
    if text.is_empty() {
        return None;
    }
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    section.url("proxy", &text, &["http", "https"])?;
    Some(Secret::new(text))
}
