//! Which addresses media are fetched from: a check of the URL before each step, and of the IP
//! addresses behind its name where the connection is made. It fetches nothing.
//!
//! Hosts that pass, beside those named in `dingtalk.media_hosts`:
//! - `dingtalk.com`, `dingtalk.io` and what is below them, where DingTalk keeps media;
//! - buckets of Alibaba Cloud's object storage, `<bucket>.oss-<region>.aliyuncs.com`: the addresses
//!   that DingTalk signs for download codes lead to buckets of several names and regions (oapi.md,
//!   section 5.2). Anybody can have a bucket there, but all of them are on the public internet;
//! - `dingtalk.api_url` and `dingtalk.oapi_url` with their ports, where these lead elsewhere: a
//!   simulator or a private site serves media beside the API.
//!
//! A name is resolved once, its addresses are checked, and one of these is connected to: no second
//! answer of the DNS can lead elsewhere. Through a proxy it is the proxy that resolves, so that only
//! the names are checked then.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use super::FetchError;
use super::address::is_public;
use crate::config;
use crate::dingtalk::api::webhook::is_dingtalk_host;

/// Where DingTalk's object storage is.
const STORAGE: &str = ".aliyuncs.com";
/// Longest host that is shown, in characters.
const MAX_SHOWN: usize = 100;

/// What may be fetched from.
#[derive(Debug, Clone)]
pub(super) struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// `dingtalk.media_hosts`.
    named: Vec<Host>,
    /// `api_url` and `oapi_url` that lead elsewhere than to DingTalk.
    configured: Vec<Url>,
    /// Host of the proxy, which may stand in the own network.
    proxy: Option<String>,
}

/// One entry of `dingtalk.media_hosts`.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    name: String,
    /// Whether what is below it counts too.
    below: bool,
    /// The only port, when one is named.
    port: Option<u16>,
}

/// A name behind which there is no public address.
#[derive(Debug, Error)]
#[error("the name leads to no public address")]
pub(super) struct NotPublic;

impl Host {
    fn read(entry: &str) -> Self {
        let (below, entry) = match entry.strip_prefix('.') {
            Some(domain) => (true, domain),
            None => (false, entry),
        };
        // The URL type writes addresses in their one form.
        let whole = match entry.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(_)) | Err(_) => entry.to_owned(),
        };
        let url = Url::parse(&format!("http://{whole}")).ok();
        let name = url.as_ref().and_then(Url::host_str).unwrap_or(entry);
        let standard = whole.ends_with(":80").then_some(80);
        Self {
            name: name.to_ascii_lowercase(),
            below,
            port: url.as_ref().and_then(Url::port).or(standard),
        }
    }

    fn covers(&self, name: &str) -> bool {
        let inner = name.strip_suffix(&self.name);
        inner.is_some_and(|front| front.is_empty() || (self.below && front.ends_with('.')))
    }
}

impl Guard {
    pub(super) fn new(config: &config::Dingtalk) -> Self {
        let configured = [&config.api_url, &config.oapi_url];
        let configured = configured
            .into_iter()
            .filter_map(|url| Url::parse(url).ok());
        let elsewhere = |url: &Url| !is_dingtalk_host(url.host_str().unwrap_or_default());
        let proxy = config.proxy.as_ref();
        let proxy = proxy.and_then(|proxy| Url::parse(proxy.expose()).ok());
        Self(Arc::new(Rules {
            named: config
                .media_hosts
                .iter()
                .map(|host| Host::read(host))
                .collect(),
            configured: configured.filter(elsewhere).collect(),
            proxy: proxy.and_then(|url| url.host_str().map(str::to_owned)),
        }))
    }

