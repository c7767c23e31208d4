//! One connection from its opening to its end: reading, writing and watching run side by side, so
//! that none of them waits for another. Why it ended is its result; what follows is decided by the
//! slot.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer};
use super::connect::Ws;
use super::delivery::{AckTicket, Delivery};
use super::ending::{Cue, End};
use super::frame::{Frame, FrameType};
use super::link::Context;
use super::pulse::{Finding, Pulse, Watch};
use super::write::write;
use crate::message::Timestamp;

/// Answers waiting for one socket. Above what a pipeline holds in flight, so that a burst of stored
/// frames after a broker outage is answered whole; the memory is taken only when used.
const ANSWER_BOUND: usize = 16 * 1024;
/// Most bytes of a binary frame that is no text that are kept.
const MAX_BINARY: usize = 1 << 20;
/// Frames read in one go before the writer has its turn.
const READ_BURST: u32 = 64;
/// Above this many bytes a frame is large: it is bounded by its size, the others by their number.
const LARGE: usize = 64 << 10;
/// How often the time of the last frame is reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What remains of a connection.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) generation: u64,
    pub(super) why: End,
    pub(super) lived: Duration,
    pub(super) had_data: bool,
}

/// What was reported of the frames of a connection.
#[derive(Debug, Default)]
struct Reported {
    at: Option<Instant>,
    /// Frames since then.
    unsaid: u64,
}

/// One connection and what steers it.
pub(super) struct Session {
    pub(super) context: Arc<Context>,
    /// Counts the connection as open.
    pub(super) _counted: Counted,
    pub(super) generation: u64,
    /// Index of its slot.
    pub(super) slot: usize,
    /// Takes cues under the generation of the session.
    pub(super) cues: mpsc::Sender<(u64, Cue)>,
    /// Cancelled when a replacement is up.
    pub(super) retire: CancellationToken,
    /// Cancelled when it is to go at once.
    pub(super) hurry: CancellationToken,
    /// Cancelled when the link stops.
    pub(super) stop: CancellationToken,
    /// Signs of life.
    pub(super) pulse: Pulse,
}

/// Counts a connection as open until it is dropped, however that comes about.
pub(super) struct Counted(Arc<Context>);

impl Counted {
    pub(super) fn new(context: Arc<Context>) -> Self {
        context.metrics.socket_opened(&context.account);
        Self(context)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.socket_closed(&self.0.account);
    }
}

impl Session {
    /// Serves a connection until it ends. It comes in halves because whole it would stand in the
    /// memory of this future for as long as it lives.
    pub(super) async fn run(
        self,
        mut sink: SplitSink<Ws, Message>,
        mut stream: SplitStream<Ws>,
    ) -> Ended {
        let opened = Instant::now();
        let why = self.serve(&mut sink, &mut stream).await;
        Ended {
            generation: self.generation,
            why,
            lived: opened.elapsed(),
            had_data: self.pulse.had_data(),
        }
    }

    async fn serve(&self, sink: &mut SplitSink<Ws, Message>, stream: &mut SplitStream<Ws>) -> End {
        let (answers, mut waiting) = mpsc::channel(ANSWER_BOUND);
        let halt = CancellationToken::new();
        let end = {
            let pinger = answers.downgrade();
            // The reader owns the one sender beside those in tickets: once it has ended, the
            // writer ends with the last ticket.
            let reader = self.read(stream, answers, &halt);
            let writer = write(sink, &mut waiting);
            tokio::pin!(reader, writer);
            let end = tokio::select! {
                biased;
                end = &mut writer => end,
                end = &mut reader => end,
                end = self.watch(pinger) => end,
                () = self.let_go() => End::Let,
            };
            if end == End::Let {
                halt.cancel();
                let settled = async { tokio::join!(&mut reader, &mut writer) };
                // Tickets still open after this are answered by nobody; their frames come again.
                let _ = timeout(self.context.timings.drain, settled).await;
            }
            end
        };
        drop(waiting);
        let limit = self.context.timings.close;
        let code = match &end {
            End::Let | End::Deaf => CloseCode::Normal,
            End::TooLarge(_) => CloseCode::Size,
            End::Closed(_) => {
                // The next read writes the reply to the goodbye.
                let _ = timeout(limit, stream.next()).await;
                return end;
            }
            End::Lost(_) | End::Silent => return end,
        };
        let closing = self.close(sink, stream, code);
        let _ = timeout(limit, closing).await;
        end
    }

