//! What a session hands on: a frame, and the one way to answer it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::Answer;
use super::frame::{Frame, FrameType};
use crate::message::{AccountName, CardReply, Timestamp};

/// A data frame on its way in.
#[derive(Debug)]
pub struct Delivery {
    /// Account it came in on.
    pub account: AccountName,
    /// Client id of that account, part of every deduplication key.
    pub client_id: Arc<str>,
    /// The frame.
    pub frame: Frame,
    /// Answers it on the socket it came in on.
    pub ticket: AckTicket,
    /// When it was read, for budgets.
    pub received: Instant,
    /// When it was read, for people.
    pub received_at: Timestamp,
}

/// How a frame is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Ack {
    /// Code 200 in the form that the type of the frame wants.
    Done,
    /// Code 200 with the change that a press makes on its card.
    Card(CardReply),
    /// Code 500 and status `LATER`; for an EVENT only, others stay silent.
    Later,
}

/// The right to answer one frame once. Dropped unused, DingTalk gets no answer and delivers again.
#[derive(Debug)]
pub struct AckTicket {
    message_id: Option<String>,
    event: bool,
    socket: mpsc::Sender<Answer>,
    /// Its part of the room for large frames, until it is answered.
    _room: Option<OwnedSemaphorePermit>,
}

impl AckTicket {
    /// The right to answer `frame` on `socket`, with the room that a large one takes.
    pub(super) fn new(
        frame: &Frame,
        socket: mpsc::Sender<Answer>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            message_id: frame.message_id.clone(),
            event: frame.frame_type == FrameType::Event,
            socket,
            _room: room,
        }
    }

    /// Answers the frame on its own socket. Returns false when that socket is gone or does not
    /// take answers any more; the frame then comes again and deduplication absorbs it.
    pub fn answer(self, ack: Ack) -> bool {
        let Some(message_id) = self.message_id else {
            return false;
        };
        if ack == Ack::Later && !self.event {
            return false;
        }
        let answer = Answer::Ack {
            message_id,
            event: self.event,
            ack,
        };
        self.socket.try_send(answer).is_ok()
    }
}

/// Something that happened to a link, for health, logs and `<prefix>.status.<account>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEvent {
    /// Account concerned.
    pub account: AccountName,
    /// Connection slot of the account, from 0.
    pub slot: usize,
    /// What happened.
    pub change: LinkChange,
}

/// What happened to a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// A connection is open.
    Up,
    /// No connection is open; it is being opened again. Says why.
    Down(String),
    /// The slot is parked: retried slowly. Says why and what cures it.
    Parked(String),
    /// The slot ended because the bridge stops or the account was removed or paused.
    Stopped,
}
