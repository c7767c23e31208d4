//! The simulated DingTalk itself, over real sockets with a bare WebSocket and HTTP client.

mod api;
mod cards;
mod control;
mod delivery;
mod link_faults;
mod media;
mod opening;
mod quota;
mod recall;
mod tokens;
mod webhooks;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nats_dingtalk::sim::{BOT_TOPIC, OPEN_PATH, Sim, SimApp, SimOptions, TOKEN_PATH};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(super) const APP: &str = "dingsim0000000000001";
pub(super) const OTHER: &str = "dingsim0000000000002";
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
pub(super) const GROUP: &str = "cid6KeB+/oA==";

pub(super) fn options() -> SimOptions {
    SimOptions {
        apps: vec![SimApp::new(APP, "secret-1"), SimApp::new(OTHER, "secret-2")],
        auto_ping: None,
        ack_timeout: Duration::from_millis(200),
        event_retries: vec![Duration::from_millis(50), Duration::from_millis(80)],
        bot_retries: vec![Duration::from_millis(300)],
        close_after_disconnect: Duration::from_millis(150),
        ..SimOptions::default()
    }
}

pub(super) async fn start(options: SimOptions) -> Sim {
    Sim::start(options).await.unwrap()
}

pub(super) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub(super) fn bot_and_events() -> Value {
    json!([
        {"type": "CALLBACK", "topic": BOT_TOPIC},
        {"type": "CALLBACK", "topic": "/v1.0/card/instances/callback"},
        {"type": "EVENT", "topic": "*"},
    ])
}

pub(super) async fn open(
    sim: &Sim,
    app: &str,
    secret: &str,
    subscriptions: Value,
) -> reqwest::Response {
    http()
        .post(format!("{}{OPEN_PATH}", sim.api_url()))
        .header("accept", "application/json")
        .json(&json!({"clientId": app, "clientSecret": secret, "subscriptions": subscriptions, "ua": "test/1"}))
        .send()
        .await
        .unwrap()
}

/// Opens a connection; where its WebSocket is to be had.
pub(super) async fn address(sim: &Sim, app: &str, secret: &str, subscriptions: Value) -> String {
    let answer = open(sim, app, secret, subscriptions).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    format!(
        "{}?ticket={}",
        answer["endpoint"].as_str().unwrap(),
        answer["ticket"].as_str().unwrap()
    )
}

/// A bare Stream client: it answers nothing by itself.
pub(super) struct Client {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(super) async fn connect(sim: &Sim, app: &str) -> Self {
        let secret = if app == APP { "secret-1" } else { "secret-2" };
        let url = address(sim, app, secret, bot_and_events()).await;
        let before = sim.live_links(app).len();
        let (socket, _) = connect_async(url).await.unwrap();
        sim.connected(app, before + 1).await.unwrap();
        Self { socket }
    }

    pub(super) async fn message(&mut self) -> Ws {
        let next = timeout(PATIENCE, self.socket.next()).await;
        next.expect("nothing came").expect("stream ended").unwrap()
    }

    pub(super) async fn text(&mut self) -> String {
        loop {
            if let Ws::Text(text) = self.message().await {
                return text.as_str().to_owned();
            }
        }
    }

    pub(super) async fn frame(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    pub(super) async fn ack(&mut self, frame: &Value, code: u16, data: Value) {
        let ack = json!({
            "code": code,
            "headers": {"messageId": frame["headers"]["messageId"], "contentType": "application/json"},
            "message": "OK",
            "data": data.to_string(),
        });
        self.socket.send(Ws::text(ack.to_string())).await.unwrap();
    }

    pub(super) async fn ok(&mut self, frame: &Value) {
        self.ack(frame, 200, json!({"response": null})).await;
    }

    /// Reads until the socket is gone; returns what came before.
    pub(super) async fn until_gone(&mut self) -> Vec<Ws> {
        let mut seen = Vec::new();
        let read = async {
            while let Some(Ok(message)) = self.socket.next().await {
                seen.push(message);
            }
        };
        timeout(PATIENCE, read).await.expect("the socket stays up");
        seen
    }
}

pub(super) fn data(frame: &Value) -> Value {
    serde_json::from_str(frame["data"].as_str().unwrap()).unwrap()
}

pub(super) async fn token(sim: &Sim) -> String {
    token_of(sim, APP, "secret-1").await
}

pub(super) async fn token_of(sim: &Sim, app: &str, secret: &str) -> String {
    let answer: Value = http()
        .post(format!("{}{TOKEN_PATH}", sim.api_url()))
        .json(&json!({"appKey": app, "appSecret": secret}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    answer["accessToken"].as_str().unwrap().to_owned()
}

pub(super) async fn call(sim: &Sim, path: &str, token: &str, body: Value) -> (u16, Value) {
    call_by(Method::POST, sim, path, token, body).await
}

pub(super) async fn call_by(
    method: Method,
    sim: &Sim,
    path: &str,
    token: &str,
    body: Value,
) -> (u16, Value) {
    let answer = http()
        .request(method, format!("{}{path}", sim.api_url()))
        .header("x-acs-dingtalk-access-token", token)
        .json(&body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

pub(super) fn to_user(text: &str) -> Value {
    json!({"robotCode": APP, "userIds": ["manager1"], "msgKey": "sampleText",
           "msgParam": json!({"content": text}).to_string()})
}

pub(super) fn to_group(text: &str) -> Value {
    json!({"robotCode": APP, "openConversationId": GROUP, "msgKey": "sampleText",
           "msgParam": json!({"content": text}).to_string()})
}
