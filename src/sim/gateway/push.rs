//! One push: choose the connection, number the frame, write it down, hand it to the socket.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::sync::mpsc;

use super::link::{Link, LinkMode, Out};
use super::payload::{Payload, RetryTable, Stamp};
use super::redelivery::Task;
use super::wire::{Opcode, put_frame};
use crate::sim::SimError;
use crate::sim::state::{Shared, World};

/// Which connection a push goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Aim {
    /// One at random among those that subscribed, as DingTalk does.
    Any,
    /// This one, whatever it subscribed to.
    Link(u64),
}

/// When a payload is pushed, and for the how-manieth time.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Turn {
    /// Milliseconds since the epoch.
    pub(in crate::sim) time: i64,
    /// 0 for the first push.
    pub(in crate::sim) attempt: u32,
}

/// A frame that is written down and waits for room in its link's queue.
pub(in crate::sim) struct Prepared {
    pub(in crate::sim) seq: u64,
    pub(in crate::sim) out: mpsc::Sender<Out>,
    pub(in crate::sim) bytes: Bytes,
}

impl Shared {
    /// Pushes one payload and waits for room in the queue of its link.
    pub(in crate::sim) async fn push(
        &self,
        payload: Payload,
        attempt: u32,
        aim: Aim,
    ) -> Result<u64, SimError> {
        let prepared = self.prepare(payload, attempt, aim)?;
        let seq = prepared.seq;
        // An ended link loses the frame, as a dead socket does; the retry table goes on.
        let _ = prepared.out.send(Out::Bytes(prepared.bytes)).await;
        self.notify();
        Ok(seq)
    }

    /// Chooses the link and writes the frame down.
    pub(in crate::sim) fn prepare(
        &self,
        payload: Payload,
        attempt: u32,
        aim: Aim,
    ) -> Result<Prepared, SimError> {
        let time = self.now_millis();
        let mut world = self.world();
        let id = world.choose(&payload, aim)?;
        let mut text = String::with_capacity(1536);
        let seq = world.enter(&payload, id, &mut text, Turn { time, attempt });
        if self.options.record_texts {
            world.ledger.keep_text(seq, &text);
        }
        if self.retries(payload.retry(), attempt) {
            world.plan_in(self.options.ack_timeout, Task::Deadline(seq));
            self.schedule.notify_one();
        }
        let out = world.link(id)?.out.clone();
        drop(world);
        let mut bytes = BytesMut::with_capacity(text.len() + 10);
        put_frame(&mut bytes, Opcode::Text, text.as_bytes());
        Ok(Prepared {
            seq,
            out,
            bytes: bytes.freeze(),
        })
    }

    /// Whether an unanswered push of this kind needs watching at all.
    pub(in crate::sim) fn retries(&self, table: RetryTable, attempt: u32) -> bool {
        let attempt = attempt as usize;
        match table {
            RetryTable::Event => true,
            RetryTable::Bot => attempt < self.options.bot_retries.len(),
            RetryTable::Never => false,
        }
    }
}

impl World {
    pub(in crate::sim) fn link(&mut self, id: u64) -> Result<&mut Link, SimError> {
        self.links.get_mut(&id).ok_or(SimError::NoSuchLink(id))
    }

    fn choose(&self, payload: &Payload, aim: Aim) -> Result<u64, SimError> {
        match aim {
            Aim::Link(id) if self.links.contains_key(&id) => Ok(id),
            Aim::Link(id) => Err(SimError::NoSuchLink(id)),
            Aim::Any => {
                let takers = self.takers(payload);
                fastrand::choice(&takers)
                    .copied()
                    .ok_or_else(|| SimError::NoLink(payload.app().as_ref().to_owned()))
            }
        }
    }

    /// The links that may get this payload.
    pub(in crate::sim) fn takers(&self, payload: &Payload) -> Vec<u64> {
        let ids = self
            .by_app
            .get(payload.app())
            .map_or(&[][..], Vec::as_slice);
        ids.iter()
            .copied()
            .filter(|id| {
                self.links
                    .get(id)
                    .is_some_and(|link| link.takes(payload.frame_type(), payload.topic()))
            })
            .collect()
    }

    /// Numbers the frame, writes it down and appends its text; the link must exist.
    pub(in crate::sim) fn enter(
        &mut self,
        payload: &Payload,
        id: u64,
        text: &mut String,
        turn: Turn,
    ) -> u64 {
        let seq = self.ledger.pushed();
        let message_id = self.ledger.message_id(seq);
        if let Some(link) = self.links.get_mut(&id) {
            link.pushed += 1;
            let stamp = Stamp {
                app_id: &link.app_id,
                connection_id: &link.ticket,
                message_id: &message_id,
                time: turn.time,
            };
            payload.write(text, &stamp);
        }
        self.ledger.open(payload.clone(), id, turn.attempt);
        seq
    }
}

/// Pushes a text as it is, on the aimed link or on any live one of the app.
pub(in crate::sim) async fn raw_text(
    shared: &Shared,
    app: &str,
    aim: Aim,
    text: &str,
) -> Result<u64, SimError> {
    let (seq, out) = {
        let mut world = shared.world();
        let id = match aim {
            Aim::Link(id) => world.link(id)?.id,
            Aim::Any => world
                .links
                .values()
                .filter(|link| *link.app == *app && link.mode == LinkMode::Live)
                .map(|link| link.id)
                .min_by_key(|_| fastrand::u32(..))
                .ok_or_else(|| SimError::NoLink(app.to_owned()))?,
        };
        let message_id = serde_json::from_str::<Value>(text).ok().and_then(|frame| {
            let id = frame.pointer("/headers/messageId")?;
            Some(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
        });
        let link = world.link(id)?;
        link.pushed += 1;
        let (app, out) = (Arc::clone(&link.app), link.out.clone());
        let seq = world.ledger.pushed();
        world.ledger.open_raw(app, id, message_id.as_deref());
        if shared.options.record_texts {
            world.ledger.keep_text(seq, text);
        }
        (seq, out)
    };
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, Opcode::Text, text.as_bytes());
    let _ = out.send(Out::Bytes(bytes.freeze())).await;
    shared.notify();
    Ok(seq)
}
