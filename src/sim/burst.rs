//! Load: many bot messages as fast as the sockets take them, or at a rate. Frames are written from
//! a template and handed over in bundles, so that the pusher is not what is measured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::bot::Message;
use super::gateway::{Opcode, Out, Payload, Task, Template, Turn, burst_msg_id, put_frame};
use super::state::Shared;
use super::{Sim, SimError};

/// Frames that are handed to a socket in one piece.
const BUNDLE: u64 = 64;
/// Longest wait of a patient burst before it looks for a link again.
const NO_LINK: Duration = Duration::from_millis(20);
/// Shortest wait of a paced burst.
const TICK: Duration = Duration::from_millis(1);

/// A burst of bot messages from one user in several groups.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Burst {
    /// The app that gets them.
    pub app: String,
    /// How many messages.
    pub count: u64,
    /// Over how many groups they are spread, in turn.
    pub groups: usize,
    /// What each one says.
    pub text: String,
    /// Messages per second; absent: as fast as the sockets take them.
    pub per_second: Option<u64>,
    /// Most frames of the burst without an ack at a time, as long as nothing else is acked; absent:
    /// no bound but the sockets.
    pub in_flight: Option<u64>,
    /// Whether to wait when no connection is there, instead of failing: for bursts that outlive
    /// their reader.
    pub patient: bool,
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            app: String::new(),
            count: 1000,
            groups: 16,
            text: "你好，这是一条测试消息".to_owned(),
            per_second: None,
            in_flight: None,
            patient: false,
        }
    }
}

/// What a burst did.
#[derive(Debug, Clone, Serialize)]
pub struct BurstReport {
    /// Number of its first frame; its frames need not be consecutive when others push too.
    pub first: u64,
    /// Frames pushed.
    pub pushed: u64,
    /// Time from the first to the last hand-over, in microseconds.
    pub took_us: u64,
    /// What all its `msgId`s begin with.
    pub id_base: String,
}

impl BurstReport {
    /// The `msgId` of its n-th message, from 0 on.
    pub fn msg_id(&self, index: u64) -> String {
        burst_msg_id(&self.id_base, index)
    }
}

impl Sim {
    /// Pushes a burst and returns when its last frame is handed to a socket; acks may still come.
    ///
    /// The messages have distinct `msgId`s, which are not indexed: [`Sim::frames_of`] does not find
    /// them, [`Sim::acked_of_burst`] does.
    ///
    /// # Errors
    /// When the app is not known, or has no connection left that takes bot messages.
    pub async fn burst(&self, burst: &Burst) -> Result<BurstReport, SimError> {
        self.shared.burst(burst).await
    }

    /// Which messages of a burst, by their index, were acked in at least one of their frames.
    pub fn acked_of_burst(&self, report: &BurstReport) -> BTreeSet<u64> {
        let world = self.shared.world();
        world.ledger.acked_of_burst(report.first, &report.id_base)
    }
}

impl Shared {
    pub(super) async fn burst(&self, burst: &Burst) -> Result<BurstReport, SimError> {
        let template = Arc::new(self.template(burst)?);
        let (first, already_acked) = {
            let world = self.world();
            (world.ledger.pushed(), world.ledger.acked)
        };
        let mut changes = self.changed.subscribe();
        let started = Instant::now();
        let mut done = 0;
        while done < burst.count {
            let mut room = BUNDLE.min(burst.count - done);
            if let Some(rate) = burst.per_second {
                let due = started.elapsed().as_micros() * u128::from(rate) / 1_000_000 + 1;
                room = room.min(u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(done));
            }
            if let Some(bound) = burst.in_flight {
                changes.mark_unchanged();
                let open = done.saturating_sub(self.world().ledger.acked - already_acked);
                room = room.min(bound.max(1).saturating_sub(open));
                if room == 0 {
                    let _ = changes.changed().await;
                    continue;
                }
            }
            if room == 0 {
                tokio::time::sleep(TICK).await;
                continue;
            }
            match self.bundle(&template, done..done + room).await {
                Ok(()) => done += room,
                Err(SimError::NoLink(_)) if burst.patient => {
                    let _ = timeout(NO_LINK, changes.changed()).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.notify();
        Ok(BurstReport {
            first,
            pushed: done,
            took_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            id_base: template.id_base.clone(),
        })
    }

    fn template(&self, burst: &Burst) -> Result<Template, SimError> {
        let app = self.known(&burst.app)?;
        let message = Message::in_group("@CHAT@", "load-user", burst.text.as_str());
        let data = self.bot_data(&app, &message, "@MSG@");
        let app_id = {
            let world = self.world();
            let known = world.apps.get(&app);
            let known = known.ok_or_else(|| SimError::NoSuchApp(burst.app.clone()))?;
            known.app_id.clone()
        };
        let groups = (0..burst.groups.max(1)).map(|group| format!("cidBurst{group:06}=="));
        Ok(Template::new(app, &app_id, &data, groups.collect()))
    }

    /// Writes down and hands over the messages of `range`, one link after the other at random.
    async fn bundle(
        &self,
        template: &Arc<Template>,
        range: std::ops::Range<u64>,
    ) -> Result<(), SimError> {
        let mut bundles: Vec<(u64, mpsc::Sender<Out>, BytesMut)> = Vec::new();
        let mut text = String::with_capacity(2048);
        {
            let time = self.now_millis();
            let mut world = self.world();
            let first = Payload::Drawn(Arc::clone(template), range.start);
            let takers = world.takers(&first);
            for id in &takers {
                let out = world.link(*id)?.out.clone();
                bundles.push((*id, out, BytesMut::new()));
            }
            let watch = self.retries(first.retry(), 0);
            let deadline = Instant::now() + self.options.ack_timeout;
            for index in range {
                let Some((id, _, bytes)) = fastrand::choice(bundles.iter_mut()) else {
                    return Err(SimError::NoLink(template.app.as_ref().to_owned()));
                };
                let payload = Payload::Drawn(Arc::clone(template), index);
                text.clear();
                let seq = world.enter(&payload, *id, &mut text, Turn { time, attempt: 0 });
                if self.options.record_texts {
                    world.ledger.keep_text(seq, &text);
                }
                if watch {
                    world.plan(deadline, Task::Deadline(seq));
                }
                put_frame(bytes, Opcode::Text, text.as_bytes());
            }
            if watch {
                self.schedule.notify_one();
            }
        }
        for (_, out, bytes) in bundles {
            if !bytes.is_empty() {
                // An ended link loses the frames, as a dead socket does.
                let _ = out.send(Out::Bytes(bytes.freeze())).await;
            }
        }
        Ok(())
    }
}
