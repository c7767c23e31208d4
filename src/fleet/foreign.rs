//! Signs of somebody outside the fleet who reads the same app. DingTalk spreads the messages of an
//! app over all of its connections (expectations.md, F7), so a forgotten process takes its part of
//! them and nobody is told.
//!
//! Two signs can be seen. Another bridge in the same NATS account, under another prefix or account
//! name, writes its app into a bucket of replicas. And a connection of the fleet that gets far less
//! than its share has probably been pushed aside by a newer one, or DingTalk believes in it no more.
//!
//! What cannot be seen: a stranger at another broker, or of another make, that takes an even share.
//! DingTalk tells nobody how many connections an app has or how many messages there were, and what is
//! left is still spread evenly over ours.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::member::{Member, Roll};
use super::notice::Notices;
use super::roster::Charge;
use crate::message::{AccountName, ForeignSign, ForeignStatus, Status, Timestamp};
use crate::telemetry::Health;

/// A connection gets far less than its share below this part of it.
const FAR_LESS: f64 = 0.25;
/// Chance, for one connection that is treated as all others, of getting so little all the same.
const CHANCE: f64 = 1e-9;
/// Longest time over which shares are compared.
const SAMPLE: Duration = Duration::from_secs(3600);
/// How often the same sign is said aloud.
const AGAIN: Duration = Duration::from_secs(3600);

/// One connection of the fleet: replica and slot.
type Connection = (String, usize);

/// What is watched, over time.
pub(super) struct Watchman {
    pub(super) me: String,
    pub(super) health: Health,
    pub(super) notices: Notices,
    /// Where the counters of each connection stood when the sample began.
    pub(super) samples: BTreeMap<AccountName, Sample>,
    /// When each sign was last said aloud.
    pub(super) said: BTreeMap<(AccountName, ForeignSign), Instant>,
    /// Bridges of other configurations, as last seen.
    pub(super) neighbours: Vec<(String, Member)>,
}

/// The frames of one account since some moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    since: Instant,
    base: BTreeMap<Connection, u64>,
}

impl Watchman {
    /// Looks at everything that is known now and reports what is new.
    pub(super) async fn look(&mut self, charges: &BTreeMap<AccountName, Charge>, roll: &Roll) {
        self.samples
            .retain(|account, _| charges.contains_key(account));
        for (account, charge) in charges {
            let replica = self.stranger(account, charge, roll);
            let share = self.deprived(account, roll);
            let signs = [(ForeignSign::Replica, replica), (ForeignSign::Share, share)];
            let detail = signs.iter().find_map(|(_, detail)| detail.clone());
            self.health
                .account(account, |health| health.foreign = detail);
            for (sign, detail) in signs {
                if let Some(detail) = detail {
                    self.report(account, sign, detail).await;
                }
            }
        }
    }

    /// Another bridge with the same app.
    fn stranger(&self, account: &AccountName, charge: &Charge, roll: &Roll) -> Option<String> {
        let serves = |member: &Member, all: bool| {
            let mut accounts = member.accounts.iter();
            accounts
                .any(|(name, service)| service.client == charge.client && (all || name != account))
        };
        let elsewhere = self.neighbours.iter().map(|(id, member)| (id, member));
        let elsewhere = elsewhere.filter(|(_, member)| serves(member, true));
        let here = roll.iter().filter(|(_, member)| serves(member, false));
        let (id, member) = elsewhere.chain(here).next()?;
        Some(format!(
            "bridge {id} on machine {} serves the same app under another prefix or account name: each gets \
             a part of the messages; stop one of them or give both the same configuration",
            member.host
        ))
    }

