//! Which accounts another replica should send for. Written by the fleet, followed by the pipelines.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::message::AccountName;

/// The accounts that belong to other replicas, and to which; cheap to clone. Until it is told
/// otherwise an account belongs here.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<RwLock<BTreeMap<AccountName, String>>>);

impl Seats {
    /// The other replica that should send for `account`, when one should.
    pub fn owner(&self, account: &AccountName) -> Option<String> {
        let elsewhere = self.0.read().unwrap_or_else(PoisonError::into_inner);
        elsewhere.get(account).cloned()
    }

    /// Says which accounts belong elsewhere.
    pub fn set(&self, accounts: BTreeMap<AccountName, String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }
}
