//! Health as the parts of the bridge report it: what `/ready` and `dingtalk.status` say.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use crate::message::{AccountName, QuotaStanding, Timestamp};

/// State of one Stream connection slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
pub enum LinkState {
    /// Not open yet, or lost and being opened again.
    Down(String),
    /// Open.
    Up,
    /// Given up for now; retried slowly.
    Parked(String),
}

/// State of a part that the bridge needs beside its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
pub enum PartState {
    /// Works.
    Up,
    /// Does not, and why.
    Down(String),
}

/// What one account looks like.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AccountHealth {
    /// Paused by configuration.
    pub paused: bool,
    /// Whether it is a custom robot, which has no links.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sends_only: bool,
    /// Links by slot.
    pub links: BTreeMap<usize, LinkState>,
    /// Why sends are parked, when they are.
    pub sends_parked: Option<String>,
    /// When the last frame came in.
    pub last_frame_at: Option<Timestamp>,
    /// When the last request was sent.
    pub last_sent_at: Option<Timestamp>,
    /// Data frames read, by slot of the link.
    pub frames: BTreeMap<usize, u64>,
    /// How the account stands against its monthly quota, once something was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStanding>,
    /// What says that somebody else reads the account too, when something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<String>,
}

/// What is known of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaHealth {
    /// Its id, made at its start.
    pub id: String,
    /// Whether it is the one that says this.
    pub me: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// Its version.
    pub version: String,
    /// Its machine: a hash of the name.
    pub host: String,
    /// The accounts that it serves.
    pub accounts: Vec<AccountName>,
}

/// What the whole bridge looks like.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Everything is up.
    pub ready: bool,
    /// Parts: `broker`, `spool`, `inbound`, `outbound`.
    pub parts: BTreeMap<&'static str, PartState>,
    /// Accounts by name.
    pub accounts: BTreeMap<AccountName, AccountHealth>,
    /// Replicas that serve the same configuration, in the order of their ids.
    pub replicas: Vec<ReplicaHealth>,
}

#[derive(Debug, Default)]
struct Board {
    parts: BTreeMap<&'static str, PartState>,
    accounts: BTreeMap<AccountName, AccountHealth>,
    replicas: Vec<ReplicaHealth>,
}

/// The board on which the parts of one bridge write their state; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<Board>>);

impl Health {
    /// A board where `parts` are down until they report.
    pub fn new(parts: &[&'static str]) -> Self {
        let down = |name: &&'static str| (*name, PartState::Down("starting".to_owned()));
        let board = Board {
            parts: parts.iter().map(down).collect(),
            accounts: BTreeMap::new(),
            replicas: Vec::new(),
        };
        Self(Arc::new(RwLock::new(board)))
    }

    /// Reports a part; returns whether that changed anything.
    pub fn part(&self, name: &'static str, state: PartState) -> bool {
        self.write(|board| board.parts.insert(name, state.clone()) != Some(state))
    }

    /// Reports a link.
    pub fn link(&self, account: &AccountName, slot: usize, state: LinkState) {
        self.account(account, |health| {
            health.links.insert(slot, state);
        });
    }

    /// Changes what is written about an account, which is added when missing.
    pub fn account(&self, account: &AccountName, change: impl FnOnce(&mut AccountHealth)) {
        self.write(|board| change(board.accounts.entry(account.clone()).or_default()));
    }

    /// Says which replicas there are.
    pub fn replicas(&self, replicas: Vec<ReplicaHealth>) {
        self.write(|board| board.replicas = replicas);
    }

    /// Takes an account off the board.
    pub fn forget(&self, account: &AccountName) {
        self.write(|board| board.accounts.remove(account));
    }

    /// A copy of the board. Ready means: every part is up, and every account that is not paused has
    /// all of its links up and its sends go out.
    pub fn snapshot(&self) -> Snapshot {
        let board = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let up = |health: &AccountHealth| {
            health.paused
                || ((health.sends_only || !health.links.is_empty())
                    && health.links.values().all(|link| *link == LinkState::Up)
                    && health.sends_parked.is_none())
        };
        Snapshot {
            ready: board.parts.values().all(|part| *part == PartState::Up)
                && board.accounts.values().all(up),
            parts: board.parts.clone(),
            accounts: board.accounts.clone(),
            replicas: board.replicas.clone(),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
