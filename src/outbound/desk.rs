//! What all requests need, whoever brings them: the broker with patience, and the telling of an end,
//! dead letter first, then receipt. It knows no DingTalk call and acknowledges nothing itself.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::broker::{Broker, BrokerError, Bucket, KeyValue};
use crate::message::{DeadReason, Outcome, Receipt, Subjects, Timestamp};
use crate::telemetry::Metrics;

use super::ledger::{Done, Ledger, Owner};
use super::receipt::Matter;
use super::timings::Timings;
use super::webhooks::Webhooks;

/// First wait after the broker did not take something; it doubles.
const BROKER_RETRY: Duration = Duration::from_millis(100);
/// Longest such wait.
const BROKER_RETRY_CAP: Duration = Duration::from_secs(2);
/// How often a standing trouble is logged, whatever number of requests waits for its end.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(15);

/// Everything that claiming and closing needs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    /// The broker.
    pub(super) broker: Broker,
    /// Session webhooks.
    pub(super) webhooks: Webhooks,
    /// Chats by session id.
    pub(super) bindings: KeyValue,
    /// Subjects of the installation.
    pub(super) subjects: Subjects,
    /// Metrics.
    pub(super) metrics: Metrics,
    /// Waits.
    pub(super) timings: Timings,
    /// The ledger.
    pub(super) ledger: Ledger,
    /// Who writes it.
    pub(super) owner: Owner,
    complained_at: Arc<Mutex<Option<Instant>>>,
}

/// How long a step goes on while the broker is away.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience<'a> {
    /// Until a stop: nothing has left yet, the request is delivered again later.
    Until(&'a CancellationToken),
    /// For ever: a call has left, and its end must be written down. A stop bounds it from outside.
    Always,
}

/// Why a request is let go without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LetGo {
    /// The bridge stops.
    Stopping,
    /// Another bridge took it over.
    Overtaken,
}

/// Waits for `step` while there is no stop and `until` is not over; `None` when it is over, even for
/// what is ready at once. Nothing that `step` does has left, so dropping it loses nothing.
pub(super) async fn within<T>(
    until: Option<Timestamp>,
    stop: &CancellationToken,
    step: impl Future<Output = T>,
) -> Result<Option<T>, LetGo> {
    let timed = async {
        match until.map(|until| until.since(Timestamp::now())) {
            Some(Duration::ZERO) => None,
            Some(left) => timeout(left, step).await.ok(),
            None => Some(step.await),
        }
    };
    stop.run_until_cancelled(timed).await.ok_or(LetGo::Stopping)
}

impl Desk {
    pub(super) fn new(
        broker: &Broker,
        subjects: Subjects,
        metrics: Metrics,
        timings: Timings,
    ) -> Self {
        Self {
            broker: broker.clone(),
            webhooks: Webhooks::new(broker),
            bindings: broker.bucket(Bucket::Bindings),
            subjects,
            metrics,
            timings,
            ledger: Ledger::new(broker),
            owner: Owner::random(),
            complained_at: Arc::default(),
        }
    }

    /// Repeats `step` until the broker takes it. Says that it waits, not too often.
    pub(super) async fn insist<T, F>(
        &self,
        patience: Patience<'_>,
        what: &'static str,
        mut step: impl FnMut() -> F,
    ) -> Result<T, LetGo>
    where
        F: Future<Output = Result<T, BrokerError>>,
    {
        let mut wait = BROKER_RETRY;
        loop {
            match step().await {
                Ok(done) => return Ok(done),
                Err(error) if self.complaint_is_due() => {
                    warn!(step = what, %error, "the broker does not take an outbound step, trying again");
                }
                Err(error) => {
                    debug!(step = what, %error, "the broker does not take an outbound step");
                }
            }
            match patience {
                Patience::Until(stop) => {
                    if stop
                        .run_until_cancelled(tokio::time::sleep(wait))
                        .await
                        .is_none()
                    {
                        return Err(LetGo::Stopping);
                    }
                }
                Patience::Always => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(BROKER_RETRY_CAP);
        }
    }

    fn complaint_is_due(&self) -> bool {
        let mut at = self
            .complained_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL);
        if due {
            *at = Some(Instant::now());
        }
        due
    }

    /// The one log line and the one count of a request that ended.
    pub(super) fn tell(&self, receipt: &Receipt) {
        self.metrics
            .request_ended(&receipt.account, receipt.outcome);
        info!(
            dingtalk.account = %receipt.account,
            request.id = %receipt.id,
            request.outcome = outcome_name(receipt.outcome),
            request.attempts = receipt.attempts,
            dingtalk.code = receipt.code.as_deref(),
            "request ended"
        );
    }

    /// Stores what tells the end of a request: first the dead letter, if it is one, then the
    /// receipt, once. Repeating it changes nothing.
    pub(super) async fn close(&self, matter: &Matter<'_>, done: &Done) -> Result<(), LetGo> {
        if let Some(reason) = done.dead {
            self.bury(matter, &done.receipt, reason).await?;
        }
        match matter.receipt_message(&self.subjects, &done.receipt) {
            Ok(message) => {
                let step = || self.broker.store_once(&message);
                self.insist(Patience::Always, "receipt", step).await?;
            }
            Err(error) => error!(%error, "a receipt cannot be written as JSON"),
        }
        Ok(())
    }

    async fn bury(
        &self,
        matter: &Matter<'_>,
        receipt: &Receipt,
        reason: DeadReason,
    ) -> Result<(), LetGo> {
        let letter = matter.dead_message(&self.subjects, (receipt, reason), None);
        let letter = match letter {
            Ok(letter) if letter.size() <= self.broker.max_payload() => Ok(letter),
            Ok(_) => {
                let claim = claim_key(matter);
                let body: &Bytes = &matter.published.payload;
                let step = || self.broker.put_object(&claim, body.clone());
                self.insist(Patience::Always, "dead letter body", step)
                    .await?;
                matter.dead_message(&self.subjects, (receipt, reason), Some(&claim))
            }
            Err(error) => Err(error),
        };
        match letter {
            Ok(letter) => {
                let step = || self.broker.store(&letter);
                self.insist(Patience::Always, "dead letter", step).await?;
            }
            Err(error) => error!(%error, "a dead letter cannot be written as JSON"),
        }
        Ok(())
    }
}

fn claim_key(matter: &Matter<'_>) -> String {
    let publication = matter.published.publication;
    format!(
        "dead.outbound.{}.{}.{}",
        matter.account,
        publication.seq,
        publication.at.as_millis()
    )
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Failed => "failed",
        Outcome::Expired => "expired",
        Outcome::Uncertain => "uncertain",
    }
}
