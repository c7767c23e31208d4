//! What the simulator saw, and how to wait for it without sleeping.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::gateway::LinkMode;
use super::ledger::{FrameState, FrameView};
use super::record::{Call, Counters, EventFailure, LinkView, Sent};
use super::state::Shared;
use super::{Sim, SimError};

impl Shared {
    pub(super) fn counters(&self) -> Counters {
        let world = self.world();
        Counters {
            pushed: world.ledger.pushed(),
            acked: world.ledger.acked,
            stray_acks: world.ledger.stray_acks,
            lost: world.lost,
            sent: world.sent_total,
            delivered: world.delivered,
            links: world.links.len(),
            failed_events: world.failed_events.len(),
        }
    }

    pub(super) fn links(&self) -> Vec<LinkView> {
        let world = self.world();
        let mut links: Vec<LinkView> = world.closed.iter().cloned().collect();
        links.extend(world.links.values().map(super::gateway::Link::view));
        links.sort_by_key(|link| link.id);
        links
    }
}

impl Sim {
    /// Counters of the whole simulator.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Every send, refused ones included, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.shared.world().sent.iter().cloned().collect()
    }

    /// The sends that people can see, in order.
    pub fn delivered(&self) -> Vec<Sent> {
        let mut sent = self.sent();
        sent.retain(Sent::delivered);
        sent
    }

    /// Every API call, in the order of their answers.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.world().calls.iter().cloned().collect()
    }

    /// The calls of one path.
    pub fn calls_of(&self, path: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.path == path);
        calls
    }

    /// Every connection, live or ended, in the order of upgrades.
    pub fn links(&self) -> Vec<LinkView> {
        self.shared.links()
    }

    /// Numbers of the connections of `app` that may get pushes, oldest first.
    pub fn live_links(&self, app: &str) -> Vec<u64> {
        let world = self.shared.world();
        let ids = world.by_app.get(app).map_or(&[][..], Vec::as_slice);
        let live = ids.iter().copied().filter(|id| {
            let link = world.links.get(id);
            link.is_some_and(|link| link.mode == LinkMode::Live)
        });
        live.collect()
    }

    /// Every frame still remembered, in the order of pushes.
    pub fn frames(&self) -> Vec<FrameView> {
        self.shared.world().ledger.views(0, usize::MAX)
    }

    /// One frame by its number.
    pub fn frame(&self, seq: u64) -> Option<FrameView> {
        self.shared.world().ledger.view(seq)
    }

    /// The frames that carried this message or event, in the order of pushes.
    pub fn frames_of(&self, business_id: &str) -> Vec<FrameView> {
        let world = self.shared.world();
        let pushes = world.ledger.pushes_of(business_id);
        pushes
            .iter()
            .filter_map(|seq| world.ledger.view(*seq))
            .collect()
    }

    /// Events that were given up after their last attempt.
    pub fn failed_events(&self) -> Vec<EventFailure> {
        self.shared.world().failed_events.clone()
    }

    /// Push-to-ack times in microseconds of the acked frames from number `from` on.
    pub fn ack_latencies_us(&self, from: u64) -> Vec<u64> {
        self.shared.world().ledger.latencies(from)
    }

    /// Waits until `look` finds what it wants; `what` names it in the error.
    ///
    /// # Errors
    /// When it is not there within the patience of the options.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, SimError> {
        self.wait_within(self.shared.options.patience, what, look)
            .await
    }

    /// As [`Self::wait_for`], with a patience of its own.
    ///
    /// # Errors
    /// When it is not there within `patience`.
    pub async fn wait_within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, SimError> {
        let deadline = Instant::now() + patience;
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = look(self) {
                return Ok(found);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(SimError::Patience(what.to_owned())),
            }
        }
    }

    /// Waits until `count` connections of `app` are live; returns their numbers.
    ///
    /// # Errors
    /// When they are not up in time.
    pub async fn connected(&self, app: &str, count: usize) -> Result<Vec<u64>, SimError> {
        self.wait_for("live connections", |sim| {
            Some(sim.live_links(app)).filter(|links| links.len() >= count)
        })
        .await
    }

    /// Waits until a frame of this message or event is acked; returns that frame.
    ///
    /// # Errors
    /// When no ack counted in time.
    pub async fn acked(&self, business_id: &str) -> Result<FrameView, SimError> {
        self.wait_for("an ack", |sim| {
            let frames = sim.frames_of(business_id);
            frames
                .into_iter()
                .find(|frame| frame.state == FrameState::Acked)
        })
        .await
    }

    /// Waits until this message or event was pushed `count` times; returns the frames.
    ///
    /// # Errors
    /// When it did not come that often in time.
    pub async fn pushed_times(
        &self,
        business_id: &str,
        count: usize,
    ) -> Result<Vec<FrameView>, SimError> {
        self.wait_for("pushes", |sim| {
            Some(sim.frames_of(business_id)).filter(|frames| frames.len() >= count)
        })
        .await
    }

    /// Waits until people can see `count` sends; returns them.
    ///
    /// # Errors
    /// When there are fewer in time.
    pub async fn delivered_count(&self, count: usize) -> Result<Vec<Sent>, SimError> {
        self.wait_for("delivered sends", |sim| {
            (sim.counters().delivered >= count as u64).then(|| sim.delivered())
        })
        .await
    }
}
