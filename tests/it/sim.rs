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
const PATIENCE: Duration = Duration::from_secs(15);
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

#[tokio::test]
async fn a_bot_retry_does_not_come_when_the_ack_was_late_and_late_acks_count() {
    let sim = start(SimOptions {
        late_ack: LateAck::Accepted,
        ack_timeout: Duration::from_millis(50),
        event_retries: vec![Duration::from_millis(500)],
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim.say(APP, Message::to_bot("u1", "hi")).await.unwrap();
    let frame = client.frame().await;
    sim.wait_for("the missed deadline", |sim| {
        (sim.frames_of(&msg_id)[0].state == FrameState::TimedOut).then_some(())
    })
    .await
    .unwrap();
    client.ok(&frame).await;
    sim.acked(&msg_id).await.unwrap();
    // The retry of an event is due after the message's, so it shows that the latter did not come.
    let clock = sim.emit_event(APP, "clock", json!({})).await.unwrap();
    sim.pushed_times(&clock, 2).await.unwrap();
    assert_eq!(sim.frames_of(&msg_id).len(), 1);
}

#[tokio::test]
async fn an_event_is_retried_by_the_table_and_then_listed_as_failed() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let event_id = sim
        .emit_event(APP, "chat_update_title", json!({"title": "x"}))
        .await
        .unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let frame = client.frame().await;
        assert_eq!(frame["headers"]["eventId"], event_id.as_str());
        assert_eq!(frame["headers"]["eventType"], "chat_update_title");
        ids.push(frame["headers"]["messageId"].as_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let failed = sim
        .wait_for("a failed event", |sim| sim.failed_events().pop())
        .await
        .unwrap();
    assert_eq!(failed.event_id, event_id);
}

#[tokio::test]
async fn later_and_an_error_code_bring_an_event_back_before_its_deadline() {
    for (code, answer) in [
        (200, json!({"status": "LATER", "message": "busy"})),
        (500, json!({"status": "LATER"})),
        (404, json!({})),
    ] {
        let sim = start(SimOptions {
            ack_timeout: Duration::from_secs(60),
            ..options()
        })
        .await;
        let mut client = Client::connect(&sim, APP).await;
        let id = sim.emit_event(APP, "t", json!({})).await.unwrap();
        let frame = client.frame().await;
        client.ack(&frame, code, answer).await;
        let again = client.frame().await;
        assert_eq!(again["headers"]["eventId"], id.as_str());
        client.ack(&again, 200, json!({"status": "SUCCESS"})).await;
        assert_eq!(sim.acked(&id).await.unwrap().attempt, 1);
    }
}

#[tokio::test]
async fn an_event_without_any_connection_waits_for_the_retry_table() {
    let sim = start(SimOptions {
        event_retries: vec![Duration::from_millis(1500)],
        ..options()
    })
    .await;
    let id = sim.emit_event(APP, "t", json!({})).await.unwrap();
    let mut client = Client::connect(&sim, APP).await;
    assert_eq!(client.frame().await["headers"]["eventId"], id.as_str());
}

#[tokio::test]
async fn a_message_without_any_connection_is_lost() {
    let sim = start(options()).await;
    let lost = sim.say(APP, Message::to_bot("u1", "hi")).await;
    assert!(matches!(lost, Err(SimError::NoLink(_))));
    assert_eq!(sim.counters().lost, 1);
}

#[tokio::test]
async fn an_ack_counts_on_the_socket_of_its_frame_only_unless_told_otherwise() {
    for (matching, state) in [
        (AckMatching::SourceSocket, FrameState::Open),
        (AckMatching::AnySocket, FrameState::Acked),
    ] {
        let sim = start(SimOptions {
            ack_matching: matching,
            ack_timeout: Duration::from_secs(60),
            ..options()
        })
        .await;
        let mut first = Client::connect(&sim, APP).await;
        let mut second = Client::connect(&sim, APP).await;
        let links = sim.live_links(APP);
        let id = sim
            .say_on(links[0], APP, Message::to_bot("u1", "hi"))
            .await
            .unwrap();
        let frame = first.frame().await;
        second.ok(&frame).await;
        let seen = sim
            .wait_for("the ack", |sim| {
                sim.frames_of(&id)
                    .pop()
                    .filter(|frame| !frame.acks.is_empty())
            })
            .await
            .unwrap();
        assert_eq!(seen.state, state, "{matching:?}");
        assert_eq!(seen.acks[0].link, links[1]);
    }
}

#[tokio::test]
async fn pushes_spread_over_the_connections_that_subscribed() {
    let sim = start(SimOptions {
        ack_timeout: Duration::from_secs(60),
        ..options()
    })
    .await;
    let _first = Client::connect(&sim, APP).await;
    let _second = Client::connect(&sim, APP).await;
    let answer: Value = open(
        &sim,
        APP,
        "secret-1",
        json!([{"type": "EVENT", "topic": "*"}]),
    )
    .await
    .json()
    .await
    .unwrap();
    let url = format!(
        "{}?ticket={}",
        sim.gateway_url(),
        answer["ticket"].as_str().unwrap()
    );
    let _events_only = connect_async(url).await.unwrap();
    sim.connected(APP, 3).await.unwrap();
    for n in 0..60 {
        sim.say(APP, Message::to_bot("u1", format!("{n}")))
            .await
            .unwrap();
    }
    let pushed: Vec<u64> = sim.links().iter().map(|link| link.pushed).collect();
    assert_eq!(pushed[0] + pushed[1], 60);
    assert!(pushed[0] > 5 && pushed[1] > 5, "{pushed:?}");
    assert_eq!(pushed[2], 0);
}

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
    let answer: Value = open(&sim, APP, "secret-1", bot_and_events())
        .await
        .json()
        .await
        .unwrap();
    let url = format!(
        "{}?ticket={}",
        sim.gateway_url(),
        answer["ticket"].as_str().unwrap()
    );
    assert!(connect_async(url).await.is_err());

    let sim = start(SimOptions {
        max_links: 1,
        ..options()
    })
    .await;
    let _only = Client::connect(&sim, APP).await;
    let answer: Value = open(&sim, APP, "secret-1", bot_and_events())
        .await
        .json()
        .await
        .unwrap();
    let url = format!(
        "{}?ticket={}",
        sim.gateway_url(),
        answer["ticket"].as_str().unwrap()
    );
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
async fn a_disconnect_frame_silences_the_socket_and_then_closes_it() {
    for bare in [false, true] {
        let sim = start(SimOptions {
            close_after_disconnect: Duration::from_millis(500),
            ..options()
        })
        .await;
        let mut client = Client::connect(&sim, APP).await;
        let id = sim.say(APP, Message::to_bot("u", "before")).await.unwrap();
        let before = client.frame().await;
        sim.inject(Fault::Disconnect {
            app: APP.to_owned(),
            link: None,
            without_message_id: bare,
            reason: None,
        })
        .await
        .unwrap();
        let frame = client.frame().await;
        assert_eq!(frame["headers"]["topic"], "disconnect");
        assert_eq!(frame["headers"]["messageId"].is_null(), bare);
        assert_eq!(data(&frame)["reason"], "persistent connection is timeout");
        assert!(
            sim.say(APP, Message::to_bot("u", "in the gap"))
                .await
                .is_err()
        );
        // What came before the frame is still acked on the old socket.
        client.ok(&before).await;
        sim.acked(&id).await.unwrap();
        assert!(client.until_gone().await.is_empty());
    }
}

#[tokio::test]
async fn connection_faults_do_what_they_say() {
    let app = || APP.to_owned();
    let sim = start(options()).await;

    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Cut {
        app: app(),
        link: None,
    })
    .await
    .unwrap();
    let next = timeout(PATIENCE, client.socket.next()).await.unwrap();
    assert!(matches!(next, Some(Err(_)) | None), "{next:?}");

    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Close {
        app: app(),
        link: None,
        code: 1011,
    })
    .await
    .unwrap();
    let Ws::Close(Some(close)) = client.message().await else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 1011);
    client.until_gone().await;

    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Close {
        app: app(),
        link: None,
        code: 1006,
    })
    .await
    .unwrap();
    assert!(client.until_gone().await.is_empty());

    sim.inject(Fault::AcceptAndClose {
        app: app(),
        times: Some(1),
    })
    .await
    .unwrap();
    let answer: Value = open(&sim, APP, "secret-1", bot_and_events())
        .await
        .json()
        .await
        .unwrap();
    let url = format!(
        "{}?ticket={}",
        sim.gateway_url(),
        answer["ticket"].as_str().unwrap()
    );
    let (socket, _) = connect_async(url).await.unwrap();
    let seen = Client { socket }.until_gone().await;
    assert!(matches!(seen.as_slice(), [Ws::Close(_)]), "{seen:?}");

    sim.inject(Fault::Reject {
        path: "/connect".to_owned(),
        status: 502,
        body: String::new(),
        times: Some(1),
    })
    .await
    .unwrap();
    let answer: Value = open(&sim, APP, "secret-1", bot_and_events())
        .await
        .json()
        .await
        .unwrap();
    let url = format!(
        "{}?ticket={}",
        sim.gateway_url(),
        answer["ticket"].as_str().unwrap()
    );
    assert!(connect_async(&url).await.is_err());
}

