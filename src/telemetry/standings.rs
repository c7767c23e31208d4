//! How every account stands against its monthly quota, as the fleet last counted it. Written in one
//! place, read wherever something may have to be held back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::message::{AccountName, Brake, QuotaStanding};

type Board = BTreeMap<AccountName, QuotaStanding>;

/// The standings of all accounts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Standings(Arc<watch::Sender<Board>>);

impl Default for Standings {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Board::new())))
    }
}

impl Standings {
    /// How `account` stands; fresh when nothing was counted yet.
    pub fn find(&self, account: &AccountName) -> QuotaStanding {
        self.0.borrow().get(account).copied().unwrap_or_default()
    }

    /// What `account` has to hold back.
    pub fn brake(&self, account: &AccountName) -> Brake {
        self.find(account).brake
    }

    /// Says how `account` stands now.
    pub fn set(&self, account: &AccountName, standing: QuotaStanding) {
        self.0.send_modify(|board| {
            board.insert(account.clone(), standing);
        });
    }

    /// DingTalk refuses every call of `account` until the month turns. Holds until [`Standings::set`]
    /// says otherwise.
    pub fn exhaust(&self, account: &AccountName) {
        self.0.send_modify(|board| {
            board.entry(account.clone()).or_default().brake = Brake::Exhausted;
        });
    }

    /// Forgets an account.
    pub fn forget(&self, account: &AccountName) {
        self.0.send_modify(|board| {
            board.remove(account);
        });
    }

    /// Hears of every change from now on.
    pub fn watch(&self) -> Watch {
        Watch(self.0.subscribe())
    }
}

/// Hears of changes of the standings.
#[derive(Debug)]
pub struct Watch(watch::Receiver<Board>);

impl Watch {
    /// Waits for the next change. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left to change anything.
            std::future::pending::<()>().await;
        }
    }
}
