//! How every account stands against its monthly quota, as the fleet last counted it. Written in one
//! place, read wherever something may have to be held back.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::message::{AccountName, Brake, QuotaStanding};

/// The standings of all accounts; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Standings(Arc<RwLock<BTreeMap<AccountName, QuotaStanding>>>);

impl Standings {
    /// How `account` stands; fresh when nothing was counted yet.
    pub fn find(&self, account: &AccountName) -> QuotaStanding {
        let standings = self.0.read().unwrap_or_else(PoisonError::into_inner);
        standings.get(account).copied().unwrap_or_default()
    }

    /// What `account` has to hold back.
    pub fn brake(&self, account: &AccountName) -> Brake {
        self.find(account).brake
    }

    /// Says how `account` stands now.
    pub fn set(&self, account: &AccountName, standing: QuotaStanding) {
        let mut standings = self.0.write().unwrap_or_else(PoisonError::into_inner);
        standings.insert(account.clone(), standing);
    }

    /// Forgets an account.
    pub fn forget(&self, account: &AccountName) {
        let mut standings = self.0.write().unwrap_or_else(PoisonError::into_inner);
        standings.remove(account);
    }
}
