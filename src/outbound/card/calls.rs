//! The calls that a card makes, each through the gate of its account: repeated where repeating is
//! harmless, and never where it could show a card twice.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::super::desk::{LetGo, within};
use super::super::trip::backoff;
use super::super::verdict::{Stage, Verdict, verdict};
use super::actor::Actor;
use crate::dingtalk::api::{Api, ApiError, CardDraft, CardFrame, ErrorClass};
use crate::message::{Timestamp, Via};

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

/// What DingTalk said; its key of the card in the chat, where it gives one.
pub(super) type Answer = Result<Option<String>, ApiError>;

/// Parameters that single users see, by staffId.
pub(super) type PrivateParams = BTreeMap<String, BTreeMap<String, String>>;

impl Call {
    async fn make(&self, api: &Api, track: &str) -> Answer {
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
    /// Makes a call once, when the account is free; `None` when `until` is over before it leaves. The
    /// account is held when DingTalk says so.
    pub(super) async fn attempt(
        &mut self,
        call: &Call,
        until: Option<Timestamp>,
    ) -> Result<Option<Answer>, LetGo> {
        let sender = &self.sender;
        let priority = self.priority;
        let free = async {
            // First: who waits for the month must not hold the probe of the gate.
            let paid = sender.toll.pay(priority).await;
            let pass = sender.gate.pass().await.paid(paid);
            (pass, sender.places.take(priority).await)
        };
        let Some((pass, _place)) = within(until, &self.stop, free).await? else {
            return Ok(None);
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
                ErrorClass::Quota(_) => {
                    if pass.is_probe() {
                        sender.unpark();
                    }
                    sender.toll.exhausted();
                }
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
        Ok(Some(answer))
    }

    /// Makes a call until DingTalk says yes or no; `None` when `until` is over before. An unknown
    /// outcome is an error of class [`ErrorClass::Ambiguous`]. Let go of only while nothing is under
    /// way.
    pub(super) async fn insist(
        &mut self,
        call: &Call,
        until: Option<Timestamp>,
    ) -> Result<Option<Answer>, LetGo> {
        let mut refusals = 0;
        loop {
            let error = match self.attempt(call, until).await? {
                Some(Err(error)) => error,
                done @ (Some(Ok(_)) | None) => return Ok(done),
            };
            let wait = match verdict(error.class, Stage::Sending, Via::Card) {
                Verdict::Again(wait) => wait,
                // The gate or the toll waits.
                Verdict::Hold(_) | Verdict::Exhausted => Duration::ZERO,
                Verdict::Uncertain if call.is_harmless() && refusals < ANSWERLESS => Duration::ZERO,
                Verdict::Uncertain | Verdict::GiveUp | Verdict::Reroute => {
                    return Ok(Some(Err(error)));
                }
            };
            let wait = self.growing(wait, refusals);
            refusals = refusals.saturating_add(1);
            if within(until, &self.stop, sleep(wait)).await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// A wait of at least `least`, longer with every refusal in a row.
    pub(super) fn growing(&self, least: Duration, refusals: u32) -> Duration {
        let timings = &self.sender.desk.timings;
        backoff(least, (timings.retry_first, timings.retry_cap), refusals)
    }
}
