//! HTTP proxies: which host goes through one, and the CONNECT tunnel.

use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};

use super::{DialError, NetError, Target};
use crate::message::Secret;

/// Largest head of an answer to CONNECT.
const MAX_HEAD: usize = 16 * 1024;

/// Rules from the configured proxy and its exceptions.
pub(super) fn matcher(proxy: Option<&Secret>, no_proxy: Option<&str>) -> Result<Matcher, NetError> {
    let Some(proxy) = proxy else {
        return Ok(Matcher::builder().build());
    };
    // The URL itself stays out of the error: it may hold a password.
    let refused = |detail: &str| NetError {
        key: "dingtalk.proxy",
        detail: detail.to_owned(),
    };
    let uri: Uri = proxy
        .expose()
        .parse()
        .map_err(|_| refused("not a URL such as http://user:password@proxy.example:3128"))?;
    if uri.host().is_none() {
        return Err(refused("the URL names no host"));
    }
    match uri.scheme_str() {
        None | Some("http" | "https") => {}
        Some(_) => return Err(refused("only http and https proxies are spoken")),
    }
    Ok(Matcher::builder()
        .all(proxy.expose())
        .no(no_proxy.unwrap_or_default())
        .build())
}

/// Asks the proxy on `stream` for a tunnel to `target`.
pub(super) async fn tunnel(
    mut stream: MaybeTlsStream<TcpStream>,
    target: &Target,
    authorization: Option<&HeaderValue>,
) -> Result<MaybeTlsStream<TcpStream>, DialError> {
    let failed = |detail: String| DialError::Proxy {
        host: target.to_string(),
        detail,
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream
        .write_all(&request)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let head = read_head(&mut stream).await.map_err(&failed)?;
    let status_line = head.lines().next().unwrap_or_default();
    match status_line.split_whitespace().nth(1) {
        Some(code) if code.starts_with('2') => Ok(stream),
        Some("407") => Err(failed(format!(
            "{status_line} (check user and password in dingtalk.proxy)"
        ))),
        _ => Err(failed(status_line.to_owned())),
    }
}

/// Reads up to the empty line and not one byte further: what follows belongs to the tunnel.
async fn read_head(stream: &mut MaybeTlsStream<TcpStream>) -> Result<String, String> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err("its answer has no end".to_owned());
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => return Err(format!("it closed the connection: {error}")),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_no_url_is_refused_without_repeating_it() {
        for proxy in [
            "http://us er:hunter2@",
            "socks5://u:hunter2@host:1",
            "/hunter2",
        ] {
            let error = matcher(Some(&Secret::new(proxy)), None).unwrap_err();
            assert_eq!(error.key, "dingtalk.proxy");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn hosts_named_in_no_proxy_are_reached_straight() {
        let rules = matcher(
            Some(&Secret::new("http://proxy.example:3128")),
            Some("internal.example, 127.0.0.0/8"),
        )
        .unwrap();
        let goes_through = |uri: &'static str| rules.intercept(&Uri::from_static(uri)).is_some();
        assert!(goes_through(
            "https://wss-open-connection.dingtalk.com:443/"
        ));
        assert!(goes_through("http://api.dingtalk.com/"));
        assert!(!goes_through("https://api.internal.example/"));
        assert!(!goes_through("http://127.0.0.1:8080/"));
    }
}
