//! The accounts that this bridge serves, as the mover needs them: which one is meant when a request
//! names none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::message::AccountName;

/// The accounts of one bridge with their client ids; cheap to clone, changed on reload.
#[derive(Debug, Clone, Default)]
pub struct Served(Arc<RwLock<Accounts>>);

#[derive(Debug, Default)]
struct Accounts {
    /// Client ids of the apps.
    apps: BTreeMap<AccountName, String>,
    /// Custom robots.
    robots: BTreeSet<AccountName>,
}

impl Served {
    /// Replaces all apps by `apps`: name and client id.
    pub fn set(&self, apps: impl IntoIterator<Item = (AccountName, String)>) {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accounts.apps = apps.into_iter().collect();
    }

    /// Replaces all custom robots.
    pub fn set_robots(&self, robots: impl IntoIterator<Item = AccountName>) {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accounts.robots = robots.into_iter().collect();
    }

    /// Whether an account is a custom robot.
    pub(super) fn is_robot(&self, account: &AccountName) -> bool {
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accounts.robots.contains(account)
    }

    /// Whether `account` is one of them.
    pub(super) fn has(&self, account: &AccountName) -> bool {
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accounts.apps.contains_key(account) || accounts.robots.contains(account)
    }

    /// The account that is meant when nothing names one: there is only one.
    pub(super) fn only(&self) -> Option<AccountName> {
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = accounts.apps.keys().chain(&accounts.robots);
        match (names.next(), names.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }

    /// The account whose robot received the inbound message `id`, which begins with its client id.
    pub(super) fn receiver(&self, id: &str) -> Option<AccountName> {
        let (client, _) = id.split_once(':')?;
        let accounts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accounts
            .apps
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