    /// A connection of this replica that gets far less than its share.
    fn deprived(&mut self, account: &AccountName, roll: &Roll) -> Option<String> {
        let now = Instant::now();
        let counts: BTreeMap<Connection, u64> = roll
            .iter()
            .filter_map(|(id, member)| Some((id, member.accounts.get(account)?)))
            .flat_map(|(id, service)| {
                let frames = service.frames.iter();
                frames.map(|(slot, frames)| ((id.clone(), *slot), *frames))
            })
            .collect();
        let fresh = || Sample {
            since: now,
            base: counts.clone(),
        };
        let sample = self.samples.entry(account.clone()).or_insert_with(fresh);
        let same = sample.base.keys().eq(counts.keys())
            && sample
                .base
                .iter()
                .all(|(key, base)| counts.get(key) >= Some(base));
        if !same || now.duration_since(sample.since) > SAMPLE {
            *sample = fresh();
        }
        let base = |key: &Connection| sample.base.get(key).copied().unwrap_or_default();
        let got: BTreeMap<Connection, u64> = counts
            .into_iter()
            .map(|(key, frames)| {
                let got = frames - base(&key);
                (key, got)
            })
            .collect();
        let total: u64 = got.values().sum();
        let own = |(id, _): &Connection| *id == self.me;
        let poor = deprived(&got).into_iter().find(own)?;
        let frames = got.get(&poor).copied().unwrap_or_default();
        Some(format!(
            "link {} got {frames} of {total} messages over {} links: somebody else may read this app, or \
             dingtalk has given the link up; look for a forgotten process with the same Client ID",
            poor.1,
            got.len()
        ))
    }

    async fn report(&mut self, account: &AccountName, sign: ForeignSign, detail: String) {
        let key = (account.clone(), sign);
        let now = Instant::now();
        let due = |at: &Instant| now.duration_since(*at) >= AGAIN;
        if !self.said.get(&key).is_none_or(due) {
            return;
        }
        self.said.insert(key, now);
        warn!(dingtalk.account = %account, detail, "somebody outside the fleet reads the account");
        let at = Timestamp::now();
        let id = format!("foreign:{account}:{}:{sign:?}:{at}", self.me);
        let status = Status::ForeignReplica(ForeignStatus { sign, detail, at });
        self.notices.say(account, &id, &status).await;
    }
}

/// The connections that got far less than an even share, as far as chance can be ruled out. Of few
/// messages nothing is said.
fn deprived(got: &BTreeMap<Connection, u64>) -> Vec<Connection> {
    let total: u64 = got.values().sum();
    if got.len() < 2 || total == 0 {
        return Vec::new();
    }
    // Counts are far below what a float holds exactly.
    let (total, links) = (total as f64, got.len() as f64);
    let even = 1.0 / links;
    let poor = |frames: f64| {
        let share = frames / total;
        share < even * FAR_LESS && -total * divergence(share, even) < (CHANCE / links).ln()
    };
    let poor = got.iter().filter(|(_, frames)| poor(**frames as f64));
    poor.map(|(key, _)| key.clone()).collect()
}

/// Chernoff's bound: the chance that of `n` messages, each of which comes with chance `even`, a part
/// of `share` or less comes is at most `exp(-n * divergence)`.
fn divergence(share: f64, even: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    term(share, even) + term(1.0 - share, 1.0 - even)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(frames: &[u64]) -> BTreeMap<Connection, u64> {
        let link = |(slot, frames): (usize, &u64)| (("r1".to_owned(), slot), *frames);
        frames.iter().enumerate().map(link).collect()
    }

    #[test]
    fn a_link_that_gets_nothing_is_found_once_there_is_enough_to_tell() {
        assert!(deprived(&links(&[0, 20])).is_empty());
        assert_eq!(deprived(&links(&[0, 40])), [("r1".to_owned(), 0)]);
        assert_eq!(deprived(&links(&[100, 90, 110, 2])), [("r1".to_owned(), 3)]);
        assert!(deprived(&links(&[0, 0])).is_empty());
        assert!(deprived(&links(&[500])).is_empty());
    }

    #[test]
    fn links_that_get_what_chance_gives_them_are_left_alone() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut frames = [0; 4];
            for _ in 0..300 {
                frames[random.usize(0..4)] += 1;
                assert!(deprived(&links(&frames)).is_empty(), "{frames:?}");
            }
        }
    }
}
