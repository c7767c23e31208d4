//! One request from its lane to its acknowledgement: claim, plan, trip, end; and what the journeys
//! of one account share. The attempts themselves are the trip's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::dingtalk::api::{Api, ApiError};
use crate::message::{AccountName, Request};
use crate::telemetry::Health;

use super::Parts;
use super::claim::{Claim, End, Hold};
use super::desk::{Desk, LetGo};
use super::gate::{Gate, Pass};
use super::held::Held;
use super::plan::{Leg, Plan};
use super::receipt::Matter;
use super::resolve::{self, Form, Refusal};
use super::settings::Settings;
use super::trip::Trip;

/// Calls of one account that may be on their way at once: 20 a second in three families for the
/// better part of a deadline of 10 s. Waiting for anything else takes no place.
const CALLS: usize = 256;
/// What every journey of one account shares.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) desk: Desk,
    pub(super) account: AccountName,
    pub(super) api: Arc<Api>,
    pub(super) settings: Settings,
    pub(super) health: Health,
    pub(super) gate: Gate,
    pub(super) calls: Semaphore,
}

/// Who serves the account, as far as one request showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// This bridge.
    Here,
    /// Another bridge, since some moment.
    Elsewhere,
}

impl Sender {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            desk: Desk::new(
                &parts.broker,
                parts.subjects.clone(),
                parts.metrics.clone(),
                parts.timings.clone(),
            ),
            account: parts.account.clone(),
            api: Arc::clone(&parts.api),
            settings: parts.settings.clone(),
            health: parts.health.clone(),
            gate: Gate::default(),
            calls: Semaphore::new(CALLS),
        }
    }

    /// Takes one request to its end and acknowledges it; lets it go unacknowledged when the bridge
    /// stops first or another bridge has it. Returns whether another bridge turned out to serve the
    /// account.
    pub(super) async fn carry(&self, held: &Held, stop: &CancellationToken) -> Served {
        match self.carry_on(held, stop).await {
            Ok(served) => served,
            Err(reason) => {
                debug!(
                    dingtalk.account = %self.account,
                    nats.sequence = held.published.publication.seq,
                    ?reason,
                    "request let go, it is delivered again"
                );
                match reason {
                    LetGo::Overtaken => Served::Elsewhere,
                    LetGo::Stopping => Served::Here,
                }
            }
        }
    }

    async fn carry_on(&self, held: &Held, stop: &CancellationToken) -> Result<Served, LetGo> {
        let published = &held.published;
        let sequence = published.publication.seq;
        let reading = resolve::read(
            &published.headers,
            &published.payload,
            sequence,
            Form::Canonical,
        );
        let matter = Matter {
            account: &self.account,
            id: &reading.key.id,
            published,
            subject: Some(&published.subject),
        };
        let done = match self.desk.claim(&matter, reading.key.derived, stop).await? {
            Claim::Duplicate => {
                self.desk.metrics.request_duplicate(&self.account);
                info!(dingtalk.account = %self.account, request.id = %matter.id, "request was published before");
                held.settle(None).await;
                return Ok(Served::Here);
            }
            Claim::Ended(done) => End::Ours(done),
            Claim::Mine(hold) => {
                failpoint!("request.claimed");
                self.send(&matter, hold, reading.request, stop).await?
            }
        };
        let served = match &done {
            End::Ours(_) => Served::Here,
            End::Theirs(_) => Served::Elsewhere,
        };
        let done = done.done();
        failpoint!("request.done");
        self.desk.close(&matter, &done).await?;
        failpoint!("request.receipt");
        held.settle(done.dead).await;
        failpoint!("request.acked");
        Ok(served)
    }

    async fn send(
        &self,
        matter: &Matter<'_>,
        hold: Hold,
        request: Result<Request, Refusal>,
        stop: &CancellationToken,
    ) -> Result<End, LetGo> {
        let plan = match request {
            Ok(request) => Plan::make(&self.desk, matter, &request, stop).await?,
            Err(refusal) => Err(refusal),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(refusal) => {
                let done = matter.refused(&refusal, hold.progress.clone());
                return self.desk.finish(&hold, done).await;
            }
        };
        Trip::new(self, matter, (hold, plan), stop).run().await
    }

    /// Waits until the account is free and the call could be made at once.
    pub(super) async fn ready(&self, leg: &Leg) -> (Pass<'_>, Result<(), ApiError>) {
        let pass = self.gate.pass().await;
        let prepared = self.api.prepare(&leg.shipment.recipient).await;
        (pass, prepared)
    }

    /// Holds the account: nothing of it would be sent until somebody acts.
    pub(super) fn park(&self, error: &ApiError, wait: Duration) {
        let mut reason = error.to_string();
        if let Some(cure) = &error.cure {
            reason.push_str("; ");
            reason.push_str(cure);
        }
        if self.gate.hold(wait) {
            warn!(dingtalk.account = %self.account, error = %reason, retry_after_s = wait.as_secs(), "sends of the account are held");
        }
        let parked = Some(reason);
        self.health
            .account(&self.account, |health| health.sends_parked = parked);
    }

    pub(super) fn unpark(&self) {
        if self.gate.open() {
            info!(dingtalk.account = %self.account, "sends of the account go on");
        }
        self.health
            .account(&self.account, |health| health.sends_parked = None);
    }
}
