//! The accounts that this bridge serves, as the mover needs them: which one is meant when a request
//! names none.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::message::AccountName;

/// The accounts of one bridge with their client ids; cheap to clone, changed on reload.
#[derive(Debug, Clone, Default)]
pub struct Served(Arc<RwLock<BTreeMap<AccountName, String>>>);

impl Served {
    /// Replaces all accounts by `accounts`: name and client id.
    pub fn set(&self, accounts: impl IntoIterator<Item = (AccountName, String)>) {
        let accounts = accounts.into_iter().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }

    /// Whether `account` is one of them.
    pub(super) fn has(&self, account: &AccountName) -> bool {
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accounts.contains_key(account)
    }

    /// The account that is meant when nothing names one: there is only one.
    pub(super) fn only(&self) -> Option<AccountName> {
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match accounts.len() {
            1 => accounts.keys().next().cloned(),
            _ => None,
        }
    }

    /// The account whose robot received the inbound message `id`, which begins with its client id.
    pub(super) fn receiver(&self, id: &str) -> Option<AccountName> {
        let (client, _) = id.split_once(':')?;
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accounts
            .iter()
            .find(|(_, client_id)| *client_id == client)
            .map(|(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbound_id_tells_its_account_and_a_single_account_needs_no_name() {
        let name = |name: &str| AccountName::parse(name).unwrap();
        let served = Served::default();
        assert_eq!(served.only(), None);
        served.set([(name("sales"), "ding1".to_owned())]);
        assert_eq!(served.only(), Some(name("sales")));
        served.set([
            (name("sales"), "ding1".to_owned()),
            (name("ops"), "ding2".to_owned()),
        ]);
        assert_eq!(served.only(), None);
        assert_eq!(served.receiver("ding2:msg=="), Some(name("ops")));
        assert_eq!(served.receiver("ding3:msg=="), None);
    }
}