#[tokio::test]
async fn a_half_open_link_swallows_its_share_until_it_is_noticed() {
    let sim = start(SimOptions {
        bot_retries: Vec::new(),
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::HalfOpen {
        app: APP.to_owned(),
        link: None,
        noticed_after_ms: Some(400),
    })
    .await
    .unwrap();
    sim.say(APP, Message::to_bot("u", "into the void"))
        .await
        .unwrap();
    client.socket.send(Ws::Ping("abc".into())).await.unwrap();
    let next = timeout(PATIENCE, client.socket.next()).await.unwrap();
    assert!(matches!(next, Some(Err(_)) | None), "{next:?}");
    assert_eq!(sim.links()[0].pings, 0);
    assert_eq!(sim.links()[0].pushed, 1);
}

#[tokio::test]
async fn a_stalled_link_pongs_and_gets_nothing() {
    let sim = start(options()).await;
    let mut stalled = Client::connect(&sim, APP).await;
    let links = sim.live_links(APP);
    let mut healthy = Client::connect(&sim, APP).await;
    sim.inject(Fault::SilentStall {
        app: APP.to_owned(),
        link: Some(links[0]),
    })
    .await
    .unwrap();
    for _ in 0..20 {
        sim.say(APP, Message::to_bot("u", "x")).await.unwrap();
        let frame = healthy.frame().await;
        healthy.ok(&frame).await;
    }
    stalled.socket.send(Ws::Ping("abc".into())).await.unwrap();
    assert_eq!(stalled.message().await, Ws::Pong("abc".into()));
}

#[tokio::test]
async fn odd_frames_arrive_as_they_were_asked_for() {
    let app = || APP.to_owned();
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Garbage {
        app: app(),
        link: None,
    })
    .await
    .unwrap();
    assert!(serde_json::from_str::<Value>(&client.text().await).is_err());
    sim.inject(Fault::Binary {
        app: app(),
        link: None,
    })
    .await
    .unwrap();
    assert!(matches!(client.message().await, Ws::Binary(_)));
    sim.inject(Fault::Oversize {
        app: app(),
        link: None,
        bytes: 300 * 1024,
    })
    .await
    .unwrap();
    assert!(client.text().await.len() > 300 * 1024);
    let text = r#"{"type":"CALLBACK","data":"é"}"#.to_owned();
    sim.inject(Fault::Fragmented {
        app: app(),
        link: None,
        text: text.clone(),
        parts: 7,
    })
    .await
    .unwrap();
    assert_eq!(client.text().await, text);
    sim.push_text(APP, None, r#"{"headers":{"messageId":5}}"#)
        .await
        .unwrap();
    assert_eq!(client.text().await, r#"{"headers":{"messageId":5}}"#);
}

#[tokio::test]
async fn a_message_to_two_bots_has_one_id_and_a_duplicate_has_two_frames() {
    let sim = start(options()).await;
    let mut first = Client::connect(&sim, APP).await;
    let mut other = Client::connect(&sim, OTHER).await;
    let id = sim
        .say_to_bots(&[APP, OTHER], Message::in_group(GROUP, "u", "both"))
        .await
        .unwrap();
    let (one, two) = (first.frame().await, other.frame().await);
    first.ok(&one).await;
    other.ok(&two).await;
    assert_eq!(data(&one)["msgId"], id.as_str());
    assert_eq!(data(&two)["msgId"], id.as_str());
    assert_ne!(data(&one)["sessionWebhook"], data(&two)["sessionWebhook"]);

    let mut second = Client::connect(&sim, APP).await;
    let id = sim
        .duplicate_on_two_sockets(APP, Message::to_bot("u", "twice"))
        .await
        .unwrap();
    let (one, two) = (first.frame().await, second.frame().await);
    assert_eq!(data(&one)["msgId"], id.as_str());
    assert_eq!(one["data"], two["data"]);
    assert_ne!(one["headers"]["messageId"], two["headers"]["messageId"]);

    sim.redeliver(&id).await.unwrap();
    assert_eq!(sim.frames_of(&id).len(), 3);
}

#[tokio::test]
async fn card_presses_and_foreign_topics_are_pushed() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.press_card_button(
        APP,
        CardPress {
            out_track_id: "track-1".to_owned(),
            user: "u1".to_owned(),
            action_ids: vec!["approve".to_owned()],
            ..CardPress::default()
        },
    )
    .await
    .unwrap();
    let press = data(&client.frame().await);
    let content: Value = serde_json::from_str(press["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["cardPrivateData"]["actionIds"], json!(["approve"]));
    assert_eq!(press["outTrackId"], "track-1");

    let unsubscribed = Push::new(APP, "CALLBACK", "/v1.0/graph/api/invoke", "{}");
    assert!(sim.push(unsubscribed.clone()).await.is_err());
    let link = sim.live_links(APP)[0];
    sim.push(unsubscribed.on(link)).await.unwrap();
    assert_eq!(
        client.frame().await["headers"]["topic"],
        "/v1.0/graph/api/invoke"
    );
}

#[tokio::test]
async fn a_burst_is_counted_frame_by_frame_and_its_ids_differ() {
    let sim = start(SimOptions {
        record_texts: false,
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let burst = Burst {
        app: APP.to_owned(),
        count: 500,
        groups: 3,
        in_flight: Some(100),
        ..Burst::default()
    };
    let reading = async {
        let mut ids = std::collections::HashSet::new();
        for _ in 0..500 {
            let frame = client.frame().await;
            client.ok(&frame).await;
            ids.insert(data(&frame)["msgId"].as_str().unwrap().to_owned());
        }
        ids.len()
    };
    let (report, ids) = tokio::join!(sim.burst(&burst), reading);
    let report = report.unwrap();
    assert_eq!((report.pushed, ids), (500, 500));
    sim.wait_for("500 acks", |sim| {
        (sim.counters().acked == 500).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(sim.ack_latencies_us(report.first).len(), 500);
}

// API.

#[tokio::test]
async fn the_token_is_the_same_while_it_lives() {
    let sim = start(options()).await;
    let first = token(&sim).await;
    assert_eq!(first, token(&sim).await);
    sim.inject(Fault::ExpireToken {
        app: APP.to_owned(),
    })
    .await
    .unwrap();
    let (status, body) = call(&sim, USER_SEND_PATH, &first, to_user("x")).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (400, Some("InvalidAuthentication"))
    );
    let second = token(&sim).await;
    assert_ne!(first, second);
    assert_eq!(
        call(&sim, USER_SEND_PATH, &second, to_user("x")).await.0,
        200
    );
}

#[tokio::test]
async fn an_expired_token_is_replaced_by_a_new_one() {
    let sim = start(SimOptions {
        token_life: Duration::ZERO,
        ..options()
    })
    .await;
    let first = token(&sim).await;
    assert_ne!(first, token(&sim).await);
    let (status, body) = call(&sim, USER_SEND_PATH, &first, to_user("x")).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (400, Some("InvalidAuthentication"))
    );
}

#[tokio::test]
async fn both_token_families_are_taken_unless_told_otherwise() {
    for (families, status) in [(TokenFamilies::Shared, 200), (TokenFamilies::Strict, 400)] {
        let sim = start(SimOptions {
            token_families: families,
            ..options()
        })
        .await;
        let url = format!(
            "{}/gettoken?appkey={APP}&appsecret=secret-1",
            sim.oapi_url()
        );
        let answer: Value = http().get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["errcode"], 0);
        let legacy = answer["access_token"].as_str().unwrap();
        assert_eq!(
            call(&sim, USER_SEND_PATH, legacy, to_user("x")).await.0,
            status
        );
        assert_eq!(
            call(&sim, USER_SEND_PATH, &token(&sim).await, to_user("x"))
                .await
                .0,
            200
        );
    }
}

#[tokio::test]
async fn wrong_credentials_get_no_token_in_either_family() {
    let sim = start(options()).await;
    let body = json!({"appKey": APP, "appSecret": "no"});
    let (status, body) = call(&sim, TOKEN_PATH, "", body).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (400, Some("invalidClientIdOrSecret"))
    );
    let url = format!("{}/gettoken?appkey={APP}&appsecret=no", sim.oapi_url());
    let answer: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["errcode"], 40089);
}

#[tokio::test]
async fn a_send_is_written_down_with_its_key_and_parameters() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let (_, user) = call(&sim, USER_SEND_PATH, &token, to_user("one")).await;
    let (_, group) = call(&sim, GROUP_SEND_PATH, &token, to_group("two")).await;
    assert_ne!(user["processQueryKey"], group["processQueryKey"]);
    assert_eq!(user["invalidStaffIdList"], json!([]));
    let sent = sim.delivered();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].via, sent[0].text()), (SentVia::User, "one"));
    assert_eq!((sent[1].via, sent[1].text()), (SentVia::Group, "two"));
    assert_eq!(sent[1].to, [GROUP]);
    assert_eq!(sent[0].app, APP);
    assert_eq!(
        sent[0].process_query_key.as_deref(),
        user["processQueryKey"].as_str()
    );
}

