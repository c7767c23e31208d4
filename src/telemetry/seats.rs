//! Which accounts another replica should send for. Written by the fleet, followed by the pipelines.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::message::AccountName;

/// The accounts that belong to other replicas; cheap to clone. Until it is told otherwise an account
/// belongs here.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<RwLock<BTreeSet<AccountName>>>);

impl Seats {
    /// Whether another replica should send for `account`.
    pub fn is_elsewhere(&self, account: &AccountName) -> bool {
        let elsewhere = self.0.read().unwrap_or_else(PoisonError::into_inner);
        elsewhere.contains(account)
    }

    /// Says which accounts belong elsewhere.
    pub fn set(&self, accounts: BTreeSet<AccountName>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }
}
