//! Section `admin`: health and metrics over HTTP.

use std::net::SocketAddr;

/// Where health and metrics are served.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Address; port 0 picks a free one; absent: not served. Default `127.0.0.1:8680`.
    pub listen: Option<SocketAddr>,
}
