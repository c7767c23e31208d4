//! The API against a small DingTalk on a real socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::message::{Content, Priority};

const SECRET: &str = "CANARY-CLIENT-SECRET";

/// What the server does with the next call that sends.
#[derive(Debug, Clone)]
enum Turn {
    Answer(u16, Value),
    Text(u16, &'static str),
    /// Reads the request and never answers.
    Silence,
    /// Checks the token and accepts.
    Accept,
}

#[derive(Debug, Default)]
struct Seen {
    turns: VecDeque<Turn>,
    token_turns: VecDeque<Turn>,
    tokens: u32,
    /// Path, token and body of every call that sends.
    calls: Vec<(String, String, Value)>,
}

/// A DingTalk that plays what it is told and then accepts.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(turns: impl IntoIterator<Item = Turn>) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            turns: turns.into_iter().collect(),
            ..Seen::default()
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn config(&self) -> config::Dingtalk {
        config::Dingtalk {
            api_url: self.url(),
            oapi_url: self.url(),
            ca_file: None,
            proxy: None,
            no_proxy: None,
            media_hosts: Vec::new(),
            timeout: Duration::from_millis(600),
        }
    }

    fn api(&self) -> (Api, Metrics) {
        let metrics = Metrics::new();
        let config = self.config();
        let http = Http::new(&config).unwrap();
        let name = AccountName::parse("sales").unwrap();
        let api = Api::new(http, &config, name, &account(), metrics.clone());
        (api, metrics)
    }

    fn webhook(&self) -> SessionWebhook {
        SessionWebhook {
            url: Secret::new(format!(
                "{}/robot/sendBySession?session=CANARY-SESSION",
                self.url()
            )),
            expires_at: Timestamp::now().after(Duration::from_secs(3600)),
        }
    }

    fn calls(&self) -> Vec<(String, String, Value)> {
        self.seen.lock().unwrap().calls.clone()
    }

    fn tokens(&self) -> u32 {
        self.seen.lock().unwrap().tokens
    }
}

fn account() -> config::Account {
    config::Account {
        client_id: "dingclient".to_owned(),
        client_secret: Secret::new(SECRET),
        robot_code: "dingrobot".to_owned(),
        connections: 2,
        events: false,
        delegate: false,
        paused: false,
        rate: NonZeroU32::new(20).unwrap(),
        media: config::Media::Fetch,
        card_template: None,
        card_key: "content".to_owned(),
        mention_all: false,
        quota: None,
        policy: config::Policy::default(),
    }
}

async fn answer(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    request: Request,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let turn = {
        let mut seen = seen.lock().unwrap();
        if path == "/v1.0/oauth2/accessToken" {
            seen.tokens += 1;
            let number = seen.tokens;
            let granted =
                json!({ "accessToken": format!("CANARY-TOKEN-{number}"), "expireIn": 7200 });
            assert_eq!(body, json!({ "appKey": "dingclient", "appSecret": SECRET }));
            seen.token_turns
                .pop_front()
                .unwrap_or(Turn::Answer(200, granted))
        } else {
            let token = headers.get("x-acs-dingtalk-access-token");
            let token = token.map(|token| token.to_str().unwrap().to_owned());
            seen.calls
                .push((path.clone(), token.unwrap_or_default(), body));
            seen.turns.pop_front().unwrap_or(Turn::Accept)
        }
    };
    let accepted = match path.as_str() {
        "/robot/sendBySession" => json!({ "errcode": "0", "errmsg": "ok" }),
        _ => json!({ "processQueryKey": "key+/=" }),
    };
    let (status, text) = match turn {
        Turn::Silence => std::future::pending().await,
        Turn::Answer(status, body) => (status, body.to_string()),
        Turn::Text(status, text) => (status, text.to_owned()),
        Turn::Accept => (200, accepted.to_string()),
    };
    Response::builder()
        .status(status)
        .body(Body::from(text))
        .unwrap()
}

fn to_user(text: &str) -> Shipment {
    Shipment {
        recipient: Recipient::Users(vec!["manager1".to_owned()]),
        body: render_robot(&Content::Text(text.to_owned())).remove(0),
    }
}

fn to_group() -> Shipment {
    Shipment {
        recipient: Recipient::Group("cidA+/b==".to_owned()),
        ..to_user("hello")
    }
}