    /// Waits until the connection should end: at once when the link stops or the place is needed,
    /// and a while after its replacement is up.
    async fn let_go(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.hurry.cancelled() => {}
            () = self.retired() => {}
        }
    }

    async fn retired(&self) {
        self.retire.cancelled().await;
        sleep(self.context.timings.overlap).await;
    }

    async fn read(
        &self,
        stream: &mut SplitStream<Ws>,
        answers: mpsc::Sender<Answer>,
        halt: &CancellationToken,
    ) -> End {
        let halted = halt.cancelled();
        tokio::pin!(halted);
        let mut reported = Reported::default();
        let mut burst = 0_u32;
        loop {
            burst = (burst + 1) % READ_BURST;
            if burst == 0 {
                tokio::task::yield_now().await;
                if halt.is_cancelled() {
                    return End::Let;
                }
            }
            let message = tokio::select! {
                biased;
                message = stream.next() => message,
                () = &mut halted => return End::Let,
            };
            self.pulse.beat();
            let text = match message {
                Some(Ok(Message::Close(frame))) => return End::of_goodbye(frame),
                Some(Ok(message)) => text_of(message),
                Some(Err(error)) => return End::of_read(&error),
                None => return End::Lost("the end of the stream".to_owned()),
            };
            if let Some(text) = text
                && let Err(end) = self.take(text, &answers, &mut reported).await
            {
                return end;
            }
        }
    }

    async fn take(
        &self,
        text: Utf8Bytes,
        answers: &mpsc::Sender<Answer>,
        reported: &mut Reported,
    ) -> Result<(), End> {
        let frame = Frame::decode(text);
        if frame.frame_type == FrameType::System {
            self.system(&frame, answers).await;
            return Ok(());
        }
        self.pulse.data();
        failpoint!("frame.read");
        let room = self.room(&frame).await;
        let delivery = self.delivery(frame, answers.clone(), room);
        reported.unsaid += 1;
        let due = |at| delivery.received.duration_since(at) >= REPORT_EVERY;
        if reported.at.is_none_or(due) {
            reported.at = Some(delivery.received);
            let count = std::mem::take(&mut reported.unsaid);
            self.context
                .frames_seen(self.slot, delivery.received_at, count);
        }
        match self.context.deliveries.try_send(delivery) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Deaf),
            Err(mpsc::error::TrySendError::Full(delivery)) => {
                self.pulse.set_blocked(true);
                let sent = self.context.deliveries.send(delivery).await;
                self.pulse.set_blocked(false);
                sent.map_err(|_| End::Deaf)
            }
        }
    }

    /// Room for a large frame, once there is some. All others are bounded by their number.
    async fn room(&self, frame: &Frame) -> Option<OwnedSemaphorePermit> {
        let bytes = frame.text.len();
        if bytes <= LARGE {
            return None;
        }
        self.pulse.set_blocked(true);
        let large = Arc::clone(&self.context.large);
        // Nothing that is taken off the socket is larger than all the room.
        let room = large.acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let room = room.await;
        self.pulse.set_blocked(false);
        room.ok()
    }

    fn delivery(
        &self,
        frame: Frame,
        socket: mpsc::Sender<Answer>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Delivery {
        if frame.is_undecodable() {
            self.context
                .metrics
                .frame_undecodable(&self.context.account);
            tracing::warn!(
                dingtalk.account = %self.context.account,
                dingtalk.frame_bytes = frame.text.len(),
                "received a frame that cannot be read"
            );
        }
        Delivery {
            account: self.context.account.clone(),
            client_id: Arc::clone(&self.context.client_id),
            ticket: AckTicket::new(&frame, socket, room),
            frame,
            received: Instant::now(),
            received_at: Timestamp::now(),
        }
    }

    async fn system(&self, frame: &Frame, answers: &mpsc::Sender<Answer>) {
        if let Some(answer) = answer::echo(frame) {
            // The writer runs beside this and makes room; when it has ended so does the session.
            let _ = answers.send(answer).await;
        }
        if frame.topic.eq_ignore_ascii_case("disconnect") {
            self.cue(Cue::Disconnect(answer::disconnect_reason(frame)));
        } else if !frame.topic.eq_ignore_ascii_case("ping") {
            tracing::debug!(
                dingtalk.account = %self.context.account,
                dingtalk.topic = %frame.topic,
                "ignored a system frame"
            );
        }
    }

    /// Sends a ping at every tick and judges what came in since the last one.
    async fn watch(&self, pinger: mpsc::WeakSender<Answer>) -> End {
        let mut ticks = interval(self.context.timings.ping_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch::new();
        loop {
            ticks.tick().await;
            match watch.tick(&self.pulse) {
                Finding::Alive => {}
                Finding::Suspect => self.cue(Cue::Suspect),
                Finding::Slept => self.cue(Cue::Slept),
                Finding::Dead => return End::Silent,
            }
            if let Some(answers) = pinger.upgrade() {
                // Full: the writer is busy, and its own limit judges it.
                let _ = answers.try_send(Answer::Ping);
            }
        }
    }

    fn cue(&self, cue: Cue) {
        // A cue that finds no room repeats one that is waiting.
        let _ = self.cues.try_send((self.generation, cue));
    }

    /// Says goodbye and delivers what was already on its way: it cannot be answered any more, but
    /// nobody promises that it would come again.
    async fn close(
        &self,
        sink: &mut SplitSink<Ws, Message>,
        stream: &mut SplitStream<Ws>,
        code: CloseCode,
    ) {
        let goodbye = Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::default(),
        }));
        if sink.send(goodbye).await.is_err() {
            return;
        }
        let (nowhere, _) = mpsc::channel(1);
        while let Some(Ok(message)) = stream.next().await {
            let Some(text) = text_of(message) else {
                continue;
            };
            let frame = Frame::decode(text);
            if frame.frame_type == FrameType::System {
                continue;
            }
            let delivery = self.delivery(frame, nowhere.clone(), None);
            if self.context.deliveries.send(delivery).await.is_err() {
                return;
            }
        }
    }
}

