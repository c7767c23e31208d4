//! Where requests are claimed and closed: ledger, dead letter, receipt, in that order, whoever
//! brings the request. It knows no DingTalk call and acknowledges nothing itself.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::broker::{Broker, BrokerError, Outgoing};
use crate::message::{DeadReason, Outcome, Receipt, Subjects, Timestamp};
use crate::telemetry::Metrics;

use super::ledger::{Done, Found, Ledger, Owner, Progress, Publication, Record, State, Written};
use super::receipt::{Cause, Matter};
use super::timings::Timings;
use super::webhooks::Webhooks;

/// First wait after the broker did not take something; it doubles.
const BROKER_RETRY: Duration = Duration::from_millis(100);
/// Longest such wait.
const BROKER_RETRY_CAP: Duration = Duration::from_secs(2);
/// Room for what the broker adds to a message, in bytes.
const FRAMING: usize = 256;

/// Everything that claiming and closing needs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    /// The broker.
    pub(super) broker: Broker,
    /// Session webhooks.
    pub(super) webhooks: Webhooks,
    /// Subjects of the installation.
    pub(super) subjects: Subjects,
    /// Metrics.
    pub(super) metrics: Metrics,
    /// Waits.
    pub(super) timings: Timings,
    ledger: Ledger,
    owner: Owner,
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

/// What a claim found.
#[derive(Debug)]
pub(super) enum Claim {
    /// The request is ours.
    Mine(Hold),
    /// The key belongs to another publication.
    Duplicate,
    /// It ended already; its end may not have been told yet.
    Ended(Box<Done>),
}

