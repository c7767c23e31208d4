//! How the gateway is reached: TLS with a private CA, proxies, what stands in between.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::gateway::{Gateway, bot, nowhere};
use super::*;

fn tls(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(file)
}

/// Speaks TLS in front of `target` and passes on what is inside.
async fn tls_in_front_of(target: std::net::SocketAddr) -> std::net::SocketAddr {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_file(tls("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(tls("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    aside(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            aside(async move {
                // A client that does not trust the certificate hangs up.
                let Ok(mut inside) = acceptor.accept(stream).await else {
                    return;
                };
                let mut behind = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut behind).await;
            });
        }
    });
    address
}

/// Answers each CONNECT with `answer` and, when that is a 200, tunnels. Tells the heads it saw.
async fn proxy(answer: &'static str) -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, heads) = mpsc::channel(16);
    aside(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            aside(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                seen.send(head).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains(" 200 ") {
                    let mut behind = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
                }
            });
        }
    });
    (address, heads)
}

async fn behind_tls() -> Gateway {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = tls_in_front_of(inner.local_addr().unwrap()).await;
    Gateway::granting(format!("wss://{front}/connect"), inner).await
}

async fn down_reason(link: &mut Running) -> String {
    match link
        .until(|change| matches!(change, LinkChange::Down(_)))
        .await
    {
        LinkChange::Down(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_gateway_with_a_certificate_of_a_private_ca_is_reached_with_the_ca_file() {
    let mut gateway = behind_tls().await;
    let trusting = config::Dingtalk {
        ca_file: Some(tls("ca.pem")),
        ..dingtalk(&gateway.api_url)
    };
    let mut link = start_with(&trusting, account(), brisk(), 16);
    let mut peer = gateway.accept().await;
    peer.push(&bot("m")).await;
    assert_eq!(link.delivery().await.frame.message_id.as_deref(), Some("m"));
    link.finish().await;
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_with_a_hint_at_the_ca_file() {
    let gateway = behind_tls().await;
    let mut link = start(&gateway, brisk());
    let reason = down_reason(&mut link).await;
    assert!(reason.contains("dingtalk.ca_file"), "{reason}");
    assert!(!reason.contains("ticket"), "{reason}");
    link.finish().await;
}

#[tokio::test]
async fn the_websocket_goes_through_the_proxy_with_user_and_password() {
    let mut gateway = behind_tls().await;
    let (address, mut heads) = proxy("HTTP/1.1 200 Connection established\r\n\r\n").await;
    let proxied = config::Dingtalk {
        ca_file: Some(tls("ca.pem")),
        proxy: Some(Secret::new(format!("http://Aladdin:opensesame@{address}"))),
        no_proxy: Some("internal.example".to_owned()),
        media_hosts: Vec::new(),
        ..dingtalk(&gateway.api_url)
    };
    let mut link = start_with(&proxied, account(), brisk(), 16);
    let mut peer = gateway.accept().await;
    peer.push(&bot("m")).await;
    assert_eq!(link.delivery().await.frame.message_id.as_deref(), Some("m"));
    let head = within(heads.recv()).await.unwrap();
    assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
    assert!(
        head.contains("Proxy-Authorization: Basic QWxhZGRpbjpvcGVuc2VzYW1l\r\n"),
        "{head}"
    );
    link.finish().await;
}

#[tokio::test]
async fn a_host_in_no_proxy_is_reached_straight() {
    let mut gateway = Gateway::start().await;
    let straight = config::Dingtalk {
        proxy: Some(Secret::new(format!("http://{}", nowhere().await))),
        no_proxy: Some("127.0.0.0/8".to_owned()),
        media_hosts: Vec::new(),
        ..dingtalk(&gateway.api_url)
    };
    let link = start_with(&straight, account(), brisk(), 16);
    let _peer = gateway.accept().await;
    link.finish().await;
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_says_so_and_none_is_repeated() {
    let gateway = Gateway::start().await;
    let (address, _heads) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let refused = config::Dingtalk {
        proxy: Some(Secret::new(format!("http://u:opensesame@{address}"))),
        ..dingtalk(&gateway.api_url)
    };
    let mut link = start_with(&refused, account(), brisk(), 16);
    let reason = down_reason(&mut link).await;
    assert!(reason.contains("407"), "{reason}");
    assert!(reason.contains("dingtalk.proxy"), "{reason}");
    assert!(!reason.contains("opensesame"), "{reason}");
    link.finish().await;
}

#[tokio::test]
async fn an_upgrade_that_something_else_answers_is_reported_with_what_it_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    aside(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0_u8; 2048];
            let _ = stream.read(&mut head).await;
            let body = "<html><h1>400</h1> The plain HTTP request was sent to HTTPS port</html>";
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::granting(format!("ws://{address}/connect"), unused).await;
    let mut link = start(&gateway, brisk());
    let reason = down_reason(&mut link).await;
    assert!(
        reason.contains("answered 400 (400 The plain HTTP request was sent to HTTPS port)"),
        "{reason}"
    );
    link.finish().await;
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_a_network_fault_to_be_tried_again() {
    let mut link = start_with(
        &dingtalk(&format!("http://{}", nowhere().await)),
        account(),
        brisk(),
        16,
    );
    let reason = down_reason(&mut link).await;
    assert!(reason.contains("not reached"), "{reason}");
    link.finish().await;
}