/// What a message says. A binary one is undefined (stream-protocol.md, section 2): read like any
/// other when it is text. When it is none it cannot be read, and is kept so that a person can.
fn text_of(message: Message) -> Option<Utf8Bytes> {
    match message {
        Message::Text(text) => Some(text),
        Message::Binary(bytes) => {
            let text = Utf8Bytes::try_from(bytes.clone());
            Some(text.unwrap_or_else(|_| spelt_out(&bytes).into()))
        }
        Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
    }
}

/// Bytes as text, each that is none as `\xff`; at most [`MAX_BINARY`] of them.
fn spelt_out(bytes: &[u8]) -> String {
    let kept = bytes.get(..MAX_BINARY).unwrap_or(bytes);
    let mut text = String::with_capacity(kept.len());
    // Writing to a String cannot fail.
    for chunk in kept.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if kept.len() < bytes.len() {
        let _ = write!(text, " and {} bytes more", bytes.len() - kept.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_frame_that_is_no_text_can_be_read_by_a_person_and_is_bounded() {
        let message = Message::binary([b"{ \xe9\x92\x89".as_slice(), &[0xff, b'}']].concat());
        assert_eq!(text_of(message).unwrap().as_str(), "{ 钉\\xff}");
        let message = Message::binary(vec![0xff; MAX_BINARY + 7]);
        let text = text_of(message).unwrap();
        assert!(text.ends_with(r"\xff and 7 bytes more"));
        assert!(text.len() < 4 * MAX_BINARY + 32);
        assert!(Frame::decode(text).is_undecodable());
    }
}
