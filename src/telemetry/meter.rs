//! Billed calls that are not yet in the shared count of the month. It knows no broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::labels::ApiFamily;
use crate::message::AccountName;

/// Calls by account and family.
type Counts = HashMap<(AccountName, ApiFamily), u64>;

/// Counts billed calls until they are taken; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Counts>>);

impl Meter {
    /// One more call.
    pub fn count(&self, account: &AccountName, family: ApiFamily) {
        let mut counts = self.counts();
        *counts.entry((account.clone(), family)).or_default() += 1;
    }

    /// Everything counted since the last time.
    pub fn take(&self) -> HashMap<(AccountName, ApiFamily), u64> {
        std::mem::take(&mut *self.counts())
    }

    /// Puts back what could not be added to the shared count.
    pub fn put_back(&self, account: &AccountName, family: ApiFamily, calls: u64) {
        let mut counts = self.counts();
        *counts.entry((account.clone(), family)).or_default() += calls;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