#[tokio::test]
async fn bad_sends_are_refused_with_the_documented_codes() {
    let sim = start(SimOptions {
        groups: Some(vec![GROUP.to_owned()]),
        calls_per_second: None,
        ..options()
    })
    .await;
    let token = token(&sim).await;
    let with = |mut body: Value, key: &str, value: Value| {
        body[key] = value;
        body
    };
    let many: Vec<String> = (0..21).map(|n| format!("u{n}")).collect();
    let long = json!({"content": "x".repeat(15_000)}).to_string();
    for (path, body, code) in [
        (
            USER_SEND_PATH,
            with(to_user(""), "msgParam", json!({"content": "x"})),
            "invalidParameter.msgParam.invalid",
        ),
        (
            USER_SEND_PATH,
            with(to_user(""), "msgParam", json!("not json")),
            "invalidParameter.msgParam.invalid",
        ),
        (
            USER_SEND_PATH,
            with(to_user(""), "msgParam", json!("{\"content\":5}")),
            "invalidParameter.msgParam.invalid",
        ),
        (
            USER_SEND_PATH,
            with(to_user(""), "msgParam", json!("{}")),
            "miss.param.contentOfText",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "msgKey", json!("sampleNone")),
            "invalidParameter.msgKey.invalid",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "msgKey", json!("")),
            "invalidParameter.msgKey.empty",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "userIds", json!(many)),
            "invalidParameter.userIds.overMax",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "userIds", json!([])),
            "invalidParameter.userIds.empty",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "robotCode", json!(OTHER)),
            "invalidParameter.robotCode.auth",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "robotCode", json!("dingnone")),
            "invalidParameter.robotCode.notExsit",
        ),
        (
            USER_SEND_PATH,
            with(to_user("x"), "robotCode", json!("")),
            "invalidParameter.robotCode.empty",
        ),
        (
            GROUP_SEND_PATH,
            with(to_group("x"), "msgParam", json!(long)),
            "invalidParameter.msgParam.tooLong",
        ),
        (
            GROUP_SEND_PATH,
            with(to_group("x"), "openConversationId", json!("cidNone==")),
            "invalid.openConversationId",
        ),
        (
            GROUP_SEND_PATH,
            with(to_group("x"), "openConversationId", json!("")),
            "miss.openConversationId",
        ),
    ] {
        let (status, answer) = call(&sim, path, &token, body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)));
    }
    assert_eq!(sim.sent().len(), 14);
    assert!(sim.delivered().is_empty());
}

