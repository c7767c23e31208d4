//! `connections/open`, tickets, the upgrade, pings.

use std::time::Duration;

use futures_util::SinkExt;
use nats_dingtalk::sim::{Fault, OPEN_PATH, OpenRefusal, SimOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as Ws;

use super::{APP, Client, address, bot_and_events, data, open, options, start};

#[tokio::test]
async fn a_ticket_opens_one_connection_and_no_second() {
    let sim = start(options()).await;
    let answer: Value = open(&sim, APP, "secret-1", bot_and_events())
        .await
        .json()
        .await
        .unwrap();
    let ticket = answer["ticket"].as_str().unwrap();
    let url = format!("{}?ticket={ticket}", sim.gateway_url());
    connect_async(&url).await.unwrap();
    for bad in [
        url.clone(),
        format!("{}?ticket=none", sim.gateway_url()),
        sim.gateway_url().to_owned(),
    ] {
        let refused = connect_async(&bad).await.unwrap_err();
        let tokio_tungstenite::tungstenite::Error::Http(answer) = refused else {
            panic!("{bad}: {refused}");
        };
        assert_eq!(answer.status(), 400);
    }
}

#[tokio::test]
async fn an_old_ticket_and_the_connection_over_the_limit_are_refused() {
    let sim = start(SimOptions {
        ticket_life: Duration::ZERO,
        ..options()
    })
    .await;
    let url = address(&sim, APP, "secret-1", bot_and_events()).await;
    assert!(connect_async(url).await.is_err());

    let sim = start(SimOptions {
        max_links: 1,
        ..options()
    })
    .await;
    let _only = Client::connect(&sim, APP).await;
    let url = address(&sim, APP, "secret-1", bot_and_events()).await;
    assert!(connect_async(url).await.is_err());
}

#[tokio::test]
async fn open_checks_credentials_subscriptions_and_ua() {
    let sim = start(options()).await;
    let wrong = open(&sim, APP, "secret-2", bot_and_events()).await;
    assert_eq!(wrong.status(), 401);
    let body: Value = wrong.json().await.unwrap();
    assert_eq!(body["code"], "authFailed");
    assert_eq!(body["message"], "鉴权失败");
    for subscriptions in [
        json!([]),
        json!(null),
        json!([{"type": "EVENT", "topic": "x"}]),
        json!([{"type": "NONE", "topic": "*"}]),
    ] {
        let answer = open(&sim, APP, "secret-1", subscriptions.clone()).await;
        assert_eq!(answer.status(), 400, "{subscriptions}");
    }
    let calls = sim.calls_of(OPEN_PATH);
    assert_eq!(calls.len(), 5);
    assert_eq!(calls[0].body.as_ref().unwrap()["clientSecret"], "***");
    assert_eq!(calls[0].status, Some(401));
}

#[tokio::test]
async fn any_app_takes_every_credential_and_keeps_the_first_secret() {
    let sim = start(SimOptions {
        any_app: true,
        ..options()
    })
    .await;
    assert_eq!(
        open(&sim, "dingnew", "a", bot_and_events()).await.status(),
        200
    );
    assert_eq!(
        open(&sim, "dingnew", "b", bot_and_events()).await.status(),
        401
    );
}

#[tokio::test]
async fn each_refusal_of_open_has_its_status_and_body() {
    for (how, status, mark) in [
        (OpenRefusal::AuthFailed, 401, "authFailed"),
        (OpenRefusal::InvalidParameter, 400, "ua invalid"),
        (OpenRefusal::Qps, 403, "QpsLimitForAppkeyAndApi"),
        (OpenRefusal::Throttling, 429, "Throttling"),
        (OpenRefusal::Unavailable, 503, ""),
        (OpenRefusal::Html, 400, "<html>"),
        (OpenRefusal::IpBan, 403, "1111"),
        (OpenRefusal::IpNotInWhitelist, 403, "IpNotInWhiteList"),
    ] {
        let sim = start(options()).await;
        sim.inject(Fault::RefuseOpen {
            how,
            times: Some(1),
        })
        .await
        .unwrap();
        let refused = open(&sim, APP, "secret-1", bot_and_events()).await;
        assert_eq!(refused.status(), status);
        assert!(refused.text().await.unwrap().contains(mark), "{how:?}");
        assert_eq!(
            open(&sim, APP, "secret-1", bot_and_events()).await.status(),
            200
        );
    }
}

#[tokio::test]
async fn the_system_ping_comes_after_the_upgrade_and_its_echo_is_seen() {
    let sim = start(SimOptions {
        auto_ping: Some(Duration::from_millis(10)),
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let ping = client.frame().await;
    assert_eq!(ping["headers"]["topic"], "ping");
    let opaque = data(&ping)["opaque"].as_str().unwrap().to_owned();
    client.ack(&ping, 200, json!({"opaque": opaque})).await;
    sim.wait_for("the echo", |sim| {
        sim.links()[0].opaque_echoes.contains(&opaque).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn websocket_pings_are_answered_and_a_close_is_returned() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    client.socket.send(Ws::Ping("abc".into())).await.unwrap();
    assert_eq!(client.message().await, Ws::Pong("abc".into()));
    assert_eq!(sim.links()[0].pings, 1);
    client.socket.close(None).await.unwrap();
    let seen = client.until_gone().await;
    assert!(matches!(seen.as_slice(), [Ws::Close(Some(_))]), "{seen:?}");
    let ended = sim
        .wait_for("the end", |sim| sim.links()[0].ended.clone())
        .await
        .unwrap();
    assert!(ended.starts_with("closed by the client"), "{ended}");
}

#[tokio::test]
async fn a_held_upgrade_is_never_answered() {
    let sim = start(options()).await;
    let path = "/connect".to_owned();
    sim.inject(Fault::Hold {
        path,
        times: Some(1),
    })
    .await
    .unwrap();
    let url = format!("{}?ticket=x", sim.gateway_url());
    let held = timeout(Duration::from_millis(300), connect_async(&url)).await;
    assert!(held.is_err());
    assert!(
        connect_async(&url).await.is_err(),
        "only one upgrade is held"
    );
}

#[tokio::test]
async fn open_without_accept_is_answered_in_xml() {
    let sim = start(options()).await;
    let body =
        json!({"clientId": APP, "clientSecret": "secret-1", "subscriptions": bot_and_events()})
            .to_string();
    let address = sim.api_url().strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {OPEN_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("<ticket>"),
        "{answer}"
    );
}
