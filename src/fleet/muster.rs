//! The muster: again and again this replica says that it lives, reads who else does, and settles with
//! them who sends for which account and how fast.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::foreign::Watchman;
use super::member::{self, Duty, Member, Roll};
use super::purse::Purse;
use super::roster::{Charge, Roster, fingerprint};
use crate::broker::{Broker, BrokerError, Bucket, Entry, KeyValue};
use crate::dingtalk::api::{Paces, SharedLane, Use};
use crate::message::{AccountName, Timestamp};
use crate::telemetry::{AccountHealth, Health, LinkState, Metrics, Seats};

/// How often the others are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How soon that is done again when a lane asks for it.
const SOON: Duration = Duration::from_millis(200);
/// How often this replica says that it lives.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How long the others believe it.
const LIFE: Duration = Duration::from_secs(6);
/// How long an account has to belong elsewhere before it is left, give or take.
const STABLE: Duration = Duration::from_secs(10);
/// Most that is added to it at random, so that replicas do not move in step.
const JITTER_MS: u64 = 3000;
/// How often bridges of other configurations are looked for.
const NEIGHBOURS_EVERY: Duration = Duration::from_secs(15);
/// The same after some of them could not be looked at: without rights over them every look is a refusal
/// in the log of the broker.
const HIDDEN_FOR: Duration = Duration::from_secs(600);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a lane counts as short after it was.
const SHORT_FOR: Duration = Duration::from_secs(3);
/// How often a purse is settled anew when others settle at the same time.
const TRIES: usize = 6;
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// This replica among the others.
pub(super) struct Muster {
    me: String,
    broker: Broker,
    bucket: KeyValue,
    roster: Roster,
    paces: Paces,
    seats: Seats,
    metrics: Metrics,
    health: Health,
    watchman: Watchman,
    started_at: Timestamp,
    host: String,
    told_at: Option<Instant>,
    neighbours_at: Instant,
    /// To whom an account belongs that does not belong here, and from when on it is left.
    leaving: BTreeMap<AccountName, (String, Instant)>,
    /// Until when a lane counts as short.
    short: HashMap<(AccountName, &'static str), Instant>,
    /// Who was there last time.
    known: BTreeSet<String>,
}

impl Muster {
    pub(super) fn new(
        (me, broker): (String, Broker),
        (roster, paces, seats): (Roster, Paces, Seats),
        (metrics, health): (Metrics, Health),
        watchman: Watchman,
    ) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            bucket: broker.bucket(Bucket::Fleet),
            started_at: Timestamp::now(),
            host: fingerprint(host.trim()),
            told_at: None,
            neighbours_at: Instant::now() + EVERY,
            leaving: BTreeMap::new(),
            short: HashMap::new(),
            known: BTreeSet::new(),
            me,
            broker,
            roster,
            paces,
            seats,
            metrics,
            health,
            watchman,
        }
    }

    /// Takes part until `stop`, then says goodbye.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut next = Instant::now();
        loop {
            let nudged = async {
                self.paces.nudged().await;
                sleep_until(next - EVERY + SOON).await;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
                () = nudged => {}
            }
            next = Instant::now() + EVERY;
            let looking = timeout(LOOK_TIMEOUT, self.turn());
            match stop.run_until_cancelled(looking).await {
                Some(Ok(Ok(()))) | None => {}
                Some(Ok(Err(error))) => debug!(%error, "the other replicas are not heard of"),
                Some(Err(_)) => debug!("the other replicas are not heard of in time"),
            }
        }
        let _ = timeout(FAREWELL, self.bucket.delete(&member::key(&self.me))).await;
    }

    async fn turn(&mut self) -> Result<(), BrokerError> {
        let charges = self.roster.all();
        let member = self.member(&charges);
        if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let value = serde_json::to_vec(&member).unwrap_or_default();
            let until = Timestamp::now().after(LIFE);
            let key = member::key(&self.me);
            self.bucket.put_until(&key, value.into(), until).await?;
            self.told_at = Some(Instant::now());
        }
        let entries = self.bucket.entries().await?;
        let read = |(key, entry): &(String, Entry)| member::read(key, &entry.value);
        let mut roll: Roll = entries.iter().filter_map(read).collect();
        roll.insert(self.me.clone(), member);
        self.show(&roll);
        self.take_seats(&charges, &roll);
        let entries: HashMap<String, Entry> = entries.into_iter().collect();
        self.share_paces(&roll, &entries).await?;
        if self.neighbours_at <= Instant::now() {
            self.neighbours_at = Instant::now() + NEIGHBOURS_EVERY;
            let neighbours = self.broker.neighbours().await?;
            if !neighbours.hidden.is_empty() {
                self.neighbours_at = Instant::now() + HIDDEN_FOR;
                let hidden = neighbours.hidden.join(", ");
                debug!(
                    nats.buckets = hidden,
                    "no rights over buckets of other bridges"
                );
            }
            let entries = neighbours.entries.iter();
            let read = |(key, entry): &(String, Entry)| member::read(key, &entry.value);
            self.watchman.neighbours = entries.filter_map(read).collect();
        }
        self.watchman.look(&charges, &roll).await;
        Ok(())
    }

    /// What this replica tells about itself.
    fn member(&self, charges: &BTreeMap<AccountName, Charge>) -> Member {
        let board = self.health.snapshot().accounts;
        let duty = |(account, charge): (&AccountName, &Charge)| {
            let frames = board.get(account).map(frames).unwrap_or_default();
            let duty = Duty {
                client: charge.client.clone(),
                sends: charge.sends,
                connections: charge.connections,
                frames,
            };
            (account.clone(), duty)
        };
        Member {
            started_at: self.started_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            accounts: charges.iter().map(duty).collect(),
        }
    }

    fn show(&mut self, roll: &Roll) {
        let live: BTreeSet<String> = roll.keys().cloned().collect();
        for id in live.difference(&self.known).filter(|id| **id != self.me) {
            info!(replica = %id, replicas = live.len(), "another replica is there");
        }
        for id in self.known.difference(&live) {
            info!(replica = %id, replicas = live.len(), "a replica is gone");
        }
        self.known = live;
        self.metrics.replicas(roll.len());
        self.health.replicas(member::shown(roll, &self.me));
    }

    /// Finds out which accounts have belonged elsewhere for long enough.
    fn take_seats(&mut self, charges: &BTreeMap<AccountName, Charge>, roll: &Roll) {
        let now = Instant::now();
        let owners = member::spread(roll);
        let elsewhere = |account: &AccountName| {
            let owner = owners.get(account).filter(|owner| **owner != self.me);
            owner.map(|owner| (account.clone(), owner.clone()))
        };
        let wanted: Vec<(AccountName, String)> = charges.keys().filter_map(elsewhere).collect();
        let mut leaving = BTreeMap::new();
        for (account, owner) in wanted {
            let known = self.leaving.get(&account);
            let at = match known.filter(|(known, _)| *known == owner) {
                Some((_, at)) => *at,
                None => now + STABLE + Duration::from_millis(fastrand::u64(..=JITTER_MS)),
            };
            leaving.insert(account, (owner, at));
        }
        self.leaving = leaving;
        let due = self.leaving.iter().filter(|(_, (_, at))| *at <= now);
        self.seats.set(
            due.map(|(account, (owner, _))| (account.clone(), owner.clone()))
                .collect(),
        );
    }

    /// Settles the pace of every account with the others that serve it.
    async fn share_paces(
        &mut self,
        roll: &Roll,
        entries: &HashMap<String, Entry>,
    ) -> Result<(), BrokerError> {
        let mut accounts: BTreeMap<AccountName, Vec<(&'static str, SharedLane)>> = BTreeMap::new();
        for ((account, name), lane) in self.paces.lanes() {
            accounts.entry(account).or_default().push((name, lane));
        }
        for (account, lanes) in accounts {
            let serves = |member: &Member| member.accounts.contains_key(&account);
            let live: BTreeSet<String> = roll
                .iter()
                .filter(|(id, member)| **id == self.me || serves(member))
                .map(|(id, _)| id.clone())
                .collect();
            let key = format!("pace:{account}");
            let uses = lanes
                .iter()
                .map(|(name, lane)| self.usage((&account, name), lane))
                .collect::<Vec<Use>>();
            let lanes: Vec<(&str, &SharedLane, Use)> = lanes
                .iter()
                .zip(uses)
                .map(|((name, lane), usage)| (*name, lane, usage))
                .collect();
            let known = entries.get(&key).cloned();
            self.settle(&key, known, &live, &lanes).await?;
        }
        Ok(())
    }

    /// How a lane is used, counting it as short for a while after it was.
    fn usage(&mut self, (account, name): (&AccountName, &'static str), lane: &SharedLane) -> Use {
        let usage = lane.usage();
        let now = Instant::now();
        let key = (account.clone(), name);
        if usage.hungry {
            self.short.insert(key, now + SHORT_FOR);
            return usage;
        }
        let hungry = self.short.get(&key).is_some_and(|until| *until > now);
        if !hungry {
            self.short.remove(&key);
        }
        Use { hungry, ..usage }
    }

    async fn settle(
        &self,
        key: &str,
        mut known: Option<Entry>,
        live: &BTreeSet<String>,
        lanes: &[(&str, &SharedLane, Use)],
    ) -> Result<(), BrokerError> {
        for _ in 0..TRIES {
            let before = known.as_ref().map(|entry| Purse::decode(&entry.value));
            let unused = before.is_none();
            let before = before.unwrap_or_default();
            let mut after = before.clone();
            for (name, lane, usage) in lanes {
                let shares = after.lanes.entry((*name).to_owned()).or_default();
                if let Some(learned) = &shares.learned {
                    lane.adopt(learned);
                }
                shares.settle((&self.me, live), *usage, lane.learned());
                // What is given up is given up before anybody hears of it.
                if shares.held(&self.me) < usage.held {
                    lane.hold(shares.held(&self.me), live.len());
                }
            }
            if after != before {
                let written = match &known {
                    Some(entry) => {
                        let revision = entry.revision;
                        self.bucket.update(key, after.encode(), revision).await
                    }
                    None => self.bucket.create(key, after.encode()).await,
                };
                match written {
                    Ok(_) => {}
                    Err(BrokerError::Conflict) => {
                        known = self.bucket.read(key).await?;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            for (name, lane, _) in lanes {
                let shares = after.lanes.get(*name);
                let held = shares.map_or(0, |shares| shares.held(&self.me));
                if unused {
                    lane.own(held);
                }
                lane.hold(held, live.len());
            }
            return Ok(());
        }
        Ok(())
    }
}

/// The frames of the connections that are up.
fn frames(health: &AccountHealth) -> BTreeMap<usize, u64> {
    let up = health.links.iter();
    up.filter(|(_, state)| **state == LinkState::Up)
        .map(|(slot, _)| (*slot, health.frames.get(slot).copied().unwrap_or_default()))
        .collect()
}