#[tokio::test]
async fn unknown_and_flow_controlled_users_are_listed_inside_a_success() {
    let sim = start(SimOptions {
        users: Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]),
        ..options()
    })
    .await;
    sim.inject(Fault::UnknownUser {
        user: "b".to_owned(),
    })
    .await
    .unwrap();
    sim.inject(Fault::FlowControlUser {
        user: "c".to_owned(),
    })
    .await
    .unwrap();
    let token = token(&sim).await;
    let mut body = to_user("x");
    body["userIds"] = json!(["a", "b", "c", "d"]);
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["invalidStaffIdList"], json!(["b", "d"]));
    assert_eq!(answer["flowControlledStaffIdList"], json!(["c"]));
    assert_eq!(sim.sent()[0].to, ["a"]);
    let mut body = to_user("x");
    body["userIds"] = json!(["b"]);
    assert_eq!(call(&sim, USER_SEND_PATH, &token, body).await.0, 200);
    assert_eq!(sim.delivered().len(), 1);
}

#[tokio::test]
async fn the_rate_limit_counts_per_app_and_path() {
    let sim = start(SimOptions {
        calls_per_second: Some(3),
        ..options()
    })
    .await;
    let token = token(&sim).await;
    for _ in 0..3 {
        assert_eq!(
            call(&sim, USER_SEND_PATH, &token, to_user("x")).await.0,
            200
        );
    }
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
    assert_eq!(status, 403);
    assert_eq!(
        answer["code"],
        "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
    );
    assert_eq!(
        call(&sim, GROUP_SEND_PATH, &token, to_group("x")).await.0,
        200
    );
    assert_eq!(sim.delivered().len(), 4);
}

