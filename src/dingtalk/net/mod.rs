//! How DingTalk's hosts are reached: system and additional CAs, proxy, fast fall-back between
//! addresses. It knows no protocol above TLS.

mod dial;
mod proxy;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::config;

/// A connection to a host: plain or TLS, straight or through a proxy that is itself plain or TLS.
pub type Socket = MaybeTlsStream<MaybeTlsStream<TcpStream>>;

/// What all connections share; cheap to clone.
#[derive(Clone)]
pub struct Net {
    tls: Arc<rustls::ClientConfig>,
    proxy: Arc<Matcher>,
    timeout: Duration,
}

impl std::fmt::Debug for Net {
    /// Leaves the proxy out: its URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be reached with this configuration.
#[derive(Debug, Error)]
#[error("{key}: {detail}")]
pub struct NetError {
    /// Configuration key concerned.
    pub key: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

/// Why a host was not reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// The URL names no host, or no scheme that can be spoken.
    #[error("`{0}` is no address that can be connected to")]
    Address(String),
    /// The name did not resolve, or no address answered.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS with {host} failed (a proxy that inspects TLS needs dingtalk.ca_file): {source}")]
    Tls {
        /// Host and port.
        host: String,
        /// What the handshake said.
        source: io::Error,
    },
    /// The proxy did not open the tunnel.
    #[error("the proxy refused a tunnel to {host}: {detail}")]
    Proxy {
        /// Host and port.
        host: String,
        /// First line of the answer, or what was wrong with it.
        detail: String,
    },
    /// The deadline `dingtalk.timeout` passed.
    #[error("no connection to {0} in time")]
    Timeout(String),
}

impl Net {
    /// Reads the roots and the proxy of the configuration.
    ///
    /// # Errors
    /// When the CA file cannot be read or the proxy is no URL; the text names the key.
    pub fn new(config: &config::Dingtalk) -> Result<Self, NetError> {
        Ok(Self {
            tls: Arc::new(tls::client_config(config.ca_file.as_deref())?),
            proxy: Arc::new(proxy::matcher(
                config.proxy.as_ref(),
                config.no_proxy.as_deref(),
            )?),
            timeout: config.timeout,
        })
    }

    /// The TLS settings, for the HTTP client.
    pub fn tls(&self) -> &Arc<rustls::ClientConfig> {
        &self.tls
    }

    /// Longest time that connecting may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens a connection to the host of `uri` (`http`, `https`, `ws` or `wss`), through the proxy
    /// unless the host is excepted. It has no deadline of its own.
    ///
    /// # Errors
    /// By [`DialError`]; the texts hold host and port only, never path, query or password.
    pub async fn dial(&self, uri: &Uri) -> Result<Socket, DialError> {
        let target = Target::of(uri)?;
        let straight = match self.proxy.intercept(&target.for_proxy_rules()?) {
            Some(intercept) => {
                let proxy = Target::of(intercept.uri())?;
                let stream = dial::connect(&proxy.host, proxy.port)
                    .await
                    .map_err(|source| proxy.connect_error(source))?;
                let stream = match proxy.secure {
                    true => self.encrypt(stream, &proxy).await?,
                    false => MaybeTlsStream::Plain(stream),
                };
                proxy::tunnel(stream, &target, intercept.basic_auth()).await?
            }
            None => MaybeTlsStream::Plain(
                dial::connect(&target.host, target.port)
                    .await
                    .map_err(|source| target.connect_error(source))?,
            ),
        };
        match target.secure {
            true => self.encrypt(straight, &target).await,
            false => Ok(MaybeTlsStream::Plain(straight)),
        }
    }

    async fn encrypt<S>(&self, stream: S, target: &Target) -> Result<MaybeTlsStream<S>, DialError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = rustls::pki_types::ServerName::try_from(target.host.clone())
            .map_err(|_| DialError::Address(target.to_string()))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(|source| DialError::Tls {
                host: target.to_string(),
                source,
            })?;
        Ok(MaybeTlsStream::Rustls(stream))
    }
}

/// Host, port and whether TLS is spoken there.
#[derive(Debug, Clone)]
struct Target {
    host: String,
    port: u16,
    secure: bool,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, DialError> {
        let unknown = || DialError::Address(uri.host().unwrap_or_default().to_owned());
        let secure = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(unknown()),
        };
        let host = uri.host().ok_or_else(unknown)?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            secure,
        })
    }

    /// Proxy rules know `http` and `https` only.
    fn for_proxy_rules(&self) -> Result<Uri, DialError> {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{self}/")
            .parse()
            .map_err(|_| DialError::Address(self.to_string()))
    }

    fn connect_error(&self, source: io::Error) -> DialError {
        DialError::Connect {
            host: self.to_string(),
            source,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
