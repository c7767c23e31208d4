//! One gateway connection as the world sees it, and what can be asked of its socket.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::message::Timestamp;
use crate::sim::record::LinkView;
use crate::sim::state::{Subscription, World};

/// Opaque values kept per link.
const KEPT_ECHOES: usize = 32;

/// What a link's socket is told to do, in order.
#[derive(Debug)]
pub(in crate::sim) enum Out {
    /// Writes these bytes: whole WebSocket frames, or what a fault wants there.
    Bytes(Bytes),
    /// Writes a close frame, then ends the stream; 1006 ends it without a close frame.
    Close(u16),
    /// Writes the bytes, then resets the connection.
    Reset(Bytes),
    /// Neither reads nor writes any more and keeps the socket open.
    Freeze,
}

/// How a link takes part in deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum LinkMode {
    /// Gets its share.
    Live,
    /// Answers pings but gets nothing: the silent stall.
    Stalled,
    /// Dead, but the gateway has not noticed: gets its share, and the share is gone.
    HalfOpen,
    /// Got a disconnect frame: gets nothing more and is closed soon.
    Leaving,
}

pub(in crate::sim) struct Link {
    pub(in crate::sim) id: u64,
    pub(in crate::sim) app: Arc<str>,
    pub(in crate::sim) app_id: String,
    pub(in crate::sim) ticket: Arc<str>,
    pub(in crate::sim) subscriptions: Arc<[Subscription]>,
    pub(in crate::sim) ua: String,
    pub(in crate::sim) peer: String,
    pub(in crate::sim) mode: LinkMode,
    pub(in crate::sim) out: mpsc::Sender<Out>,
    /// Resets the socket even when its queue is full because the client does not read.
    pub(in crate::sim) kill: CancellationToken,
    pub(in crate::sim) opened_at: Timestamp,
    pub(in crate::sim) pushed: u64,
    pub(in crate::sim) acks: u64,
    pub(in crate::sim) pings: u64,
    pub(in crate::sim) opaque_echoes: Vec<String>,
}

impl Link {
    /// Whether a push of this type and topic may go here.
    pub(in crate::sim) fn takes(&self, frame_type: &str, topic: &str) -> bool {
        matches!(self.mode, LinkMode::Live | LinkMode::HalfOpen)
            && self.subscriptions.iter().any(|subscription| {
                subscription.kind == frame_type
                    && (subscription.topic == topic || subscription.topic == "*")
            })
    }

    /// Ends the socket in this way, or by a reset when the order finds no room.
    pub(in crate::sim) fn end(&self, order: Out) {
        if self.out.try_send(order).is_err() {
            self.kill.cancel();
        }
    }

    pub(in crate::sim) fn echo(&mut self, opaque: String) {
        if self.opaque_echoes.len() < KEPT_ECHOES {
            self.opaque_echoes.push(opaque);
        }
    }

    pub(in crate::sim) fn view(&self) -> LinkView {
        LinkView {
            id: self.id,
            app: self.app.as_ref().to_owned(),
            ticket: self.ticket.as_ref().to_owned(),
            ua: self.ua.clone(),
            peer: self.peer.clone(),
            subscriptions: self.subscriptions.to_vec(),
            state: match self.mode {
                LinkMode::Live => "live",
                LinkMode::Stalled => "stalled",
                LinkMode::HalfOpen => "half_open",
                LinkMode::Leaving => "leaving",
            },
            opened_at: self.opened_at,
            closed_at: None,
            ended: None,
            pushed: self.pushed,
            acks: self.acks,
            pings: self.pings,
            opaque_echoes: self.opaque_echoes.clone(),
        }
    }
}

impl World {
    /// Takes a link out of the pool and keeps its history.
    pub(in crate::sim) fn end_link(&mut self, id: u64, why: String, keep: usize) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        if let Some(ids) = self.by_app.get_mut(&link.app) {
            ids.retain(|other| *other != id);
        }
        let mut view = link.view();
        view.state = "closed";
        view.closed_at = Some(Timestamp::now());
        view.ended = Some(why);
        if self.closed.len() >= keep {
            self.closed.pop_front();
        }
        self.closed.push_back(view);
    }
}
