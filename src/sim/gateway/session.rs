//! One socket: writes what its queue says, reads acks and pings. Reading and writing never wait
//! for each other, so that a client that stops reading cannot keep its own acks from being read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::link::Out;
use super::wire::{Opcode, put_close, put_frame};
use crate::sim::ledger::{ReadAck, Settled};
use crate::sim::state::Shared;

/// Orders taken from the queue at once.
const BATCH: usize = 256;
/// How long a client may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Reads for the WebSocket decoder; what the decoder wants to write is dropped, because the
/// writer answers pings and closes itself.
struct ReadSide(OwnedReadHalf);

impl AsyncRead for ReadSide {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ReadSide {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Serves one connection and returns why it ended.
pub(in crate::sim) async fn run(
    shared: &Shared,
    id: u64,
    stream: TcpStream,
    mut queue: mpsc::Receiver<Out>,
    kill: CancellationToken,
) -> String {
    let (read, mut write) = stream.into_split();
    let frozen = watch::Sender::new(false);
    let (pongs, mut pong_queue) = mpsc::channel(8);
    let mut watcher = frozen.subscribe();
    let mut reading = std::pin::pin!(read_until_end(shared, id, read, pongs));
    let wrote = {
        let mut writing = std::pin::pin!(write_until_end(
            &mut queue,
            &mut pong_queue,
            &mut write,
            &frozen
        ));
        tokio::select! {
            ended = freezable(&mut watcher, reading.as_mut()) => Err(ended),
            wrote = writing.as_mut() => Ok(wrote),
            () = kill.cancelled() => Ok(Ended::Reset),
        }
    };
    match wrote {
        Err(ReadEnd { why, close }) => {
            if close {
                let mut answer = BytesMut::new();
                put_close(&mut answer, 1000, "");
                let _ = timeout(CLOSE_WAIT, write.write_all_buf(&mut answer)).await;
            }
            why
        }
        Ok(Ended::Reset) => {
            // Dropping the socket then sends RST instead of FIN.
            let _ = write.as_ref().set_zero_linger();
            write.forget();
            "reset by a fault".to_owned()
        }
        Ok(Ended::Failed(error)) => format!("write failed: {error}"),
        Ok(Ended::Closed(code)) => {
            // The client's answer to the close frame is read before the socket goes.
            let _ = timeout(CLOSE_WAIT, reading).await;
            format!("closed by the gateway: {code}")
        }
    }
}

/// Why the reader ended, and whether the client is owed a close frame.
struct ReadEnd {
    why: String,
    close: bool,
}

impl ReadEnd {
    fn without_close(why: String) -> Self {
        Self { why, close: false }
    }
}

/// Why the writer ended.
enum Ended {
    Closed(u16),
    Reset,
    Failed(io::Error),
}

/// Lets `reading` go on until the link is frozen, then never again.
async fn freezable(
    frozen: &mut watch::Receiver<bool>,
    reading: Pin<&mut impl Future<Output = ReadEnd>>,
) -> ReadEnd {
    tokio::select! {
        ended = reading => ended,
        () = thaw_never(frozen) => std::future::pending().await,
    }
}

async fn thaw_never(frozen: &mut watch::Receiver<bool>) {
    if frozen.wait_for(|frozen| *frozen).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn write_until_end(
    queue: &mut mpsc::Receiver<Out>,
    pongs: &mut mpsc::Receiver<Vec<u8>>,
    write: &mut OwnedWriteHalf,
    frozen: &watch::Sender<bool>,
) -> Ended {
    let mut orders = Vec::with_capacity(BATCH);
    let mut buffer = BytesMut::new();
    loop {
        tokio::select! {
            biased;
            Some(payload) = pongs.recv() => put_frame(&mut buffer, Opcode::Pong, &payload),
            taken = queue.recv_many(&mut orders, BATCH) => {
                if taken == 0 {
                    return Ended::Closed(1006);
                }
            }
        }
        for order in orders.drain(..) {
            let is_frozen = *frozen.borrow();
            match order {
                Out::Reset(bytes) => {
                    if !is_frozen {
                        buffer.extend_from_slice(&bytes);
                        let _ = write.write_all_buf(&mut buffer).await;
                    }
                    return Ended::Reset;
                }
                _ if is_frozen => {}
                Out::Bytes(bytes) => buffer.extend_from_slice(&bytes),
                Out::Freeze => {
                    let _ = frozen.send(true);
                    buffer.clear();
                }
                Out::Close(code) => {
                    if code != 1006 {
                        put_close(&mut buffer, code, "");
                    }
                    let _ = write.write_all_buf(&mut buffer).await;
                    let _ = write.shutdown().await;
                    return Ended::Closed(code);
                }
            }
        }
        if let Err(error) = write.write_all_buf(&mut buffer).await {
            return Ended::Failed(error);
        }
    }
}

async fn read_until_end(
    shared: &Shared,
    id: u64,
    read: OwnedReadHalf,
    pongs: mpsc::Sender<Vec<u8>>,
) -> ReadEnd {
    let mut socket = WebSocketStream::from_raw_socket(ReadSide(read), Role::Server, None).await;
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Text(text)) => shared.read_text(id, text.as_str()),
            Ok(Message::Ping(payload)) => {
                if let Some(link) = shared.world().links.get_mut(&id) {
                    link.pings += 1;
                }
                let _ = pongs.try_send(payload.to_vec());
                shared.notify();
            }
            Ok(Message::Close(frame)) => {
                let code = frame.map_or(1005, |frame| u16::from(frame.code));
                return ReadEnd {
                    why: format!("closed by the client: {code}"),
                    close: true,
                };
            }
            Ok(_) => {}
            Err(error) => return ReadEnd::without_close(format!("read failed: {error}")),
        }
    }
    ReadEnd::without_close("end of stream".to_owned())
}