    /// Whether one step of a fetch may lead to `url`.
    ///
    /// # Errors
    /// [`FetchError::Forbidden`] with the host and the reason.
    pub(super) fn check(&self, url: &Url) -> Result<(), FetchError> {
        let host = url.host_str().unwrap_or_default();
        let forbidden = |reason: &str| {
            let host: String = host.chars().take(MAX_SHOWN).collect();
            Err(FetchError::Forbidden(format!("{host}: {reason}")))
        };
        if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
            return forbidden("only http and https addresses are fetched");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return forbidden("addresses with a user or password are not fetched");
        }
        let port = url.port_or_known_default();
        let rules = &self.0;
        let named = |entry: &Host| {
            entry.covers(host) && entry.port.is_none_or(|wanted| Some(wanted) == port)
        };
        let configured = |own: &Url| own.origin() == url.origin();
        let standard = url.port().is_none();
        let known = rules.named.iter().any(named)
            || rules.configured.iter().any(configured)
            || (standard && (is_dingtalk_host(host) || is_storage(host)));
        if known {
            return Ok(());
        }
        forbidden(
            "media are not fetched from there; name the host in dingtalk.media_hosts to allow it",
        )
    }

    /// Whether the name may lead into the own network.
    fn trusts(&self, name: &str) -> bool {
        let rules = &self.0;
        rules.named.iter().any(|entry| entry.covers(name))
            || rules.proxy.as_deref() == Some(name)
            || rules
                .configured
                .iter()
                .any(|url| url.host_str() == Some(name))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let trusted = guard.trusts(name.as_str());
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<SocketAddr> = found
                .filter(|address| trusted || is_public(address.ip()))
                .collect();
            if usable.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// Whether the host is a bucket of the object storage, by its public name.
fn is_storage(host: &str) -> bool {
    let Some(front) = host.strip_suffix(STORAGE) else {
        return false;
    };
    let mut labels = front.rsplit('.');
    let region = labels.next().unwrap_or_default();
    let bucket = labels.next().unwrap_or_default();
    region.starts_with("oss-")
        && !region.ends_with("-internal")
        && !bucket.is_empty()
        && labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::Secret;

    fn guard(hosts: &[&str]) -> Guard {
        Guard::new(&config::Dingtalk {
            api_url: "https://api.dingtalk.com".to_owned(),
            oapi_url: "http://127.0.0.1:8090".to_owned(),
            ca_file: None,
            proxy: Some(Secret::new("http://u:p@proxy.corp:3128")),
            no_proxy: None,
            media_hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            timeout: Duration::from_secs(1),
        })
    }

    fn allowed(guard: &Guard, url: &str) -> bool {
        guard.check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn dingtalk_its_storage_and_the_configured_hosts_are_fetched_from() {
        let guard = guard(&[]);
        for url in [
            "https://down.dingtalk.com/media/x",
            "http://static.dingtalk.com/x",
            "https://down.dingtalk.io:443/x",
            "http://wukong-file.oss-cn-zhangjiakou.aliyuncs.com/x?Signature=y",
            "https://some-bucket.oss-accelerate.aliyuncs.com/x",
            "http://127.0.0.1:8090/sim-oss/x",
        ] {
            assert!(allowed(&guard, url), "{url}");
        }
    }

    #[test]
    fn everything_else_is_forbidden_in_every_spelling() {
        let guard = guard(&[]);
        for url in [
            "ftp://down.dingtalk.com/x",
            "file:///etc/passwd",
            "data:text/plain,x",
            "gopher://down.dingtalk.com/",
            "https://user@down.dingtalk.com/x",
            "https://user:CANARY@down.dingtalk.com/x",
            "https://down.dingtalk.com@evil.example/x",
            "https://down.dingtalk.com:8443/x",
            "https://dingtalk.com.evil.example/x",
            "https://evildingtalk.com/x",
            "https://evil.example/x#.dingtalk.com",
            "https://evil.example/x?.dingtalk.com",
            "https://aliyuncs.com/x",
            "https://ecs.aliyuncs.com/x",
            "https://oss-cn-hangzhou.aliyuncs.com/x",
            "https://b.oss-cn-hangzhou-internal.aliyuncs.com/x",
            "https://a.b.oss-cn-hangzhou.aliyuncs.com/x",
            "https://b.oss-cn-hangzhou.aliyuncs.com.evil.example/x",
            // The same loopback in the forms that a URL may have.
            "http://127.0.0.1/x",
            "http://127.0.0.1:8091/x",
            "https://127.0.0.1:8090/x",
            "http://127.1/x",
            "http://2130706433/x",
            "http://0x7f000001/x",
            "http://0x7f.1/x",
            "http://0177.0.0.1/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://[::ffff:127.0.0.1]:8090/x",
            "http://0/x",
            "http://169.254.169.254/latest/meta-data",
            "http://2852039166/latest/meta-data",
            "http://100.100.100.200/latest/meta-data",
            "http://proxy.corp:3128/x",
        ] {
            let error = guard.check(&Url::parse(url).unwrap()).unwrap_err();
            assert!(matches!(error, FetchError::Forbidden(_)), "{url}");
            assert!(!error.to_string().contains("CANARY"), "{error}");
        }
        // The configured one in other spellings is the configured one.
        for url in ["http://2130706433:8090/x", "http://0x7f.0.0.1:8090/x"] {
            assert!(allowed(&guard, url), "{url}");
        }
    }

    #[test]
    fn named_hosts_count_with_their_subdomains_and_ports_as_written() {
        let guard = guard(&[
            "files.example.com",
            ".example.org",
            "10.0.0.7",
            "minio:9000",
            "::1",
            "plain.example:80",
        ]);
        for url in [
            "https://files.example.com/x",
            "https://FILES.example.com:8443/x",
            "http://example.org/x",
            "http://a.b.example.org/x",
            "http://10.0.0.7:9000/x",
            "http://167772167/x",
            "http://minio:9000/x",
            "http://[::1]:8080/x",
            "http://plain.example/x",
        ] {
            assert!(allowed(&guard, url), "{url}");
        }
        for url in [
            "https://a.files.example.com/x",
            "https://xfiles.example.com/x",
            "https://badexample.org/x",
            "http://10.0.0.8/x",
            "http://minio:9001/x",
            "https://plain.example/x",
        ] {
            assert!(!allowed(&guard, url), "{url}");
        }
        for name in [
            "files.example.com",
            "a.example.org",
            "127.0.0.1",
            "proxy.corp",
        ] {
            assert!(guard.trusts(name), "{name}");
        }
        for name in ["down.dingtalk.com", "api.dingtalk.com", "localhost"] {
            assert!(!guard.trusts(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_into_the_own_network_has_no_address_unless_it_is_named() {
        let name = || "localhost".parse::<Name>().unwrap();
        let error = guard(&[]).resolve(name()).await.err().unwrap();
        assert!(error.is::<NotPublic>(), "{error}");
        let found = guard(&["localhost"]).resolve(name()).await.ok().unwrap();
        assert!(found.count() > 0);
    }
}
