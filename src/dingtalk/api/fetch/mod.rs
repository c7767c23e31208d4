//! Fetching media from addresses that somebody else wrote down: allowed hosts only, never into the
//! own network, redirects looked at anew. It knows no API and sends no token.

mod address;
mod guard;
mod name;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, Proxy, Response, StatusCode, Url};
use thiserror::Error;

use self::guard::{Guard, NotPublic};
use super::http::{HttpError, builder, cause, root_cause};
use crate::config;

/// Deadline of one connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest silence: before the answer and between two pieces of it.
const STALL: Duration = Duration::from_secs(20);
/// Most redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// Why something could not be fetched. The texts name host and reason, never the address, which may
/// be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The address is not one that the bridge fetches from.
    #[error("{0}")]
    Forbidden(String),
    /// The host says that there is nothing, or nothing any more.
    #[error("{0}")]
    Gone(String),
    /// It did not work this time.
    #[error("{0}")]
    Again(String),
}

/// The guarded HTTP client for media; cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
}

impl fmt::Debug for Fetcher {
    /// Shows nothing: the proxy's URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

/// A body that is being fetched.
pub struct Fetched {
    /// How many bytes it has, when the host says so.
    pub size: Option<u64>,
    /// Media type, when the host says so.
    pub mime: Option<String>,
    /// File name, from the headers or the path.
    pub name: Option<String>,
    response: Response,
    host: String,
}

impl fmt::Debug for Fetched {
    /// Shows no address: it may be signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("size", &self.size)
            .field("mime", &self.mime)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Builds the client from the configuration: DingTalk's hosts and `dingtalk.media_hosts`.
    ///
    /// # Errors
    /// When the CA file cannot be read or the proxy is no URL; the text names the key.
    pub fn new(config: &config::Dingtalk) -> Result<Self, HttpError> {
        let guard = Guard::new(config);
        let client = builder(config, Proxy::all)?
            .dns_resolver(guard.clone())
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .build()
            .map_err(|error| HttpError::no_client(&error))?;
        Ok(Self { client, guard })
    }

    /// Asks for what is at `url`; redirects are followed where each step is allowed.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn open(&self, url: &str) -> Result<Fetched, FetchError> {
        let forbidden = |text: &str| FetchError::Forbidden(text.to_owned());
        let mut url = Url::parse(url).map_err(|_| forbidden("the address is no URL"))?;
        for _ in 0..=MOST_REDIRECTS {
            self.guard.check(&url)?;
            let host = url.host_str().unwrap_or_default().to_owned();
            // Nothing but the address: a Content-Type would break the signature of DingTalk's storage
            // (oapi.md, section 5.2).
            let response = self.client.get(url.clone()).send().await;
            let response = response.map_err(|error| failed(&host, &error))?;
            if !response.status().is_redirection() {
                return fetched(host, response);
            }
            let next = response.headers().get(LOCATION);
            let next = next.and_then(|next| next.to_str().ok());
            let next = next.and_then(|next| url.join(next).ok());
            url = next.ok_or_else(|| {
                FetchError::Gone(format!("{host}: the answer is a redirect to nowhere"))
            })?;
        }
        Err(forbidden("the address is redirected more than five times"))
    }
}

impl Fetched {
    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// [`FetchError::Again`] when the transfer breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| failed(&self.host, &error))
    }
}

/// What an answer that is no redirect means.
fn fetched(host: String, response: Response) -> Result<Fetched, FetchError> {
    let status = response.status();
    match status {
        StatusCode::NO_CONTENT => Err(FetchError::Gone(format!("{host}: the answer is empty"))),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(FetchError::Again(format!("{host}: HTTP {status}")))
        }
        status if status.is_success() => {
            let headers = response.headers();
            let mime = headers.get(CONTENT_TYPE);
            let mime = mime.and_then(|mime| mime.to_str().ok());
            let essence = mime.and_then(|mime| mime.split(';').next());
            let essence = essence.map(|mime| mime.trim().to_ascii_lowercase());
            Ok(Fetched {
                size: response.content_length(),
                mime: essence.filter(|mime| !mime.is_empty()),
                name: name::of(headers, response.url()),
                response,
                host,
            })
        }
        status if status.is_client_error() => Err(FetchError::Gone(format!(
            "{host}: HTTP {status}: not there, or the address has expired"
        ))),
        status => Err(FetchError::Again(format!("{host}: HTTP {status}"))),
    }
}

/// What a transfer that broke means.
fn failed(host: &str, error: &reqwest::Error) -> FetchError {
    if let Some(not_public) = cause::<NotPublic>(error) {
        return FetchError::Forbidden(format!(
            "{host}: {not_public}; name the host in dingtalk.media_hosts to fetch from the own network"
        ));
    }
    let reason = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        format!("no connection: {}", root_cause(error))
    } else {
        format!("the transfer broke: {}", root_cause(error))
    };
    FetchError::Again(format!("{host}: {reason}"))
}

#[cfg(test)]
mod tests;
