//! The calls that a card makes, each through the gate of its account: repeated where repeating is
//! harmless, and never where it could show a card twice.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::super::desk::LetGo;
use super::super::trip::backoff;
use super::super::verdict::{Stage, Verdict, verdict};
use super::actor::Actor;
use crate::dingtalk::api::{Api, ApiError, CardDraft, CardFrame, ErrorClass};
use crate::message::{Priority, Timestamp, Via};

/// How often a harmless call is made again whose answer did not come, before its outcome counts as
/// unknown.
pub(super) const ANSWERLESS: u32 = 10;

/// One call.
#[derive(Debug)]
pub(super) enum Call {
    /// Creates a card; harmless to repeat (oapi.md, section 9.5).
    Create(CardDraft),
    /// Shows it; nobody knows what a repetition does.
    Deliver(CardDraft),
    /// Changes parameters; harmless to repeat.
    Update(BTreeMap<String, String>, PrivateParams),
    /// Streams a frame; harmless to repeat under its guid.
    Frame(CardFrame),
}

/// Parameters that single users see, by staffId.
pub(super) type PrivateParams = BTreeMap<String, BTreeMap<String, String>>;

impl Call {
    async fn make(&self, api: &Api, track: &str) -> Result<Option<String>, ApiError> {
        match self {
            Self::Create(draft) => api.create_card(draft).await.map(|_| None),
            Self::Deliver(draft) => api.deliver_card(draft).await,
            Self::Update(params, private) => {
                let done = api.update_card(track, params, private);
                done.await.map(|()| None)
            }
            Self::Frame(frame) => api.stream_card(frame).await.map(|()| None),
        }
    }

    fn is_harmless(&self) -> bool {
        match self {
            Self::Create(_) | Self::Update(..) | Self::Frame(_) => true,
            Self::Deliver(_) => false,
        }
    }
}

/// What calls cost until somebody is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bill {
    /// Calls.
    pub(super) attempts: u32,
    /// Those that DingTalk bills for.
    pub(super) cost: u32,
}

impl Actor {
    /// Makes a call once, when the account is free. The account is held when DingTalk says so.
    pub(super) async fn attempt(
        &mut self,
        call: &Call,
    ) -> Result<Result<Option<String>, ApiError>, LetGo> {
        let sender = &self.sender;
        let free = async {
            let paid = sender.toll.pay(Priority::Normal).await;
            let pass = sender.gate.pass().await.paid(paid);
            (pass, sender.places.take(Priority::Normal).await)
        };
        let free = self.stop.run_until_cancelled(free).await;
        let Some((pass, _place)) = free else {
            return Err(LetGo::Stopping);
        };
        let answer = Box::pin(call.make(&sender.api, &self.track)).await;
        self.bill.attempts = self.bill.attempts.saturating_add(1);
        let billed = answer.as_ref().map_or_else(|e| e.class.billed(), |_| true);
        self.bill.cost = self.bill.cost.saturating_add(u32::from(billed));
        match &answer {
            Ok(_) => {
                sender.health.account(&sender.account, |health| {
                    health.last_sent_at = Some(Timestamp::now());
                });
                if pass.is_probe() {
                    sender.unpark();
                }
            }
            Err(error) => match error.class {
                ErrorClass::Park(wait) => sender.park(error, wait),
                ErrorClass::Quota(_) => sender.toll.exhausted(),
                ErrorClass::RetryAfter(_)
                | ErrorClass::Ambiguous
                | ErrorClass::Permanent
                | ErrorClass::WebhookGone => {
                    if pass.is_probe() {
                        sender.unpark();
                    }
                }
            },
        }
        Ok(answer)
    }

    /// Makes a call until DingTalk says yes or no, or `until` is over; an unknown outcome is an error
    /// of class [`ErrorClass::Ambiguous`].
    pub(super) async fn insist(
        &mut self,
        call: &Call,
        until: Option<Timestamp>,
    ) -> Result<Result<Option<String>, ApiError>, LetGo> {
        let mut refusals = 0;
        loop {
            let error = match self.attempt(call).await? {
                Ok(answer) => return Ok(Ok(answer)),
                Err(error) => error,
            };
            let wait = match verdict(error.class, Stage::Sending, Via::Card) {
                Verdict::Again(wait) => wait,
                // The gate waits, or the toll.
                Verdict::Hold(_) | Verdict::Exhausted => Duration::ZERO,
                Verdict::Uncertain if call.is_harmless() && refusals < ANSWERLESS => Duration::ZERO,
                Verdict::Uncertain | Verdict::GiveUp | Verdict::Reroute => return Ok(Err(error)),
            };
            if until.is_some_and(|until| until <= Timestamp::now()) {
                return Ok(Err(error));
            }
            let wait = self.growing(wait, refusals);
            refusals = refusals.saturating_add(1);
            if self.stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return Err(LetGo::Stopping);
            }
        }
    }

    /// A wait of at least `least`, longer with every refusal in a row.
    pub(super) fn growing(&self, least: Duration, refusals: u32) -> Duration {
        let timings = &self.sender.desk.timings;
        backoff(least, (timings.retry_first, timings.retry_cap), refusals)
    }
}
