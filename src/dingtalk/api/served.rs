//! The accounts whose Open API is at hand now, for the parts that serve all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Api;
use crate::message::AccountName;

/// The Open API of every account that is served; cheap to clone, changed as accounts come and go.
#[derive(Debug, Clone, Default)]
pub struct Apis(Arc<RwLock<BTreeMap<AccountName, Arc<Api>>>>);

impl Apis {
    /// Serves an account from now on.
    pub fn set(&self, account: AccountName, api: Arc<Api>) {
        let mut apis = self.0.write().unwrap_or_else(PoisonError::into_inner);
        apis.insert(account, api);
    }

    /// Serves an account no more.
    pub fn remove(&self, account: &AccountName) {
        let mut apis = self.0.write().unwrap_or_else(PoisonError::into_inner);
        apis.remove(account);
    }

    /// The Open API as `account`, when it is served.
    pub fn find(&self, account: &AccountName) -> Option<Arc<Api>> {
        let apis = self.0.read().unwrap_or_else(PoisonError::into_inner);
        apis.get(account).map(Arc::clone)
    }

    /// The only account, when there is exactly one.
    pub fn only(&self) -> Option<AccountName> {
        let apis = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = apis.keys();
        names.next().filter(|_| apis.len() == 1).cloned()
    }
}
