//! DingTalk's side as far as a connection goes: answers `connections/open`, accepts WebSockets and hands
//! each one to whoever pushes next.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{SplitSink, SplitStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The half that pushes.
pub(super) type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;
/// The half that hears the answers.
pub(super) type Source = SplitStream<WebSocketStream<TcpStream>>;
/// One connection of a contender.
pub(super) type Socket = (Sink, Source);

/// The gateway; every open socket hands itself over to whoever pushes next.
pub(super) struct Gateway {
    port: u16,
    sockets: tokio::sync::Mutex<mpsc::Receiver<Socket>>,
    accepting: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Gateway {
    /// Listens on a free port.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (handed, sockets) = mpsc::channel(4096);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(accept(stream, port, handed.clone()));
            }
        });
        Self {
            port,
            sockets: tokio::sync::Mutex::new(sockets),
            accepting,
        }
    }

    /// Base URL of both API families.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next socket that was accepted.
    pub(super) async fn socket(&self) -> Socket {
        let wait = async { self.sockets.lock().await.recv().await.unwrap() };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("a contender connects within a minute")
    }

    /// So many of them.
    pub(super) async fn sockets(&self, count: u64) -> Vec<Socket> {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(self.socket().await);
        }
        held
    }
}

async fn accept(mut stream: TcpStream, port: u16, handed: mpsc::Sender<Socket>) {
    stream.set_nodelay(true).unwrap();
    let mut start = [0_u8; 4];
    loop {
        match stream.peek(&mut start).await {
            Ok(4) if &start == b"GET " => break,
            Ok(4) => {
                if answer_open(&mut stream, port).await.is_none() {
                    return;
                }
            }
            Ok(0) | Err(_) => return,
            Ok(_) => tokio::task::yield_now().await,
        }
    }
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let _ = handed.send(socket.split()).await;
}

/// Answers one `connections/open`; the connection may be used again.
async fn answer_open(stream: &mut TcpStream, port: u16) -> Option<()> {
    let mut request = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 {
            return None;
        }
        request.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                break;
            }
        }
    }
    let body = format!(
        r#"{{"endpoint":"ws://127.0.0.1:{port}/connect","ticket":"{:032x}"}}"#,
        fastrand::u128(..)
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()
}
