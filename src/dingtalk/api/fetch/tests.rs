//! The guarded client against hosts on real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// Path of every request and its headers.
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A host that serves what its paths say.
struct Host {
    address: SocketAddr,
    seen: Seen,
    _tasks: JoinSet<()>,
}

impl Host {
    async fn start() -> Self {
        let seen = Seen::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn paths(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(path, _)| path.clone()).collect()
    }
}

/// `/status/404`, `/to?<address>`, `/loop`, `/cut`, else ten bytes.
async fn serve(State(seen): State<Seen>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let headers = request.headers().clone();
    seen.lock().unwrap().push((path.clone(), headers));
    let answer = Response::builder();
    let built = if let Some(status) = path.strip_prefix("/status/") {
        answer
            .status(status.parse::<u16>().unwrap())
            .body(Body::empty())
    } else if path == "/to" {
        answer
            .status(302)
            .header("location", query)
            .body(Body::empty())
    } else if path == "/loop" {
        answer
            .status(307)
            .header("location", "/loop")
            .body(Body::empty())
    } else if path == "/cut" {
        let pieces = [Ok("half"), Err(std::io::Error::other("cut"))];
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        answer.header("content-length", "10").body(body)
    } else {
        answer
            .header("content-type", "Image/PNG; charset=x")
            .header("content-disposition", "attachment; filename=\"a.png\"")
            .body(Body::from("0123456789"))
    };
    built.unwrap()
}

fn fetcher(api_url: &str, media_hosts: &[&str]) -> Fetcher {
    Fetcher::new(&settings(api_url, media_hosts)).unwrap()
}

fn settings(api_url: &str, media_hosts: &[&str]) -> config::Dingtalk {
    config::Dingtalk {
        api_url: api_url.to_owned(),
        oapi_url: "https://oapi.dingtalk.com".to_owned(),
        ca_file: None,
        proxy: None,
        no_proxy: None,
        media_hosts: media_hosts.iter().map(|&host| host.to_owned()).collect(),
        timeout: Duration::from_secs(5),
    }
}

async fn whole(mut fetched: Fetched) -> Result<Vec<u8>, FetchError> {
    let mut all = Vec::new();
    while let Some(piece) = fetched.chunk().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn a_body_comes_with_its_size_type_and_name_and_nothing_secret_is_sent() {
    let host = Host::start().await;
    let fetcher = fetcher(&host.url(""), &[]);
    let fetched = fetcher.open(&host.url("x?Signature=CANARY")).await.unwrap();
    assert_eq!(fetched.size, Some(10));
    assert_eq!(fetched.mime.as_deref(), Some("image/png"));
    assert_eq!(fetched.name.as_deref(), Some("a.png"));
    assert!(!format!("{fetched:?} {fetcher:?}").contains("CANARY"));
    assert_eq!(whole(fetched).await.unwrap(), b"0123456789");
    let seen = host.seen.lock().unwrap();
    for name in [
        "content-type",
        "authorization",
        "x-acs-dingtalk-access-token",
        "referer",
    ] {
        assert!(seen[0].1.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn redirects_are_followed_where_each_step_is_allowed() {
    let (host, other) = (Host::start().await, Host::start().await);
    let port = other.address.port();
    let named = format!("localhost:{port}");
    let fetcher = fetcher(&host.url(""), &[&named]);
    let to_named = host.url(&format!("to?http://localhost:{port}/there"));
    let fetched = fetcher.open(&to_named).await.unwrap();
    assert_eq!(whole(fetched).await.unwrap(), b"0123456789");
    assert_eq!(other.paths(), ["/there"]);

    // The same host under its address is not named.
    for location in [
        other.url("hidden"),
        format!("http://2130706433:{port}/hidden"),
        format!("http://[::ffff:127.0.0.1]:{port}/hidden"),
        format!("//127.0.0.1:{port}/hidden"),
        format!("http://u:CANARY@localhost:{port}/hidden"),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let error = fetcher.open(&host.url(&format!("to?{location}"))).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, FetchError::Forbidden(_)),
            "{location}: {error}"
        );
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
    assert_eq!(other.paths(), ["/there"]);
    let error = fetcher.open(&host.url("loop")).await.unwrap_err();
    assert!(matches!(error, FetchError::Forbidden(_)), "{error}");
    assert_eq!(
        host.paths().iter().filter(|path| *path == "/loop").count(),
        6
    );
}

#[tokio::test]
async fn a_name_that_leads_into_the_own_network_is_not_connected_to() {
    let host = Host::start().await;
    let port = host.address.port();
    let fetcher = fetcher("https://api.dingtalk.com", &[]);
    let guarded = Client::builder()
        .no_proxy()
        .dns_resolver(fetcher.guard.clone())
        .tls_backend_preconfigured(rustls_of_tests())
        .build()
        .unwrap();
    let sent = guarded
        .get(format!("http://localhost:{port}/x"))
        .send()
        .await;
    let error = failed("localhost", &sent.unwrap_err());
    assert!(matches!(error, FetchError::Forbidden(_)), "{error}");
    assert!(
        error.to_string().contains("dingtalk.media_hosts"),
        "{error}"
    );
    assert!(host.paths().is_empty());
}

/// TLS that trusts nobody.
fn rustls_of_tests() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test]
async fn what_is_gone_is_told_from_what_may_come_again() {
    let host = Host::start().await;
    let fetcher = fetcher(&host.url(""), &[]);
    for status in [400, 401, 403, 404, 410, 204] {
        let error = fetcher.open(&host.url(&format!("status/{status}"))).await;
        let error = error.unwrap_err();
        assert!(matches!(error, FetchError::Gone(_)), "{status}: {error}");
    }
    for status in [408, 429, 500, 502, 503] {
        let error = fetcher.open(&host.url(&format!("status/{status}"))).await;
        let error = error.unwrap_err();
        assert!(matches!(error, FetchError::Again(_)), "{status}: {error}");
    }
    // Whether the answer begins before it breaks is up to the network.
    let cut = async { whole(fetcher.open(&host.url("cut?Signature=CANARY")).await?).await };
    let error = cut.await.unwrap_err();
    assert!(matches!(error, FetchError::Again(_)), "{error}");
    assert!(!error.to_string().contains("CANARY"), "{error}");
    let url = host.url("x?Signature=CANARY");
    drop(host);
    let error = fetcher.open(&url).await.unwrap_err();
    assert!(matches!(error, FetchError::Again(_)), "{error}");
    assert!(!error.to_string().contains("CANARY"), "{error}");
}

#[tokio::test]
async fn a_proxy_in_the_own_network_is_gone_through_but_not_fetched_from() {
    let proxy = Host::start().await;
    let url = proxy.url("");
    let config = config::Dingtalk {
        proxy: Some(crate::message::Secret::new(url.as_str())),
        ..settings("https://api.dingtalk.com", &[])
    };
    let fetcher = Fetcher::new(&config).unwrap();
    let fetched = fetcher.open("http://down.dingtalk.com/media/x").await;
    assert_eq!(whole(fetched.unwrap()).await.unwrap(), b"0123456789");
    assert_eq!(proxy.paths(), ["/media/x"]);
    for hidden in [
        url.as_str(),
        "http://169.254.169.254/x",
        "http://internal/x",
    ] {
        let error = fetcher.open(hidden).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Forbidden(_)),
            "{hidden}: {error}"
        );
    }
    assert_eq!(proxy.paths(), ["/media/x"]);
}
