//! The simulated DingTalk itself, over real sockets with a bare WebSocket and HTTP client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nats_dingtalk::sim::{
    AckMatching, BOT_TOPIC, Burst, CardPress, Fault, FrameState, GROUP_SEND_PATH, LateAck, Message,
    OPEN_PATH, OpenRefusal, Push, SentVia, Sim, SimApp, SimError, SimOptions, TOKEN_PATH,
    TokenFamilies, USER_SEND_PATH, WEBHOOK_PATH,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const APP: &str = "dingsim0000000000001";
const OTHER: &str = "dingsim0000000000002";
const PATIENCE: Duration = Duration::from_secs(10);
const GROUP: &str = "cid6KeB+/oA==";

fn options() -> SimOptions {
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

async fn start(options: SimOptions) -> Sim {
    Sim::start(options).await.unwrap()
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn bot_and_events() -> Value {
    json!([
        {"type": "CALLBACK", "topic": BOT_TOPIC},
        {"type": "CALLBACK", "topic": "/v1.0/card/instances/callback"},
        {"type": "EVENT", "topic": "*"},
    ])
}

async fn open(sim: &Sim, app: &str, secret: &str, subscriptions: Value) -> reqwest::Response {
    http()
        .post(format!("{}{OPEN_PATH}", sim.api_url()))
        .header("accept", "application/json")
        .json(&json!({"clientId": app, "clientSecret": secret, "subscriptions": subscriptions, "ua": "test/1"}))
        .send()
        .await
        .unwrap()
}

/// A bare Stream client: it answers nothing by itself.
struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn connect(sim: &Sim, app: &str) -> Self {
        let secret = if app == APP { "secret-1" } else { "secret-2" };
        let answer = open(sim, app, secret, bot_and_events()).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        let before = sim.live_links(app).len();
        let url = format!(
            "{}?ticket={}",
            answer["endpoint"].as_str().unwrap(),
            answer["ticket"].as_str().unwrap()
        );
        let (socket, _) = connect_async(url).await.unwrap();
        sim.connected(app, before + 1).await.unwrap();
        Self { socket }
    }

    async fn message(&mut self) -> Ws {
        let next = timeout(PATIENCE, self.socket.next()).await;
        next.expect("nothing came").expect("stream ended").unwrap()
    }

    async fn text(&mut self) -> String {
        loop {
            if let Ws::Text(text) = self.message().await {
                return text.as_str().to_owned();
            }
        }
    }

    async fn frame(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    async fn ack(&mut self, frame: &Value, code: u16, data: Value) {
        let ack = json!({
            "code": code,
            "headers": {"messageId": frame["headers"]["messageId"], "contentType": "application/json"},
            "message": "OK",
            "data": data.to_string(),
        });
        self.socket.send(Ws::text(ack.to_string())).await.unwrap();
    }

    async fn ok(&mut self, frame: &Value) {
        self.ack(frame, 200, json!({"response": null})).await;
    }

    /// Reads until the socket is gone; returns what came before.
    async fn until_gone(&mut self) -> Vec<Ws> {
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

fn data(frame: &Value) -> Value {
    serde_json::from_str(frame["data"].as_str().unwrap()).unwrap()
}

async fn token(sim: &Sim) -> String {
    let answer: Value = http()
        .post(format!("{}{TOKEN_PATH}", sim.api_url()))
        .json(&json!({"appKey": APP, "appSecret": "secret-1"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    answer["accessToken"].as_str().unwrap().to_owned()
}

async fn call(sim: &Sim, path: &str, token: &str, body: Value) -> (u16, Value) {
    let answer = http()
        .post(format!("{}{path}", sim.api_url()))
        .header("x-acs-dingtalk-access-token", token)
        .json(&body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn to_user(text: &str) -> Value {
    json!({"robotCode": APP, "userIds": ["manager1"], "msgKey": "sampleText",
           "msgParam": json!({"content": text}).to_string()})
}

fn to_group(text: &str) -> Value {
    json!({"robotCode": APP, "openConversationId": GROUP, "msgKey": "sampleText",
           "msgParam": json!({"content": text}).to_string()})
}

// Gateway.

#[tokio::test]
async fn a_message_is_pushed_acked_and_not_redelivered() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim
        .say(APP, Message::in_group(GROUP, "manager1", "deploy it"))
        .await
        .unwrap();
    let frame = client.frame().await;
    assert_eq!(frame["type"], "CALLBACK");
    assert_eq!(frame["headers"]["topic"], BOT_TOPIC);
    assert!(
        frame["headers"]
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_string)
    );
    let body = data(&frame);
    assert_eq!(body["msgId"], msg_id.as_str());
    assert_eq!(body["conversationId"], GROUP);
    assert_eq!(body["text"]["content"], " deploy it");
    assert_eq!(body["isInAtList"], true);
    client.ok(&frame).await;
    let acked = sim.acked(&msg_id).await.unwrap();
    assert_eq!(acked.attempt, 0);
    assert_eq!(acked.acks.len(), 1);
    assert_eq!(acked.acks[0].data.as_deref(), Some("{\"response\":null}"));
    let links = sim.links();
    assert_eq!(frame["headers"]["connectionId"], links[0].ticket.as_str());
    sim.stop().await;
}

#[tokio::test]
async fn an_unacked_message_comes_once_more_with_a_new_frame_id_and_the_same_data() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim.say(APP, Message::to_bot("u1", "hi")).await.unwrap();
    let first = client.frame().await;
    let second = client.frame().await;
    assert_ne!(
        first["headers"]["messageId"],
        second["headers"]["messageId"]
    );
    assert_eq!(first["data"], second["data"]);
    let frames = sim.frames_of(&msg_id);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].state, FrameState::TimedOut);
    let gap = frames[1].pushed_at.as_millis() - frames[0].pushed_at.as_millis();
    assert!((300..2000).contains(&gap), "redelivered after {gap} ms");
}