/// A request that is ours, and how the ledger has it.
#[derive(Debug)]
pub(super) struct Hold {
    key: String,
    publication: Publication,
    revision: u64,
    /// How far it came.
    pub(super) progress: Progress,
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
            subjects,
            metrics,
            timings,
            ledger: Ledger::new(broker),
            owner: Owner::random(),
        }
    }

    /// Repeats `step` until the broker takes it. Says once that it waits.
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
                Err(error) if wait == BROKER_RETRY => {
                    warn!(step = what, %error, "the broker does not take an outbound step, trying again");
                }
                Err(error) => debug!(step = what, %error, "the broker still does not take it"),
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

    /// Makes the key of a request ours, or finds out whose it is. A call that another life of a
    /// bridge left under way is given its time, then ends as `uncertain`: never sent again.
    pub(super) async fn claim(
        &self,
        matter: &Matter<'_>,
        derived: bool,
        stop: &CancellationToken,
    ) -> Result<Claim, LetGo> {
        let key = Ledger::key(matter.account, matter.id);
        let publication = matter.published.publication;
        let patience = Patience::Until(stop);
        let read = || self.ledger.read(&key);
        let mut found = self.insist(patience, "ledger read", read).await?;
        loop {
            let (progress, revision) = match found {
                None => (Progress::default(), None),
                Some(Found { record, revision }) => match judge(record, publication, derived) {
                    Judgement::Duplicate => return Ok(Claim::Duplicate),
                    Judgement::Ended(done) => return Ok(Claim::Ended(done)),
                    Judgement::Free(progress) => (progress, Some(revision)),
                    Judgement::UnderWay { since, progress } => {
                        self.give_time(since, stop).await?;
                        found = self.insist(patience, "ledger read", read).await?;
                        if found.as_ref().map(|found| found.revision) != Some(revision) {
                            continue;
                        }
                        let done = Box::new(abandoned(matter, progress));
                        let record = Record {
                            publication,
                            state: State::Done(done.clone()),
                        };
                        match self.write(patience, &key, &record, Some(revision)).await? {
                            Written::Stands(_) => {
                                self.tell(&done.receipt);
                                return Ok(Claim::Ended(done));
                            }
                            Written::Overtaken(other) => found = Some(other),
                        }
                        continue;
                    }
                },
            };
            let state = State::Pending {
                owner: self.owner.clone(),
                progress: progress.clone(),
            };
            let record = Record { publication, state };
            match self.write(patience, &key, &record, revision).await? {
                Written::Stands(revision) => {
                    return Ok(Claim::Mine(Hold {
                        key,
                        publication,
                        revision,
                        progress,
                    }));
                }
                Written::Overtaken(other) => found = Some(other),
            }
        }
    }

    async fn give_time(&self, since: Timestamp, stop: &CancellationToken) -> Result<(), LetGo> {
        // Another machine's clock may be off: the wait never exceeds the whole span.
        let span = self.timings.call + self.timings.margin;
        let wait = since.after(span).since(Timestamp::now()).min(span);
        match stop.run_until_cancelled(tokio::time::sleep(wait)).await {
            Some(()) => Ok(()),
            None => Err(LetGo::Stopping),
        }
    }

    /// Writes that nothing is under way.
    pub(super) async fn pending(
        &self,
        hold: &mut Hold,
        patience: Patience<'_>,
    ) -> Result<(), LetGo> {
        let state = State::Pending {
            owner: self.owner.clone(),
            progress: hold.progress.clone(),
        };
        self.note(hold, state, patience).await
    }

    /// Writes that a call is about to leave; nothing leaves before this stands.
    pub(super) async fn sending(
        &self,
        hold: &mut Hold,
        stop: &CancellationToken,
    ) -> Result<(), LetGo> {
        let state = State::Sending {
            owner: self.owner.clone(),
            since: Timestamp::now(),
            progress: hold.progress.clone(),
        };
        self.note(hold, state, Patience::Until(stop)).await
    }

    async fn note(
        &self,
        hold: &mut Hold,
        state: State,
        patience: Patience<'_>,
    ) -> Result<(), LetGo> {
        let record = Record {
            publication: hold.publication,
            state,
        };
        let revision = Some(hold.revision);
        match self.write(patience, &hold.key, &record, revision).await? {
            Written::Stands(revision) => {
                hold.revision = revision;
                Ok(())
            }
            Written::Overtaken(_) => Err(LetGo::Overtaken),
        }
    }

    /// Writes the end of a request. When another bridge wrote an end first, that one counts.
    pub(super) async fn finish(&self, hold: &Hold, done: Done) -> Result<Box<Done>, LetGo> {
        let done = Box::new(done);
        let record = Record {
            publication: hold.publication,
            state: State::Done(done.clone()),
        };
        let revision = Some(hold.revision);
        match self
            .write(Patience::Always, &hold.key, &record, revision)
            .await?
        {
            Written::Stands(_) => {
                self.tell(&done.receipt);
                Ok(done)
            }
            Written::Overtaken(Found { record, .. }) => match record {
                Some(Record {
                    publication,
                    state: State::Done(other),
                }) if publication == hold.publication => Ok(other),
                _ => Err(LetGo::Overtaken),
            },
        }
    }

    async fn write(
        &self,
        patience: Patience<'_>,
        key: &str,
        record: &Record,
        revision: Option<u64>,
    ) -> Result<Written, LetGo> {
        let step = || self.ledger.write(key, record, revision);
        self.insist(patience, "ledger write", step).await
    }

    /// The one log line and the one count of a request that ended.
    fn tell(&self, receipt: &Receipt) {
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
            Ok(letter) if size(&letter) <= self.broker.max_payload() => Ok(letter),
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

/// Bytes of a message as the broker counts them.
pub(super) fn size(message: &Outgoing) -> usize {
    let headers: usize = message
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    message.payload.len() + headers + FRAMING
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

fn abandoned(matter: &Matter<'_>, mut progress: Progress) -> Done {
    progress.cost = progress.cost.saturating_add(1);
    let cause = Cause {
        code: "unknown-outcome".to_owned(),
        message: "the bridge stopped while the call was under way: it may or may not be visible"
            .to_owned(),
        cure: Some("look into the chat before publishing it again under a new id".to_owned()),
    };
    matter.ended(Outcome::Uncertain, progress, Some(cause))
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Failed => "failed",
        Outcome::Expired => "expired",
        Outcome::Uncertain => "uncertain",
    }
}

/// What a found record means for a publication.
#[derive(Debug, PartialEq)]
enum Judgement {
    Duplicate,
    Ended(Box<Done>),
    /// Nothing is under way: whoever wrote it, we go on.
    Free(Progress),
    /// A call may have left.
    UnderWay {
        since: Timestamp,
        progress: Progress,
    },
}

fn judge(record: Option<Record>, publication: Publication, derived: bool) -> Judgement {
    let Some(record) = record else {
        // Written by a bridge that we do not understand: it may have sent.
        return Judgement::UnderWay {
            since: publication.at,
            progress: Progress::default(),
        };
    };
    if record.publication != publication {
        // A key made from a sequence means another message once the stream was made anew.
        return if derived && record.publication.seq == publication.seq {
            Judgement::Free(Progress::default())
        } else {
            Judgement::Duplicate
        };
    }
    match record.state {
        State::Pending { progress, .. } => Judgement::Free(progress),
        State::Sending {
            since, progress, ..
        } => Judgement::UnderWay { since, progress },
        State::Done(done) => Judgement::Ended(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(seq: u64) -> Publication {
        Publication {
            seq,
            at: Timestamp::from_millis(1000),
        }
    }

    fn record(seq: u64, state: State) -> Option<Record> {
        let publication = publication(seq);
        Some(Record { publication, state })
    }

    fn pending(part: usize) -> State {
        let progress = Progress {
            part,
            ..Progress::default()
        };
        let owner = Owner::random();
        State::Pending { owner, progress }
    }

    #[test]
    fn what_is_pending_is_taken_over_where_it_stood() {
        let Judgement::Free(progress) = judge(record(4, pending(2)), publication(4), false) else {
            panic!("not free");
        };
        assert_eq!(progress.part, 2);
    }

    #[test]
    fn what_may_have_left_is_never_free() {
        let since = Timestamp::from_millis(5);
        let sending = State::Sending {
            owner: Owner::random(),
            since,
            progress: Progress::default(),
        };
        let progress = Progress::default();
        assert_eq!(
            judge(record(4, sending), publication(4), false),
            Judgement::UnderWay { since, progress }
        );
        assert!(matches!(
            judge(None, publication(4), false),
            Judgement::UnderWay { .. }
        ));
    }

    #[test]
    fn another_publication_under_the_same_key_is_a_duplicate() {
        let found = record(3, pending(0));
        assert_eq!(judge(found, publication(4), false), Judgement::Duplicate);
    }

    #[test]
    fn a_sequence_of_a_stream_that_was_made_anew_is_no_duplicate() {
        let mut found = record(4, pending(3));
        if let Some(record) = &mut found {
            record.publication.at = Timestamp::from_millis(1);
        }
        assert_eq!(
            judge(found.clone(), publication(4), true),
            Judgement::Free(Progress::default())
        );
        assert_eq!(judge(found, publication(4), false), Judgement::Duplicate);
    }
}
