//! Something in DingTalk's place whose answers have no end: what is read of them is bounded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::resident;
use crate::support::bridge::Setup;
use crate::support::nats::Nats;
use crate::support::wait;

/// Where nothing ends: in the body, or before it.
#[derive(Debug, Clone, Copy)]
enum Endless {
    Body,
    Headers,
}

/// A host that answers everybody without end.
struct Host {
    url: String,
    /// The heads of all requests.
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Host {
    async fn start(endless: Endless) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut visitors = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                visitors.spawn(serve(socket, endless, Arc::clone(&seen)));
            }
        });
        Self {
            url,
            asked,
            _tasks: tasks,
        }
    }

    async fn asked_for(&self, path: &str, times: usize) {
        let what = format!("{times} requests of {path}");
        wait::within(Duration::from_secs(60), &what, async || {
            let asked = self.asked.lock().unwrap();
            let found = asked.iter().filter(|head| head.contains(path)).count();
            (found >= times).then_some(())
        })
        .await;
    }
}

async fn serve(mut socket: TcpStream, endless: Endless, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = vec![0; 8192];
    let read = socket.read(&mut head).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    asked.lock().unwrap().push(head);
    let start = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    if socket.write_all(start.as_bytes()).await.is_err() {
        return;
    }
    let piece = match endless {
        Endless::Body => {
            let coded = "content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = socket.write_all(coded.as_bytes()).await;
            format!("10000\r\n{}\r\n", "[".repeat(0x1_0000))
        }
        Endless::Headers => format!("x: {}\r\n", "y".repeat(0x1_0000)),
    };
    // Far more than a bridge may hold, should nobody stop it.
    for _ in 0..4096 {
        if socket.write_all(piece.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn is_borne(endless: Endless) {
    let nats = Nats::start().await;
    let host = Host::start(endless).await;
    let bridge = Setup::new(&nats.url(), &host.url).start().await;
    host.asked_for("/v1.0/gateway/connections/open", 1).await;
    let before = resident(&bridge);
    let jetstream = nats.jetstream().await;
    for at in 0..20 {
        let body = json!({"id": format!("r{at}"), "text": "a"}).to_string();
        let subject = format!("dingtalk.outbound.sales.user.u{at}");
        let stored = jetstream.publish(subject, body.into()).await.unwrap();
        stored.await.unwrap();
    }
    host.asked_for("/v1.0/oauth2/accessToken", 1).await;
    host.asked_for("/v1.0/gateway/connections/open", 3).await;
    assert_eq!(bridge.get("/live").await.unwrap().0, 200);
    assert_eq!(bridge.get("/ready").await.unwrap().0, 503);
    let after = resident(&bridge);
    assert!(
        after < before + 40,
        "{before} MiB before, {after} MiB after"
    );
    assert!(bridge.log().len() < 64 * 1024, "{}", bridge.log().len());
    // Nothing is unpacked that could be small outside and large inside.
    let asked = host.asked.lock().unwrap();
    for head in asked.iter() {
        assert!(!head.to_lowercase().contains("accept-encoding"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_body_has_no_end_is_read_so_far_and_no_further() {
    is_borne(Endless::Body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_headers_have_no_end_is_given_up() {
    is_borne(Endless::Headers).await;
}
