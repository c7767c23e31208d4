//! Ends requests for accounts that no bridge serves: they must not wait in silence.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{Broker, Stray};
use crate::message::{AccountName, DeadReason, OutboundAddress, Subjects};
use crate::telemetry::Metrics;

use super::desk::{Desk, LetGo, Patience};
use super::ledger::Publication;
use super::mover::{nobody, refuse};
use super::receipt::{Matter, Published};
use super::resolve::{self, Form, Refusal};
use super::served::Served;
use super::timings::Timings;

/// Requests that one look takes up.
const BATCH: usize = 100;

/// The sweep of one bridge. Several bridges may sweep at the same time: the ledger and the receipt
/// subject see to it that each request ends once.
#[derive(Debug)]
pub struct Strays {
    desk: Desk,
    served: Served,
    /// Since when nobody takes the requests of an account, as far as the last look knows.
    since: HashMap<AccountName, Instant>,
}

impl Strays {
    /// Puts the sweep together. What is for an account that is `served` here is left alone: its consumer
    /// is being made.
    pub fn new(
        broker: &Broker,
        subjects: Subjects,
        served: Served,
        metrics: Metrics,
        timings: Timings,
    ) -> Self {
        Self {
            desk: Desk::new(broker, subjects, metrics, timings),
            served,
            since: HashMap::new(),
        }
    }

    /// Looks every [`Timings::sweep`] until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = interval(self.desk.timings.sweep.max(Duration::from_millis(1)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            let found = stop.run_until_cancelled(self.desk.broker.unserved(BATCH));
            match found.await {
                Some(Ok(strays)) => {
                    let _: Result<(), LetGo> = self.looked(strays, &stop).await;
                }
                Some(Err(error)) => debug!(%error, "looking for unserved requests failed"),
                None => break,
            }
        }
    }

    /// Ends what was found again and again for long enough: a consumer that was lost is made anew in less.
    async fn looked(&mut self, strays: Vec<Stray>, stop: &CancellationToken) -> Result<(), LetGo> {
        let now = Instant::now();
        let mut since = HashMap::new();
        for stray in strays {
            let (account, refusal) = self.judge(&stray.subject);
            if self.served.has(&account) && refusal.reason == DeadReason::Unserved {
                continue;
            }
            let first = self.since.get(&account).copied().unwrap_or(now);
            since.insert(account.clone(), first);
            if now.duration_since(first) >= self.desk.timings.stray_age {
                self.end(stray, (account, refusal), stop).await?;
            }
        }
        self.since = since;
        Ok(())
    }

    async fn end(
        &self,
        stray: Stray,
        (account, refusal): (AccountName, Refusal),
        stop: &CancellationToken,
    ) -> Result<(), LetGo> {
        if stray.is_wake() {
            return self.remove(&stray, stop).await;
        }
        let published = Published {
            subject: stray.subject.clone(),
            headers: stray.headers.clone(),
            payload: stray.payload.clone(),
            publication: Publication {
                seq: stray.sequence,
                at: stray.published_at,
            },
        };
        let sequence = published.publication.seq;
        let (headers, payload) = (&published.headers, &published.payload);
        let key = resolve::read(headers, payload, sequence, Form::Canonical).key;
        let matter = Matter {
            account: &account,
            id: &key.id,
            published: &published,
            subject: (refusal.reason == DeadReason::Unserved).then_some(published.subject.as_str()),
        };
        refuse(&self.desk, &matter, (&key, &refusal), stop).await?;
        self.remove(&stray, stop).await?;
        warn!(dingtalk.account = %account, nats.sequence = sequence, "request that no bridge takes was given up");
        Ok(())
    }

    async fn remove(&self, stray: &Stray, stop: &CancellationToken) -> Result<(), LetGo> {
        let step = || self.desk.broker.remove_request(stray);
        let patience = Patience::Until(stop);
        self.desk.insist(patience, "unserved request", step).await
    }

    /// Whom a request was meant for, and why nobody takes it.
    fn judge(&self, subject: &str) -> (AccountName, Refusal) {
        match self.desk.subjects.parse_outbound(subject) {
            Ok(OutboundAddress::Canonical { account, .. } | OutboundAddress::Account(account)) => {
                let detail = format!(
                    "no bridge serves account `{account}`; correct the subject, or add the account to the configuration"
                );
                (account, Refusal::new(DeadReason::Unserved, detail))
            }
            Ok(OutboundAddress::Bare) => {
                let detail = "no bridge takes requests without an account";
                (nobody(), Refusal::new(DeadReason::Unserved, detail))
            }
            Err(error) => {
                let root = format!("{}.", self.desk.subjects.branch("outbound"));
                let account = subject
                    .strip_prefix(&root)
                    .and_then(|rest| rest.split('.').next())
                    .and_then(|token| AccountName::parse(token).ok());
                let refusal = Refusal::new(DeadReason::Target, error.to_string());
                (account.unwrap_or_else(nobody), refusal)
            }
        }
    }
}
