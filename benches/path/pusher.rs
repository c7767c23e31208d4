//! The other side of every contender: a gateway that answers `connections/open`, accepts WebSockets and
//! pushes bot messages as fast as a window or a rate allows, noting when each one is answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Chats that the frames are spread over.
const CHATS: u64 = 1000;

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;
type Source = SplitStream<WebSocketStream<TcpStream>>;

/// The gateway; every open socket hands itself over to whoever pushes next.
pub(crate) struct Gateway {
    port: u16,
    sockets: tokio::sync::Mutex<mpsc::Receiver<(Sink, Source)>>,
    open: Arc<AtomicUsize>,
}

/// One measured run.
pub(crate) struct Run {
    /// Frames answered.
    pub(crate) answered: u64,
    /// From the first push to the last answer.
    pub(crate) elapsed: Duration,
    /// Time from push to answer of each frame, sorted, in microseconds.
    pub(crate) latencies: Vec<u32>,
}

/// How fast frames are pushed.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// At most this many unanswered at a time.
    Window(usize),
    /// This many a second, answered or not.
    Rate(f64),
}

impl Gateway {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (handed, sockets) = mpsc::channel(4096);
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(accept(stream, port, handed.clone(), Arc::clone(&count)));
            }
        });
        Self {
            port,
            sockets: tokio::sync::Mutex::new(sockets),
            open,
        }
    }

    /// Base URL of both API families.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sockets accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The next socket that was accepted.
    pub(crate) async fn socket(&self) -> (Sink, Source) {
        let wait = async { self.sockets.lock().await.recv().await.unwrap() };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("a contender connects within a minute")
    }
}

async fn accept(
    mut stream: TcpStream,
    port: u16,
    handed: mpsc::Sender<(Sink, Source)>,
    open: Arc<AtomicUsize>,
) {
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
    open.fetch_add(1, Ordering::Relaxed);
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

/// A bot message of about a kibibyte, with the ids of frame `number`.
fn frame(run: u64, number: u64) -> String {
    let chat = number % CHATS;
    format!(
        concat!(
            r#"{{"specVersion":"1.0","type":"CALLBACK","headers":{{"appId":"765ed67b-b170-4e12-ba38-6b59dc404ddb","#,
            r#""connectionId":"2f9c95bd-fe85-11f0-bee8-0eb3b764c0bb","contentType":"application/json","#,
            r#""messageId":"m{number}","time":"1769851697756","topic":"/v1.0/im/bot/messages/get"}},"#,
            r#""data":"{{\"senderPlatform\":\"Win\",\"conversationId\":\"cid{chat:08}KkuqlMgfkg3Sw==\",\"atUsers\":[{{\"dingtalkId\":\"$:LWCP_v1:$48dPp/SC322QYZqMgNb5ZeORohQeyTvl\"}}],"#,
            r#"\"chatbotCorpId\":\"dinga3491c12aa70e527\",\"chatbotUserId\":\"$:LWCP_v1:$48dPp/SC322QYZqMgNb5ZeORohQeyTvl\",\"openThreadId\":\"cid{chat:08}KkuqlMgfkg3Sw==\",\"msgId\":\"msg{run:04}{number:014}==\","#,
            r#"\"senderNick\":\"小钉\",\"isAdmin\":true,\"senderStaffId\":\"manager733\",\"sessionWebhookExpiredTime\":1969857097744,\"createAt\":1769851697611,"#,
            r#"\"senderCorpId\":\"dinga3491c12aa70e527\",\"conversationType\":\"2\",\"senderId\":\"$:LWCP_v1:$Cl5rGz9Xf2eSzB8bTv7z6Q==\",\"conversationTitle\":\"机器人测试\",\"isInAtList\":true,"#,
            r#"\"sessionWebhook\":\"https://oapi.dingtalk.com/robot/sendBySession?session=0a1b6a5e9c7b3c7b8e4b4b5b9e4b9f3f\",\"text\":{{\"content\":\" 今天下午三点开会，请大家提前准备好各自负责的部分\"}},\"robotCode\":\"dingpoinexqqgd315615\",\"msgtype\":\"text\"}}"}}"#
        ),
        number = number,
        chat = chat,
        run = run,
    )
}

/// Bytes of one frame.
pub(crate) fn frame_bytes() -> usize {
    frame(0, 0).len()
}

/// Answers that have come in: what the pushing half waits for.
#[derive(Default)]
struct Answers {
    count: AtomicU64,
    more: Notify,
}

/// Pushes `frames` frames over one socket and waits for their answers. What is not answered within
/// `patience` after the last push counts as unanswered.
pub(crate) async fn push(
    socket: &mut (Sink, Source),
    run: u64,
    frames: u64,
    pace: Pace,
    patience: Duration,
) -> Run {
    let (sink, source) = socket;
    let pushed: Mutex<HashMap<u64, Instant>> = Mutex::default();
    let answers = Answers::default();
    let mut latencies = Vec::with_capacity(usize::try_from(frames).unwrap());
    let begun = Instant::now();
    let reading = async {
        let mut last = begun;
        while (latencies.len() as u64) < frames {
            let Ok(Some(Ok(message))) = tokio::time::timeout(patience, source.next()).await else {
                break;
            };
            let Message::Text(text) = message else {
                continue;
            };
            let Some(number) = answered(&text) else {
                continue;
            };
            let at = pushed.lock().unwrap().remove(&number);
            if let Some(at) = at {
                last = Instant::now();
                let micros = last.duration_since(at).as_micros();
                latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                answers.count.fetch_add(1, Ordering::Relaxed);
                answers.more.notify_one();
            }
        }
        (last, latencies)
    };
    let pushing = async {
        let mut number = 0;
        while number < frames {
            let due = match pace {
                Pace::Window(window) => {
                    let open = number - answers.count.load(Ordering::Relaxed);
                    (window as u64).saturating_sub(open)
                }
                Pace::Rate(rate) => {
                    let target = (begun.elapsed().as_secs_f64() * rate) as u64;
                    target.saturating_sub(number)
                }
            };
            if due == 0 {
                match pace {
                    Pace::Window(_) => answers.more.notified().await,
                    Pace::Rate(_) => tokio::time::sleep(Duration::from_micros(500)).await,
                }
                continue;
            }
            for _ in 0..due.min(frames - number) {
                pushed.lock().unwrap().insert(number, Instant::now());
                sink.feed(Message::text(frame(run, number))).await.unwrap();
                number += 1;
            }
            sink.flush().await.unwrap();
        }
    };
    let ((last, mut latencies), ()) = tokio::join!(reading, pushing);
    latencies.sort_unstable();
    Run {
        answered: latencies.len() as u64,
        elapsed: last.duration_since(begun),
        latencies,
    }
}

/// The number in the `messageId` of an answer with code 200.
fn answered(text: &str) -> Option<u64> {
    if !text.contains("200") {
        return None;
    }
    let (_, rest) = text.split_once("\"messageId\"")?;
    let (_, rest) = rest.split_once("\"m")?;
    rest.split_once('"')?.0.parse().ok()
}
