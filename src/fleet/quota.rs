//! The shared count of billed calls: what this replica made is added to the book of the month, and
//! what stands there is told to everybody who may have to hold something back.
//!
//! A replica that is killed takes the calls of its last second with it; that is the whole error.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::book::{Book, Posting};
use super::month::Span;
use super::notice::Notices;
use super::roster::Roster;
use crate::broker::{BrokerError, KeyValue};
use crate::message::{AccountName, Brake, QuotaStanding, QuotaStatus, Status, Timestamp};
use crate::telemetry::{Health, Metrics, Standings, Tally};

/// How often the count is shared.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last time may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often one posting is tried when others write at the same time.
const TRIES: usize = 8;

/// The quota of all accounts.
pub(super) struct Quota {
    pub(super) bucket: KeyValue,
    pub(super) roster: Roster,
    pub(super) standings: Standings,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) notices: Notices,
    /// Who writes.
    pub(super) writer: String,
    /// What could not be added yet, under the mark that it was tried with.
    pub(super) open: HashMap<AccountName, (i64, Tally)>,
    /// The last mark that was given.
    pub(super) mark: i64,
    /// What was last said of each account.
    pub(super) said: BTreeMap<AccountName, Brake>,
}

impl Quota {
    /// Shares the count every second until `stop`, and then once more.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sharing = async {
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                self.turn().await;
            }
            self.turn().await;
        };
        // A broker that is away does not hold up the stop, a turn under way neither.
        let farewell = async {
            stop.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::select! {
            () = sharing => {}
            () = farewell => {}
        }
    }

    async fn turn(&mut self) {
        let mut tallies = self.metrics.meter().take();
        let mut limits: BTreeMap<AccountName, Option<u64>> = BTreeMap::new();
        for (account, charge) in self.roster.all() {
            limits.insert(account, charge.limit);
        }
        // An account that was removed a moment ago may have called until then.
        for account in tallies.keys().chain(self.open.keys()) {
            limits.entry(account.clone()).or_default();
        }
        for (account, limit) in limits {
            let tally = tallies.remove(&account);
            match self.share(&account, limit, tally).await {
                Ok(standing) => {
                    self.standings.set(&account, standing);
                    self.metrics.meter().settle(&account);
                    self.show(&account, standing).await;
                }
                Err(error) => {
                    debug!(%error, dingtalk.account = %account, "quota not shared, tried again");
                    if matches!(error, BrokerError::Away(_)) {
                        // The others would wait as long, one after another.
                        break;
                    }
                }
            }
        }
        for (account, tally) in tallies {
            self.metrics.meter().put_back(&account, tally);
        }
    }

    /// Adds what was made and reads what all made together. What cannot be added stays open, and is
    /// added once, whatever became of the tries whose answers were lost.
    async fn share(
        &mut self,
        account: &AccountName,
        limit: Option<u64>,
        tally: Option<Tally>,
    ) -> Result<QuotaStanding, BrokerError> {
        let now = Timestamp::now();
        let key = format!("{account}:{}", Span::of(now));
        if let Some((mark, open)) = self.open.get(account) {
            let posting = Posting {
                writer: &self.writer,
                mark: *mark,
                tally: open,
                limit,
            };
            let posted = self.post(&key, &posting).await;
            if let Err(error) = posted {
                self.metrics
                    .meter()
                    .put_back(account, tally.unwrap_or_default());
                return Err(error);
            }
            self.open.remove(account);
        }
        let Some(tally) = tally else {
            let entry = self.bucket.read(&key).await?;
            let book = entry.map(|entry| Book::decode(&entry.value));
            return Ok(book.unwrap_or_default().standing(limit, now));
        };
        self.mark = now.as_millis().max(self.mark + 1);
        let posting = Posting {
            writer: &self.writer,
            mark: self.mark,
            tally: &tally,
            limit,
        };
        match self.post(&key, &posting).await {
            Ok(book) => Ok(book.standing(limit, now)),
            Err(error) => {
                self.open.insert(account.clone(), (self.mark, tally));
                Err(error)
            }
        }
    }

    async fn post(&self, key: &str, posting: &Posting<'_>) -> Result<Book, BrokerError> {
        for _ in 0..TRIES {
            let entry = self.bucket.read(key).await?;
            let mut book = Book::default();
            if let Some(entry) = &entry {
                book = Book::decode(&entry.value);
                if book.holds(posting) {
                    return Ok(book);
                }
            }
            book.add(posting);
            let written = match entry {
                Some(entry) => self.bucket.update(key, book.encode(), entry.revision).await,
                None => self.bucket.create(key, book.encode()).await,
            };
            match written {
                Ok(_) => return Ok(book),
                Err(BrokerError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(BrokerError::Conflict)
    }

    /// Tells how an account stands, and says aloud when its brake changes.
    async fn show(&mut self, account: &AccountName, standing: QuotaStanding) {
        let served = self.roster.all().contains_key(account);
        if !served {
            return;
        }
        self.metrics.quota(account, &standing);
        self.health
            .account(account, |health| health.quota = Some(standing));
        let before = self.said.insert(account.clone(), standing.brake);
        let before = before.unwrap_or_default();
        if before == standing.brake {
            return;
        }
        let (used, limit, brake) = (standing.used, standing.limit, standing.brake.as_str());
        if standing.brake > before {
            warn!(dingtalk.account = %account, used, limit, forecast = standing.forecast, brake, "monthly quota runs short");
        } else {
            info!(dingtalk.account = %account, used, limit, brake, "monthly quota lasts again");
        }
        let now = Timestamp::now();
        let month = Span::of(now).to_string();
        let hour = now.as_millis() / 3_600_000;
        let id = format!(
            "quota:{account}:{month}:{brake}:{}:{hour}",
            limit.unwrap_or_default()
        );
        let status = Status::Quota(QuotaStatus {
            month,
            used,
            limit,
            forecast: standing.forecast,
            brake: standing.brake,
            at: now,
        });
        self.notices.say(account, &id, &status).await;
    }
}
