//! One request from its lane to its acknowledgement: claim, plan, trip, end; and what the journeys
//! of one account share. The attempts themselves are the trip's.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::dingtalk::api::{Api, ApiError};
use crate::message::{AccountName, Priority, Request};
use crate::telemetry::{Health, Standings};

use super::Parts;
use super::card::{self, Ask, Cards};
use super::claim::{Claim, End, Hold};
use super::desk::{Desk, LetGo};
use super::gate::{Gate, Pass};
use super::held::Held;
use super::media::Depot;
use super::places::Places;
use super::plan::{Leg, Plan};
use super::receipt::Matter;
use super::resolve::{self, Form, Refusal};
use super::scheduled::{self, Early, Waiting};
use super::settings::Settings;
use super::toll::Toll;
use super::trip::Trip;

/// What every journey of one account shares.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) desk: Desk,
    pub(super) account: AccountName,
    pub(super) api: Arc<Api>,
    pub(super) settings: Settings,
    pub(super) standings: Standings,
    pub(super) health: Health,
    pub(super) gate: Gate,
    pub(super) depot: Depot,
    pub(super) toll: Toll,
    pub(super) places: Places,
    pub(super) cards: Cards,
}

/// Who serves the account, as far as one request showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// This bridge.
    Here,
    /// Another bridge, since some moment.
    Elsewhere,
    /// This bridge; the request is out of its lane and its card tells its end.
    Aboard,
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
            standings: parts.standings.clone(),
            health: parts.health.clone(),
            gate: Gate::default(),
            depot: Depot::new(&parts.account, &parts.broker, &parts.fetcher),
            toll: Toll::new(
                parts.account.clone(),
                parts.standings.clone(),
                parts.metrics.clone(),
                parts.health.clone(),
            ),
            places: Places::new(),
            cards: Cards::new(parts),
        }
    }

    /// Takes one request to its end and acknowledges it; lets it go unacknowledged when the bridge
    /// stops first or another bridge has it. Returns whether another bridge turned out to serve the
    /// account.
    pub(super) async fn carry(
        self: &Arc<Self>,
        held: &Arc<Held>,
        stop: &CancellationToken,
    ) -> Served {
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

    async fn carry_on(
        self: &Arc<Self>,
        held: &Arc<Held>,
        stop: &CancellationToken,
    ) -> Result<Served, LetGo> {
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
        let request = match reading.request {
            Ok(request) => match Box::pin(self.postponed(&matter, &request, stop)).await? {
                Early::Waits => {
                    held.settle(None).await;
                    return Ok(Served::Here);
                }
                Early::GoesOn => Ok(request),
                Early::Refused(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let request = match request {
            Ok(request) => Ok(Box::pin(self.notifying(&matter, request, stop)).await?),
            Err(refusal) => Err(refusal),
        };
        let request = match request {
            Ok(request) => match self.ask_of_card(&matter, &request) {
                Some(Ok(ask)) => {
                    return Ok(Box::pin(card::board(self, (held, reading.key, ask), stop)).await);
                }
                Some(Err(refusal)) => Err(refusal),
                None => Ok(request),
            },
            Err(refusal) => Err(refusal),
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
                Box::pin(self.send(&matter, hold, request, stop)).await?
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

    /// Hands a request over to wait when it is early.
    async fn postponed(
        &self,
        matter: &Matter<'_>,
        request: &Request,
        stop: &CancellationToken,
    ) -> Result<Early, LetGo> {
        let published = matter.published;
        let Ok(address) = self.desk.subjects.parse_outbound(&published.subject) else {
            return Ok(Early::GoesOn);
        };
        let Some(at) = scheduled::wanted(&address, request, &published.headers) else {
            return Ok(Early::GoesOn);
        };
        let waiting = Waiting {
            published,
            account: matter.account,
            id: matter.id,
            subject: published.subject.clone(),
            at,
        };
        self.desk.postpone(&waiting, stop).await
    }

    /// What the request asks of a card, if it does.
    fn ask_of_card(&self, matter: &Matter<'_>, request: &Request) -> Option<Result<Ask, Refusal>> {
        let subject = &matter.published.subject;
        let address = self.desk.subjects.parse_outbound(subject).ok()?;
        Ask::of(&address, (request, matter.id), &self.settings)
    }

    /// Sends a request that is ours, as what it says on the subject that it stands on.
    pub(super) async fn send(
        &self,
        matter: &Matter<'_>,
        hold: Hold,
        request: Result<Request, Refusal>,
        stop: &CancellationToken,
    ) -> Result<End, LetGo> {
        let plan = match request {
            Ok(request) => {
                let by = (&self.desk, &self.settings);
                Box::pin(Plan::make(by, matter, &request, stop)).await?
            }
            Err(refusal) => Err(refusal),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(refusal) => {
                let done = matter.refused(&refusal, hold.progress.clone());
                return self.desk.finish(&hold, done).await;
            }
        };
        // Large, and held by every request of a lane.
        Box::pin(Trip::new(self, matter, (hold, plan), stop).run()).await
    }

    /// Waits until the account is free and the call could be made at once.
    pub(super) async fn ready(
        &self,
        leg: &Leg,
        priority: Priority,
    ) -> (Pass<'_>, Result<(), ApiError>) {
        // First: who waits for the month must not hold the probe of the gate.
        let paid = self.toll.pay(priority).await;
        let pass = self.gate.pass().await.paid(paid);
        let recipient = &leg.shipment.recipient;
        let prepared = self.api.prepare(recipient, priority).await;
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
