//! A gateway on real sockets whose every move is made by the test: it grants connections by itself
//! and hands each of them over.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Longest wait for anything that is expected to happen.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Waits for what is expected.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it happens in time")
}

/// Waits until `condition` holds.
pub(super) async fn until_true(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Runs beside the test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test drives both ends of a connection"
)]
pub(super) fn aside<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(future)
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<(HeaderMap, Value)>>,
    answers: Mutex<VecDeque<(u16, String)>>,
}

pub(super) struct Gateway {
    pub(super) api_url: String,
    seen: Arc<Seen>,
    sockets: mpsc::Receiver<Peer>,
}

/// DingTalk's end of a connection.
pub(super) struct Peer {
    pub(super) ticket: String,
    pub(super) ws: WebSocketStream<TcpStream>,
}

impl Gateway {
    pub(super) async fn start() -> Self {
        Self::start_at("ws").await
    }

    /// Grants addresses with `scheme`.
    pub(super) async fn start_at(scheme: &'static str) -> Self {
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = sockets.local_addr().unwrap();
        Self::granting(format!("{scheme}://{address}/connect"), sockets).await
    }

    /// Grants `endpoint`, accepts on `listener`.
    pub(super) async fn granting(endpoint: String, listener: TcpListener) -> Self {
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::asked_at(api, endpoint, listener)
    }

    /// The same, asked at `api`.
    pub(super) fn asked_at(api: TcpListener, endpoint: String, listener: TcpListener) -> Self {
        let seen = Arc::new(Seen::default());
        let (accepted, sockets) = mpsc::channel(64);
        aside(accept(listener, accepted));
        let app = Router::new()
            .route("/v1.0/gateway/connections/open", post(open))
            .with_state((Arc::clone(&seen), endpoint));
        let api_url = format!("http://{}", api.local_addr().unwrap());
        aside(async move { axum::serve(api, app).await.unwrap() });
        Self {
            api_url,
            seen,
            sockets,
        }
    }

    /// Answers the next request like this instead of granting.
    pub(super) fn answer_next(&self, status: u16, body: &str) {
        let mut answers = self.seen.answers.lock().unwrap();
        answers.push_back((status, body.to_owned()));
    }

    pub(super) fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The next connection.
    pub(super) async fn accept(&mut self) -> Peer {
        within(self.sockets.recv()).await.unwrap()
    }

    /// Whether no connection comes for this long.
    pub(super) async fn quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.sockets.recv()).await.is_err()
    }
}

async fn open(
    State((seen, endpoint)): State<(Arc<Seen>, String)>,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    let body: Value = serde_json::from_str(&body).unwrap();
    let number = {
        let mut requests = seen.requests.lock().unwrap();
        requests.push((headers, body));
        requests.len()
    };
    if let Some((status, body)) = seen.answers.lock().unwrap().pop_front() {
        return (StatusCode::from_u16(status).unwrap(), body);
    }
    let grant = json!({"endpoint": endpoint, "ticket": format!("ticket/{number}")});
    (StatusCode::OK, grant.to_string())
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<Peer>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Some(peer) = Peer::upgrade(stream).await
            && accepted.send(peer).await.is_err()
        {
            return;
        }
    }
}

impl Peer {
    #[expect(
        clippy::result_large_err,
        reason = "the callback type is tungstenite's"
    )]
    async fn upgrade(stream: TcpStream) -> Option<Self> {
        let mut ticket = String::new();
        let note = |request: &Request, response: Response| {
            let query = request.uri().query().unwrap_or_default();
            ticket = query.trim_start_matches("ticket=").to_owned();
            Ok(response)
        };
        let ws = accept_hdr_async(stream, note).await.ok()?;
        Some(Self { ticket, ws })
    }

    pub(super) async fn push(&mut self, frame: &Value) {
        self.push_text(&frame.to_string()).await;
    }

    pub(super) async fn push_text(&mut self, text: &str) {
        within(self.ws.send(Message::text(text))).await.unwrap();
    }

    /// The next text that the bridge writes; pings are answered on the way.
    pub(super) async fn text(&mut self) -> String {
        loop {
            match within(self.ws.next()).await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a text, got {other:?}"),
            }
        }
    }

    pub(super) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Waits for the end and tells the texts before it and the code of the goodbye.
    pub(super) async fn end(&mut self) -> (Vec<Value>, Option<u16>) {
        let (mut texts, mut code) = (Vec::new(), None);
        while let Some(Ok(message)) = within(self.ws.next()).await {
            match message {
                Message::Text(text) => texts.push(serde_json::from_str(&text).unwrap()),
                Message::Close(Some(frame)) => code = Some(u16::from(frame.code)),
                _ => {}
            }
        }
        (texts, code)
    }
}

/// A frame in the shape of `tests/frames`.
pub(super) fn bot(message_id: &str) -> Value {
    frame(
        "CALLBACK",
        "/v1.0/im/bot/messages/get",
        message_id,
        json!({"msgId": message_id}),
    )
}

pub(super) fn event(message_id: &str) -> Value {
    frame("EVENT", "*", message_id, json!({}))
}

pub(super) fn disconnect(message_id: &str) -> Value {
    let data = json!({"reason": "connection is expired"});
    frame("SYSTEM", "disconnect", message_id, data)
}

fn frame(kind: &str, topic: &str, message_id: &str, data: Value) -> Value {
    json!({
        "specVersion": "1.0",
        "type": kind,
        "headers": {"topic": topic, "messageId": message_id, "time": "1769851697611",
                    "contentType": "application/json"},
        "data": data.to_string(),
    })
}

/// An address where nothing listens.
pub(super) async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
