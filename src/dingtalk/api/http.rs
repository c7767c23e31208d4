//! The one HTTP client: how DingTalk's hosts are reached, and whether a call that failed may have
//! left. It knows no API.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, NoProxy, Proxy, RequestBuilder, Response};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use super::answer::Answer;
use super::departure::{LeaveBy, TooLate};
use super::errors::Lost;
use super::pace::{Lane, Paces};
use super::webhook::is_dingtalk;
use crate::config;

/// How long an unused connection is kept. Short, because a request on a connection that the other
/// side is closing ends in doubt.
const IDLE: Duration = Duration::from_secs(8);
/// Most unused connections that are kept per host.
const MAX_IDLE: usize = 64;
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Calls a second from one address to all of DingTalk; the ban comes at 500 (oapi.md, section 9.4).
const ADDRESS_RATE: f64 = 450.0;
/// Calls a second to hosts that are not DingTalk's own: no limit that matters.
const FOREIGN_RATE: f64 = 100_000.0;

/// The HTTP client that all accounts share: proxy, CA, deadlines.
#[derive(Clone)]
pub struct Http {
    client: Client,
    /// What DingTalk counts per address, over all accounts.
    address: Lane,
    paces: Paces,
}

impl fmt::Debug for Http {
    /// Shows nothing: the proxy's URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// Why no HTTP client can be built.
#[derive(Debug, Error)]
#[error("{key}: {detail}")]
pub struct HttpError {
    /// Configuration key concerned.
    pub key: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

impl HttpError {
    /// The client cannot be built from what is configured.
    pub(super) fn no_client(error: &reqwest::Error) -> Self {
        Self {
            key: "dingtalk",
            detail: format!("no HTTP client: {}", root_cause(error)),
        }
    }
}

impl Http {
    /// Builds the client from the configuration. Nothing is taken from the environment.
    ///
    /// # Errors
    /// When the CA file cannot be read or the proxy is no URL; the text names the key.
    pub fn new(config: &config::Dingtalk) -> Result<Self, HttpError> {
        // Only https goes through the proxy here: a plain address is a simulator's.
        let client = builder(config, Proxy::https)?
            // Half of the deadline: while a connection is made, nothing has left, and the answer
            // still has its time. The two must never expire together.
            .connect_timeout(config.timeout / 2)
            .timeout(config.timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| HttpError::no_client(&error))?;
        let own = |url: &str| reqwest::Url::parse(url).is_ok_and(|url| is_dingtalk(&url));
        let rate = if own(&config.api_url) || own(&config.oapi_url) {
            ADDRESS_RATE
        } else {
            FOREIGN_RATE
        };
        Ok(Self {
            client,
            address: Lane::new(rate),
            paces: Paces::default(),
        })
    }

    /// The client itself, for the other HTTP conversations with DingTalk.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The pace that all accounts share.
    pub(super) fn address(&self) -> &Lane {
        &self.address
    }

    /// The pace of every account that calls through this client.
    pub fn paces(&self) -> &Paces {
        &self.paces
    }

    /// Makes one call, which leaves by `leave_by` or not at all, and reads its answer.
    pub(super) async fn call(
        &self,
        request: RequestBuilder,
        leave_by: Option<LeaveBy>,
    ) -> Result<Answer, Lost> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(|error| lost(&error))?;
        if let Some(leave_by) = leave_by {
            leave_by.hold(&mut request);
        }
        let response = client.execute(request).await;
        let response = response.map_err(|error| lost(&error))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.trim().parse().ok())
            .map(Duration::from_secs);
        let body = match body(response).await {
            Ok(body) => body,
            // A refusal is clear from its status; a success without its body is not.
            Err(error) if (200..300).contains(&status) => return Err(lost(&error)),
            Err(_) => Vec::new(),
        };
        Ok(Answer {
            status,
            retry_after,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// A client that trusts and goes through what the configuration says, follows no redirects and takes
/// nothing from the environment. `proxied` says what goes through the proxy.
pub(super) fn builder(
    config: &config::Dingtalk,
    proxied: fn(reqwest::Url) -> reqwest::Result<Proxy>,
) -> Result<ClientBuilder, HttpError> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls(config)?)
        .user_agent(concat!("nats-dingtalk/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy();
    let Some(proxy) = &config.proxy else {
        return Ok(builder);
    };
    let refused = || HttpError {
        key: "dingtalk.proxy",
        detail: "is not a URL like http://user:password@host:port".to_owned(),
    };
    let url = reqwest::Url::parse(proxy.expose()).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused());
    }
    let proxy = proxied(url).map_err(|_| refused())?;
    let except = config.no_proxy.as_deref().and_then(NoProxy::from_string);
    Ok(builder.proxy(proxy.no_proxy(except)))
}

async fn body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_ANSWER.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if room <= chunk.len() {
            break;
        }
    }
    Ok(body)
}

/// Whether the request may have left. Only a failed connection and a missed time say surely that it has
/// not; a request that a dying pooled connection handed back unwritten is made again by the client itself.
fn lost(error: &reqwest::Error) -> Lost {
    if cause::<TooLate>(error).is_some() {
        Lost::Unsent(root_cause(error))
    } else if error.is_builder() {
        Lost::Unwritable(root_cause(error))
    } else if error.is_connect() {
        Lost::Unsent(root_cause(error))
    } else if error.is_timeout() {
        Lost::Late
    } else {
        Lost::Broken(root_cause(error))
    }
}

/// What caused an error, from the outside in.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// The cause of this kind, where one is among the causes.
pub(super) fn cause<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The innermost error: the outer ones name the URL.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let innermost = causes(error).last();
    innermost.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// TLS with the system's roots and those of `ca_file`.
fn tls(config: &config::Dingtalk) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = &config.ca_file {
        let refused = |detail: String| HttpError {
            key: "dingtalk.ca_file",
            detail: format!("{}: {detail}", path.display()),
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| refused(error.to_string()))?;
        let count = certificates.len();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if count == 0 || added < count {
            return Err(refused(format!(
                "{added} of {count} PEM certificates can be used"
            )));
        }
    }
    if roots.is_empty() {
        tracing::warn!("no trusted certificates: set dingtalk.ca_file to reach https hosts");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError {
            key: "dingtalk",
            detail: error.to_string(),
        })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
