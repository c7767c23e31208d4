//! The replicas of the fleet: what each one tells about itself, and the roll of those that live.
//! Pure: it reads and writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::message::{AccountName, Timestamp};
use crate::telemetry::ReplicaHealth;

/// How the keys of replicas begin.
const KEY: &str = "replica:";

/// What one replica tells about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Member {
    /// When it started.
    pub(super) started_at: Timestamp,
    /// Its version.
    pub(super) version: String,
    /// Its machine: a hash of the name.
    pub(super) host: String,
    /// The accounts that it serves.
    pub(super) accounts: BTreeMap<AccountName, Service>,
}

/// How a replica serves one account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    /// The client id, hashed.
    pub(super) client: String,
    /// Whether it sends for it.
    pub(super) sends: bool,
    /// Stream connections that it opens.
    pub(super) connections: usize,
    /// Data frames of the connections that are up, by slot.
    pub(super) frames: BTreeMap<usize, u64>,
}

/// The replicas that live, by id.
pub(super) type Roll = BTreeMap<String, Member>;

/// The key of a replica.
pub(super) fn key(id: &str) -> String {
    format!("{KEY}{id}")
}

/// Reads one entry of a bucket; `None` when it is not about a replica.
pub(super) fn read(key: &str, value: &[u8]) -> Option<(String, Member)> {
    let id = key.strip_prefix(KEY)?;
    Some((id.to_owned(), serde_json::from_slice(value).ok()?))
}

/// The replicas as they are shown.
pub(super) fn shown(roll: &Roll, me: &str) -> Vec<ReplicaHealth> {
    let health = |(id, member): (&String, &Member)| ReplicaHealth {
        id: id.clone(),
        me: id == me,
        started_at: member.started_at,
        version: member.version.clone(),
        host: member.host.clone(),
        accounts: member.accounts.keys().cloned().collect(),
    };
    roll.iter().map(health).collect()
}

/// Which replica each account belongs to: by rendezvous hashing, and none gets more than its even
/// share, so that a few accounts are spread as well as many. Every replica that sees the same roll
/// finds the same.
pub(super) fn spread(roll: &Roll) -> BTreeMap<AccountName, String> {
    let mut served: BTreeMap<&AccountName, BTreeSet<&String>> = BTreeMap::new();
    for (id, member) in roll {
        for (account, service) in &member.accounts {
            if service.sends {
                served.entry(account).or_default().insert(id);
            }
        }
    }
    let most = served.len().div_ceil(roll.len().max(1));
    let mut held: BTreeMap<&String, usize> = BTreeMap::new();
    let mut spread = BTreeMap::new();
    for (account, replicas) in served {
        let mut ranked: Vec<&String> = replicas.into_iter().collect();
        ranked.sort_by_key(|id| std::cmp::Reverse(score(account, id)));
        let room = |id: &&&String| held.get(**id).is_none_or(|held| *held < most);
        // Where all are full the first one takes it: not every replica serves every account.
        let owner = ranked.iter().find(room).or(ranked.first()).copied();
        if let Some(owner) = owner {
            *held.entry(owner).or_default() += 1;
            spread.insert(account.clone(), owner.clone());
        }
    }
    spread
}

/// FNV-1a with a last mix: any hash does, as long as all replicas have the same.
fn score(account: &AccountName, id: &str) -> u64 {
    let bytes = account.as_str().bytes().chain([0]).chain(id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(replicas: &[&str], accounts: usize) -> Roll {
        let service = Service {
            sends: true,
            ..Service::default()
        };
        let member = || Member {
            started_at: Timestamp::from_millis(1),
            version: "0.1.0".to_owned(),
            host: "h".to_owned(),
            accounts: (0..accounts)
                .map(|n| AccountName::parse(&format!("a{n}")).unwrap())
                .map(|name| (name, service.clone()))
                .collect(),
        };
        let entry = |id: &&str| ((*id).to_owned(), member());
        replicas.iter().map(entry).collect()
    }

    #[test]
    fn accounts_are_spread_evenly_and_few_move_when_a_replica_comes() {
        for accounts in 1..40 {
            let before = spread(&roll(&["r1", "r2"], accounts));
            let after = spread(&roll(&["r1", "r2", "r3"], accounts));
            assert_eq!((before.len(), after.len()), (accounts, accounts));
            for (owners, replicas) in [(&before, 2), (&after, 3)] {
                let mut held: BTreeMap<&String, usize> = BTreeMap::new();
                owners
                    .values()
                    .for_each(|id| *held.entry(id).or_default() += 1);
                assert!(
                    held.values()
                        .all(|held| *held <= accounts.div_ceil(replicas))
                );
            }
            let moved = before.iter().filter(|(name, id)| after[*name] != **id);
            assert!(moved.count() <= accounts * 2 / 3 + 1, "{accounts} accounts");
        }
    }

    #[test]
    fn an_account_belongs_to_one_that_sends_for_it() {
        let mut roll = roll(&["r1", "r2", "r3"], 3);
        for id in ["r1", "r3"] {
            for service in roll.get_mut(id).unwrap().accounts.values_mut() {
                service.sends = false;
            }
        }
        let owners = spread(&roll);
        assert!(owners.len() == 3 && owners.values().all(|id| id == "r2"));
        assert!(spread(&Roll::new()).is_empty());
    }

    #[test]
    fn what_is_not_about_a_replica_is_left_out() {
        let (id, member) = roll(&["r1"], 2).pop_first().unwrap();
        let value = serde_json::to_vec(&member).unwrap();
        assert_eq!(read(&key(&id), &value), Some((id, member)));
        assert_eq!(read("pace:sales", &value), None);
        assert_eq!(read("replica:x", b"{}"), None);
    }
}