fn to_webhook(webhook: SessionWebhook) -> Shipment {
    let content = Content::Text("hello".to_owned());
    let bodies = render_webhook(&content, &crate::message::Mentions::default());
    Shipment {
        recipient: Recipient::Webhook(webhook),
        body: bodies.unwrap().remove(0),
    }
}

fn soon() -> LeaveBy {
    LeaveBy::within(Duration::from_secs(10))
}

async fn ship(api: &Api, shipment: &Shipment) -> Result<Accepted, ApiError> {
    api.prepare(&shipment.recipient, Priority::Normal).await?;
    api.send(shipment, soon()).await
}

fn invalid_token() -> Turn {
    Turn::Answer(
        400,
        json!({ "code": "InvalidAuthentication", "requestid": "R", "message": "不合法的access_token" }),
    )
}

#[tokio::test]
async fn users_groups_and_webhooks_are_sent_to_with_one_token() {
    let server = Server::start([]).await;
    let (api, metrics) = server.api();
    let accepted = ship(&api, &to_user("hello")).await.unwrap();
    assert_eq!(accepted.process_query_key.as_deref(), Some("key+/="));
    ship(&api, &to_group()).await.unwrap();
    let accepted = ship(&api, &to_webhook(server.webhook())).await.unwrap();
    assert_eq!(accepted, Accepted::default());

    let calls = server.calls();
    let (path, token, body) = &calls[0];
    assert_eq!(path, "/v1.0/robot/oToMessages/batchSend");
    assert_eq!(token, "CANARY-TOKEN-1");
    let param = r#"{"content":"hello"}"#;
    assert_eq!(
        *body,
        json!({"robotCode":"dingrobot","userIds":["manager1"],"msgKey":"sampleText","msgParam":param})
    );
    let (path, _, body) = &calls[1];
    assert_eq!(path, "/v1.0/robot/groupMessages/send");
    assert_eq!(body["openConversationId"], "cidA+/b==");
    let (path, token, body) = &calls[2];
    assert_eq!(path, "/robot/sendBySession");
    assert_eq!(token, "", "a webhook needs no token and gets none");
    assert_eq!(*body, json!({"msgtype":"text","text":{"content":"hello"}}));
    assert_eq!(server.tokens(), 1);
    let text = metrics.encode();
    assert!(
        text.contains(r#"billed_calls_total{account="sales"} 3"#),
        "{text}"
    );
    assert!(
        text.contains(r#"family="token",outcome="accepted"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"pace_per_second{account="sales"} 20"#),
        "{text}"
    );
}

#[tokio::test]
async fn partial_refusals_inside_an_acceptance_are_named() {
    let server = Server::start([Turn::Answer(
        200,
        json!({"processQueryKey":"k","invalidStaffIdList":["a"],"filteredStaffIdList":["b"],
               "flowControlledStaffIdList":["c","d"]}),
    )])
    .await;
    let (api, _) = server.api();
    let accepted = ship(&api, &to_user("x")).await.unwrap();
    assert_eq!(accepted.refused_users, ["a", "b"]);
    assert_eq!(accepted.throttled_users, ["c", "d"]);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_call_made_once_more() {
    let server = Server::start([invalid_token()]).await;
    let (api, metrics) = server.api();
    ship(&api, &to_user("x")).await.unwrap();
    let tokens: Vec<String> = server.calls().into_iter().map(|call| call.1).collect();
    assert_eq!(tokens, ["CANARY-TOKEN-1", "CANARY-TOKEN-2"]);
    let text = metrics.encode();
    assert!(
        text.contains(r#"billed_calls_total{account="sales"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_new_token_that_is_refused_is_replaced_too_and_one_that_was_refused_is_not() {
    let server = Server::start([invalid_token(), Turn::Text(401, "")]).await;
    let (api, _) = server.api();
    ship(&api, &to_user("x")).await.unwrap();
    let tokens: Vec<String> = server.calls().into_iter().map(|call| call.1).collect();
    let expected = ["CANARY-TOKEN-1", "CANARY-TOKEN-2", "CANARY-TOKEN-3"];
    assert_eq!(
        tokens, expected,
        "somebody revokes, the credentials are right"
    );

    let server = Server::start((0..9).map(|_| invalid_token())).await;
    let (api, _) = server.api();
    let error = ship(&api, &to_user("x")).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
    assert_eq!(server.calls().len(), 4);

    let server = Server::start((0..9).map(|_| invalid_token())).await;
    let same = || Turn::Answer(200, json!({"accessToken": "CANARY-SAME", "expireIn": 7200}));
    server.seen.lock().unwrap().token_turns = (0..9).map(|_| same()).collect();
    let (api, _) = server.api();
    let error = ship(&api, &to_user("x")).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn many_callers_share_one_token_fetch_and_one_failure() {
    let server = Server::start([]).await;
    let (api, _) = server.api();
    let recipient = to_user("x").recipient;
    let all = (0..10).map(|_| api.prepare(&recipient, Priority::Normal));
    for result in futures_util::future::join_all(all).await {
        result.unwrap();
    }
    assert_eq!(server.tokens(), 1);

    let server = Server::start([]).await;
    let wrong = json!({"code":"invalidClientIdOrSecret","message":format!("bad {SECRET}")});
    server.seen.lock().unwrap().token_turns = [Turn::Answer(400, wrong)].into();
    let (api, _) = server.api();
    let all = (0..10).map(|_| api.prepare(&recipient, Priority::Normal));
    for result in futures_util::future::join_all(all).await {
        let error = result.unwrap_err();
        assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
        assert!(error.cure.as_deref().unwrap().contains("凭证与基础信息"));
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
    }
    assert_eq!(server.tokens(), 1);
    api.prepare(&recipient, Priority::Normal).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_ambiguous_and_a_lost_connection_is_not() {
    let server = Server::start([Turn::Silence, Turn::Silence]).await;
    let (api, metrics) = server.api();
    let error = ship(&api, &to_user("x")).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Ambiguous, "timeout")
    );
    let error = ship(&api, &to_webhook(server.webhook())).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Ambiguous);
    assert!(metrics.encode().contains(r#"outcome="ambiguous"} 1"#));

    let webhook = server.webhook();
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        // The kept connections break first; from then on nothing can be written.
        let error = ship(&api, &to_webhook(webhook.clone())).await.unwrap_err();
        if error.code == "connect" {
            assert!(matches!(error.class, ErrorClass::RetryAfter(_)));
            break;
        }
        assert_eq!(error.class, ErrorClass::Ambiguous, "{error:?}");
        assert!(Instant::now() < deadline, "{error:?}");
    }
}

#[tokio::test]
async fn a_call_that_missed_its_time_does_not_leave_and_may_be_made_again() {
    let server = Server::start([]).await;
    let (api, metrics) = server.api();
    ship(&api, &to_group()).await.unwrap();
    for shipment in [to_group(), to_user("x"), to_webhook(server.webhook())] {
        let missed = LeaveBy::within(Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let error = api.send(&shipment, missed).await.unwrap_err();
        assert!(matches!(error.class, ErrorClass::RetryAfter(_)), "{error}");
        assert!(error.message.contains("could not leave in time"), "{error}");
    }
    // Each of them would have come before this one.
    ship(&api, &to_user("the next")).await.unwrap();
    assert_eq!(server.calls().len(), 2);
    assert!(!metrics.encode().contains(r#"outcome="ambiguous""#));
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_in_time_is_retried() {
    // A listener whose queue is full answers nothing, not even the handshake.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(
        Duration::from_millis(200),
        tokio::net::TcpStream::connect(address),
    )
    .await
    {
        filling.push(stream);
        assert!(filling.len() < 64, "the queue never fills");
    }
    let server = Server::start([]).await;
    let config = config::Dingtalk {
        api_url: format!("http://{address}"),
        ..server.config()
    };
    let http = Http::new(&config).unwrap();
    let call = http.call(http.client().post(&config.api_url), None);
    let lost = call.await.unwrap_err();
    assert!(matches!(lost, errors::Lost::Unsent(_)), "{lost:?}");
}

#[tokio::test]
async fn no_error_carries_a_token_a_secret_or_a_session() {
    let echo = "got CANARY-TOKEN-1 and CANARY-CLIENT-SECRET for session=CANARY-SESSION \
                at /robot/sendBySession?session=CANARY-SESSION";
    let refusal = json!({"code": echo, "message": echo, "errcode": 400_105, "errmsg": echo,
        "accessdenieddetail": {"requiredScopes": [echo]}});
    let page = "<html>CANARY-TOKEN-1</html>";
    let server = Server::start([
        Turn::Answer(403, refusal.clone()),
        Turn::Answer(200, refusal.clone()),
        Turn::Text(502, page),
    ])
    .await;
    let (api, _) = server.api();
    let webhook = server.webhook();
    let mut errors = Vec::new();
    errors.push(ship(&api, &to_user("x")).await.unwrap_err());
    errors.push(ship(&api, &to_webhook(webhook)).await.unwrap_err());
    errors.push(ship(&api, &to_user("x")).await.unwrap_err());
    for error in errors {
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.len() < 2000, "{shown}");
    }
    let shown = format!("{api:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[tokio::test]
async fn a_throttled_family_waits_and_the_others_do_not() {
    let qps = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi";
    let server = Server::start([Turn::Answer(403, json!({"code":qps,"message":"x"}))]).await;
    let (api, metrics) = server.api();
    let error = ship(&api, &to_user("x")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::RetryAfter(Duration::from_secs(1)));
    let start = Instant::now();
    ship(&api, &to_group()).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(700));
    ship(&api, &to_user("x")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900));
    let text = metrics.encode();
    assert!(
        text.contains(r#"pace_per_second{account="sales"} 12"#),
        "{text}"
    );
    assert!(
        text.contains(r#"billed_calls_total{account="sales"} 2"#),
        "{text}"
    );
    assert!(
        text.contains(r#"family="send_user",outcome="throttled"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_muted_webhook_asks_for_a_minute_and_a_gone_one_for_another_path() {
    let server = Server::start([
        Turn::Answer(200, json!({"errcode":300_001,"errmsg":"session 不存在"})),
        Turn::Answer(
            200,
            json!({"errcode":"130101","errmsg":"send too fast, exceed 20 times per minute"}),
        ),
    ])
    .await;
    let (api, _) = server.api();
    let error = ship(&api, &to_webhook(server.webhook())).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::WebhookGone);
    let error = ship(&api, &to_webhook(server.webhook())).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::RetryAfter(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_forbidden_webhook_is_not_posted_to() {
    let server = Server::start([]).await;
    let other = Server::start([]).await;
    let (api, _) = server.api();
    let shipment = to_webhook(other.webhook());
    let error = api
        .prepare(&shipment.recipient, Priority::Normal)
        .await
        .unwrap_err();
    assert_eq!(error.code, "webhook-host");
    let error = api.send(&shipment, soon()).await.unwrap_err();
    assert_eq!(error.code, "webhook-host");
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start([Turn::Text(302, "")]).await;
    let (api, _) = server.api();
    let error = ship(&api, &to_user("x")).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
    assert_eq!(error.code, "http-302");
}

#[test]
fn a_wrong_key_is_named_and_a_password_is_not_shown() {
    let config = config::Dingtalk {
        api_url: "https://api.dingtalk.com".to_owned(),
        oapi_url: "https://oapi.dingtalk.com".to_owned(),
        ca_file: Some("/does/not/exist.pem".into()),
        proxy: None,
        no_proxy: None,
        media_hosts: Vec::new(),
        timeout: Duration::from_secs(10),
    };
    let error = Http::new(&config).unwrap_err().to_string();
    assert!(
        error.starts_with("dingtalk.ca_file: /does/not/exist.pem"),
        "{error}"
    );
    for proxy in ["CANARY", "socks5://u:CANARY@host:1"] {
        let config = config::Dingtalk {
            ca_file: None,
            proxy: Some(Secret::new(proxy)),
            ..config.clone()
        };
        let error = Http::new(&config).unwrap_err();
        assert_eq!(error.key, "dingtalk.proxy");
        assert!(!format!("{error:?} {error}").contains("CANARY"));
    }
    let config = config::Dingtalk {
        ca_file: None,
        proxy: Some(Secret::new("http://u:CANARY@127.0.0.1:3128")),
        ..config
    };
    let http = Http::new(&config).unwrap();
    assert!(!format!("{http:?}").contains("CANARY"));
}
