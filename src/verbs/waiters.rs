//! Places of the questions that only wait for a receipt: many, so that they keep nobody from an answer,
//! and not all for one account, which may be held for a long time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::denial::Denial;
use crate::message::AccountName;

/// Questions that wait at once.
const OF_ALL: usize = 4096;
/// Questions that wait for one account at once.
const OF_ONE: usize = 1024;

/// How many wait for each account; `None` stands for one that is not known.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<BTreeMap<Option<AccountName>, usize>>);

/// The place of one that waits; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    waiters: &'a Waiters,
    account: Option<AccountName>,
}

impl Waiters {
    /// Takes a place. Whoever gets none is told before anything is done, so asking again does nothing
    /// twice.
    pub(super) fn enter(&self, account: Option<&AccountName>) -> Result<Place<'_>, Denial> {
        let account = account.cloned();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let of_one = counts.get(&account).copied().unwrap_or_default();
        if of_one >= OF_ONE {
            return Err(busy(of_one, "of this account"));
        }
        if all >= OF_ALL {
            return Err(busy(all, "of all accounts"));
        }
        counts.insert(account.clone(), of_one + 1);
        Ok(Place {
            waiters: self,
            account,
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let counts = &self.waiters.0;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counts.get(&self.account).copied().unwrap_or_default();
        match before.saturating_sub(1) {
            0 => counts.remove(&self.account),
            left => counts.insert(self.account.clone(), left),
        };
    }
}

fn busy(waiting: usize, whose: &str) -> Denial {
    let message = format!("{waiting} questions wait for receipts {whose} already");
    Denial::new(503, "busy", message).cure(
        "nothing was done: ask again later, or publish the request to <prefix>.outbound and read its receipt",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_takes_its_own_places_only_and_gives_them_back() {
        let waiters = Waiters::default();
        let name = |name: &str| AccountName::parse(name).unwrap();
        let (held, free) = (name("held"), name("free"));
        let enter = |account: Option<&AccountName>| waiters.enter(account);
        let mut places: Vec<_> = (0..OF_ONE).map(|_| enter(Some(&held)).unwrap()).collect();
        let denial = enter(Some(&held)).unwrap_err();
        assert_eq!((denial.status, denial.failure.code.as_str()), (503, "busy"));
        assert!(enter(Some(&free)).is_ok());
        assert!(enter(None).is_ok());
        places.pop();
        assert!(enter(Some(&held)).is_ok());
        places.clear();
        assert!(waiters.0.lock().unwrap().is_empty());
    }

    #[test]
    fn all_accounts_together_have_a_limit_too() {
        let waiters = Waiters::default();
        let names = (0..=OF_ALL).map(|n| AccountName::parse(&format!("a{n}")).unwrap());
        let places: Vec<_> = names.map(|name| waiters.enter(Some(&name))).collect();
        assert_eq!(places.iter().filter(|place| place.is_ok()).count(), OF_ALL);
    }
}
