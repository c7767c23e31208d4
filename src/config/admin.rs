//! Section `admin`: health and metrics over HTTP.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::section::Section;

/// Where health and metrics are served.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Address; port 0 picks a free one; absent: not served. Default `127.0.0.1:8680`.
    pub listen: Option<SocketAddr>,
}

/// Health and metrics over HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    /// Address and port of `/live`, `/ready` and `/metrics`; port 0 picks a free one; "off" serves none.
    listen: String,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8680".to_owned(),
        }
    }
}

impl RawAdmin {
    /// The checked section.
    pub(super) fn check(self, section: &mut Section<'_>) -> Admin {
        let text = self.listen.trim();
        if matches!(text, "off" | "") {
            return Admin { listen: None };
        }
        let listen = text.parse().ok();
        if listen.is_none() {
            section.refuse(
                "listen",
                "is not an address with a port",
                "write \"127.0.0.1:8680\", \"0.0.0.0:8680\" for every interface, or \"off\"",
            );
        }
        Admin { listen }
    }
}
