//! How a slot stands, as it tells the board and whoever listens.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::delivery::{LinkChange, LinkEvent};
use super::link::Context;
use crate::telemetry::LinkState;

/// Changes that wait for room; beyond, the oldest are dropped.
const BACKLOG: usize = 16;
/// How long the last change waits for room.
const FAREWELL: Duration = Duration::from_secs(1);

/// State of one slot and the changes not yet passed on.
pub(super) struct Standing {
    context: Arc<Context>,
    slot: usize,
    state: LinkState,
    unreported: VecDeque<LinkChange>,
    events: mpsc::Sender<LinkEvent>,
}

impl Standing {
    /// A slot that is starting: down on the board, which is no change to report.
    pub(super) fn new(context: Arc<Context>, slot: usize, events: mpsc::Sender<LinkEvent>) -> Self {
        let state = LinkState::Down("starting".to_owned());
        context.health.link(&context.account, slot, state.clone());
        Self {
            context,
            slot,
            state,
            unreported: VecDeque::new(),
            events,
        }
    }

    /// Writes the state on the board at once and, when it changed, keeps the change for reporting.
    pub(super) fn set(&mut self, state: LinkState) {
        if self.state == state {
            return;
        }
        self.board(state.clone());
        self.keep(match &state {
            LinkState::Up => LinkChange::Up,
            LinkState::Down(reason) => LinkChange::Down(reason.clone()),
            LinkState::Parked(reason) => LinkChange::Parked(reason.clone()),
        });
        self.state = state;
    }

    /// Passes the oldest change on once there is room. Never ends when there is none to pass on.
    pub(super) async fn report(&mut self) {
        if self.unreported.is_empty() {
            return pending().await;
        }
        let room = self.events.reserve().await;
        let change = self.unreported.pop_front();
        if let (Ok(room), Some(change)) = (room, change) {
            room.send(LinkEvent {
                account: self.context.account.clone(),
                slot: self.slot,
                change,
            });
        }
    }

    /// Says that the slot has ended, and passes everything on while there is room soon.
    pub(super) async fn stopped(&mut self) {
        self.board(LinkState::Down("stopped".to_owned()));
        self.keep(LinkChange::Stopped);
        let _ = timeout(FAREWELL, self.report_all()).await;
    }

    async fn report_all(&mut self) {
        while !self.unreported.is_empty() {
            self.report().await;
        }
    }

    fn board(&self, state: LinkState) {
        let account = &self.context.account;
        self.context.health.link(account, self.slot, state);
    }

    fn keep(&mut self, change: LinkChange) {
        if self.unreported.len() >= BACKLOG {
            self.unreported.pop_front();
        }
        self.unreported.push_back(change);
    }
}