#[tokio::test]
async fn a_muted_robot_refuses_on_both_ways_until_it_is_unmuted() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.say(APP, Message::in_group(GROUP, "u", "x"))
        .await
        .unwrap();
    let webhook = data(&client.frame().await)["sessionWebhook"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = token(&sim).await;
    sim.inject(Fault::Mute {
        app: APP.to_owned(),
        ms: None,
    })
    .await
    .unwrap();
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("send.too.fast"))
    );
    let text = json!({"msgtype": "text", "text": {"content": "x"}});
    let path = webhook.strip_prefix(sim.oapi_url()).unwrap();
    let (status, answer) = call(&sim, path, "", text.clone()).await;
    assert_eq!((status, &answer["errcode"]), (200, &json!(130_101)));
    sim.inject(Fault::Unmute {
        app: APP.to_owned(),
    })
    .await
    .unwrap();
    assert_eq!(call(&sim, path, "", text).await.1["errcode"], 0);
}

#[tokio::test]
async fn a_session_webhook_answers_into_its_chat_until_it_expires() {
    let sim = start(SimOptions {
        webhooks_per_minute: Some(3),
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    sim.say(APP, Message::in_group(GROUP, "u", "x"))
        .await
        .unwrap();
    let body = data(&client.frame().await);
    let life =
        body["sessionWebhookExpiredTime"].as_i64().unwrap() - body["createAt"].as_i64().unwrap();
    assert!((5_399_000..5_401_000).contains(&life), "{life}");
    let path = body["sessionWebhook"]
        .as_str()
        .unwrap()
        .strip_prefix(sim.oapi_url())
        .unwrap()
        .to_owned();
    let text = |text: &str| json!({"msgtype": "text", "text": {"content": text}, "at": {"atUserIds": ["u"]}});
    assert_eq!(
        call(&sim, &path, "", text("hello")).await.1,
        json!({"errcode": 0, "errmsg": "ok"})
    );
    let sent = sim.delivered();
    assert_eq!(
        (sent[0].via, sent[0].text(), &sent[0].to[0]),
        (SentVia::Webhook, "hello", &GROUP.to_owned())
    );
    let long = text(&"x".repeat(20_001));
    assert_eq!(call(&sim, &path, "", long).await.1["errcode"], 460_101);
    assert_eq!(
        call(&sim, &path, "", json!({"msgtype": "voice"})).await.1["errcode"],
        400_105
    );
    assert_eq!(
        call(&sim, &path, "", text("over the limit")).await.1["errcode"],
        130_101
    );
    sim.inject(Fault::ExpireWebhook {
        app: APP.to_owned(),
    })
    .await
    .unwrap();
    let gone = call(&sim, &path, "", text("late")).await;
    assert_eq!(
        gone,
        (200, json!({"errcode": 300_001, "errmsg": "session 不存在"}))
    );
    let none = format!("{WEBHOOK_PATH}?session=none");
    assert_eq!(call(&sim, &none, "", text("x")).await.1["errcode"], 300_001);
}

#[tokio::test]
async fn an_unknown_path_is_refused_in_the_v1_form() {
    let sim = start(options()).await;
    let (status, body) = call(&sim, "/v1.0/card/instances", "", json!({})).await;
    assert_eq!(status, 404);
    assert!(body["code"].is_string() && body["requestid"].is_string());
}

#[tokio::test]
async fn call_faults_tell_applied_from_not_applied() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let path = || USER_SEND_PATH.to_owned();
    let times = Some(1);
    for (fault, status, delivered) in [
        (
            Fault::Reject {
                path: path(),
                status: 502,
                body: "<html>".to_owned(),
                times,
            },
            502,
            0,
        ),
        (
            Fault::ApplyThenFail {
                path: "/v1.0/robot/*".to_owned(),
                status: 500,
                times,
            },
            500,
            1,
        ),
        (
            Fault::Delay {
                path: path(),
                ms: 50,
                times,
            },
            200,
            2,
        ),
    ] {
        sim.inject(fault.clone()).await.unwrap();
        let (got, _) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
        assert_eq!(got, status, "{fault:?}");
        assert_eq!(sim.delivered().len(), delivered, "{fault:?}");
    }
    for (fault, delivered) in [
        (
            Fault::Hold {
                path: path(),
                times,
            },
            2,
        ),
        (
            Fault::ApplyThenHold {
                path: path(),
                times,
            },
            3,
        ),
        (
            Fault::CutCall {
                path: path(),
                times,
            },
            3,
        ),
        (
            Fault::ApplyThenCut {
                path: path(),
                times,
            },
            4,
        ),
    ] {
        sim.inject(fault.clone()).await.unwrap();
        let lost = http()
            .post(format!("{}{USER_SEND_PATH}", sim.api_url()))
            .header("x-acs-dingtalk-access-token", &token)
            .timeout(Duration::from_millis(500))
            .json(&to_user("x"))
            .send()
            .await
            .unwrap_err();
        let held = matches!(fault, Fault::Hold { .. } | Fault::ApplyThenHold { .. });
        assert_eq!(lost.is_timeout(), held, "{fault:?}: {lost:?}");
        assert_eq!(sim.delivered().len(), delivered, "{fault:?}");
    }
    assert_eq!(
        call(&sim, USER_SEND_PATH, &token, to_user("x")).await.0,
        200
    );
    let calls = sim.calls_of(USER_SEND_PATH);
    assert_eq!(calls[3].fault, Some("hold"));
    assert_eq!(calls[3].status, None);
    timeout(PATIENCE, sim.stop())
        .await
        .expect("held calls keep the simulator up");
}

#[tokio::test]
async fn a_person_can_drive_and_watch_it_over_http() {
    let sim = start(SimOptions {
        apps: vec![SimApp::new(APP, "secret-1")],
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let (status, said) = call(
        &sim,
        "/sim/say",
        "",
        json!({"user": "u1", "text": "hi", "group": GROUP}),
    )
    .await;
    assert_eq!(status, 200);
    let frame = client.frame().await;
    assert_eq!(data(&frame)["msgId"], said["msgId"]);
    client.ok(&frame).await;
    sim.acked(said["msgId"].as_str().unwrap()).await.unwrap();
    let (_, again) = call(&sim, "/sim/redeliver", "", json!({"id": said["msgId"]})).await;
    assert!(again["frame"].is_number());
    assert_eq!(client.frame().await["data"], frame["data"]);
    let (_, event) = call(
        &sim,
        "/sim/event",
        "",
        json!({"event_type": "t", "data": {"a": 1}}),
    )
    .await;
    assert_eq!(client.frame().await["headers"]["eventId"], event["eventId"]);
    let (status, _) = call(&sim, "/sim/push", "", json!({"text": "garbage"})).await;
    assert_eq!((status, client.text().await.as_str()), (200, "garbage"));
    let (status, _) = call(&sim, "/sim/faults", "", json!([{"fault": "disconnect"}])).await;
    assert_eq!(status, 400);
    let fault = json!({"fault": "close", "app": APP, "code": 1000});
    let (_, done) = call(&sim, "/sim/faults", "", fault).await;
    assert_eq!(done["injected"], 1);
    client.until_gone().await;
    let (status, error) = call(&sim, "/sim/say", "", json!({"user": "u1", "text": "hi"})).await;
    assert_eq!(status, 409, "{error}");
    let read = async |path: &str| -> Value {
        let url = format!("{}/sim/{path}", sim.api_url());
        http().get(url).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(read("frames").await[0]["state"], "acked");
    assert_eq!(read("connections").await[0]["state"], "closed");
    assert_eq!(read("sent").await, json!([]));
    assert_eq!(read("state").await["counters"]["lost"], 1);
    assert!(!read("calls").await.to_string().contains("secret-1"));
}