/// An ack as clients write it; extra keys are fine.
#[derive(Deserialize)]
struct AckText<'a> {
    #[serde(default)]
    code: i64,
    #[serde(borrow)]
    headers: AckHeaders<'a>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AckHeaders<'a> {
    #[serde(borrow, rename = "messageId", default)]
    message_id: std::borrow::Cow<'a, str>,
}

impl Shared {
    fn read_text(&self, id: u64, text: &str) {
        let Ok(ack) = serde_json::from_str::<AckText<'_>>(text) else {
            self.world().ledger.stray_acks += 1;
            self.notify();
            return;
        };
        // `data` is a JSON string; its content is what was meant.
        let data: Option<String> = ack
            .data
            .filter(|_| self.options.record_texts || ack.code >= 400 || mentions(ack.data))
            .map(|raw| serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned()));
        let later = data.as_deref().is_some_and(says_later);
        let mut world = self.world();
        let Some(link) = world.links.get_mut(&id) else {
            return;
        };
        link.acks += 1;
        if let Some(opaque) = data.as_deref().and_then(opaque) {
            link.echo(opaque);
        }
        let app = std::sync::Arc::clone(&link.app);
        let read = ReadAck {
            link: id,
            app: &app,
            code: ack.code,
            message_id: &ack.headers.message_id,
            data: data.as_deref(),
            later,
        };
        world.answer_press(&read, &self.ack_rules(), self.options.card_answer_within);
        if let Settled::Refused(seq) = world.ledger.ack(&read, &self.ack_rules()) {
            self.refused(&mut world, seq);
        }
        drop(world);
        self.notify();
    }
}

/// Whether unrecorded data may still matter: a `LATER`, the echo of a ping or the answer to a press.
fn mentions(data: Option<&RawValue>) -> bool {
    let marks = ["LATER", "opaque", "cardData", "userPrivateData"];
    data.is_some_and(|raw| marks.iter().any(|mark| raw.get().contains(mark)))
}

fn says_later(data: &str) -> bool {
    data.contains("LATER")
        && serde_json::from_str::<serde_json::Value>(data)
            .is_ok_and(|value| value.get("status").is_some_and(|status| status == "LATER"))
}

fn opaque(data: &str) -> Option<String> {
    if !data.contains("opaque") {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(data).ok()?;
    Some(value.get("opaque")?.as_str()?.to_owned())
}
