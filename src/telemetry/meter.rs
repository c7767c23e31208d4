//! Billed calls that are not yet in the shared count of the month. It knows no broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::labels::ApiFamily;
use crate::message::AccountName;

/// Billed calls of one account by family.
pub type Calls = HashMap<ApiFamily, u64>;

/// What DingTalk said last about the month of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Month {
    /// It took a billed call.
    Open,
    /// It refused one because the month is used up.
    UsedUp,
}

/// What one account did since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Billed calls by family.
    pub calls: Calls,
    /// What DingTalk said last about the month, if it said anything.
    pub month: Option<Month>,
}

/// Counts billed calls until they are taken; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<HashMap<AccountName, Reading>>>);

#[derive(Debug, Default)]
struct Reading {
    fresh: Tally,
    /// Taken, and not yet known to be in the shared count.
    taken: u64,
}

impl Meter {
    /// One more call.
    pub fn count(&self, account: &AccountName, family: ApiFamily) {
        let mut readings = self.readings();
        let reading = readings.entry(account.clone()).or_default();
        *reading.fresh.calls.entry(family).or_default() += 1;
        // Messages of webhooks are a quota of their own: they say nothing about that of the calls.
        if !matches!(family, ApiFamily::Webhook | ApiFamily::CustomRobot) {
            reading.fresh.month = Some(Month::Open);
        }
    }

    /// A call was refused because the month is used up.
    pub fn refuse(&self, account: &AccountName) {
        let mut readings = self.readings();
        let reading = readings.entry(account.clone()).or_default();
        reading.fresh.month = Some(Month::UsedUp);
    }

    /// Everything since the last time. It stays in [`Meter::pending`] until [`Meter::settle`] or
    /// [`Meter::put_back`].
    pub fn take(&self) -> HashMap<AccountName, Tally> {
        let mut readings = self.readings();
        let mut taken = HashMap::new();
        for (account, reading) in readings.iter_mut() {
            let tally = std::mem::take(&mut reading.fresh);
            reading.taken += tally.calls.values().sum::<u64>();
            if tally != Tally::default() {
                taken.insert(account.clone(), tally);
            }
        }
        taken
    }

    /// What was taken of an account is in the shared count.
    pub fn settle(&self, account: &AccountName) {
        if let Some(reading) = self.readings().get_mut(account) {
            reading.taken = 0;
        }
    }

    /// Puts back what could not be added to the shared count.
    pub fn put_back(&self, account: &AccountName, tally: Tally) {
        let mut readings = self.readings();
        let reading = readings.entry(account.clone()).or_default();
        let calls = tally.calls.values().sum();
        reading.taken = reading.taken.saturating_sub(calls);
        for (family, calls) in tally.calls {
            *reading.fresh.calls.entry(family).or_default() += calls;
        }
        reading.fresh.month = reading.fresh.month.or(tally.month);
    }

    /// Calls of an account that are not in the shared count yet.
    pub fn pending(&self, account: &AccountName) -> u64 {
        let readings = self.readings();
        readings.get(account).map_or(0, |reading| {
            reading.taken + reading.fresh.calls.values().sum::<u64>()
        })
    }

    fn readings(&self) -> MutexGuard<'_, HashMap<AccountName, Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_pending_until_it_is_settled_or_put_back() {
        let meter = Meter::default();
        let sales = AccountName::parse("sales").unwrap();
        meter.count(&sales, ApiFamily::SendUser);
        meter.count(&sales, ApiFamily::SendUser);
        let tally = meter.take().remove(&sales).unwrap();
        assert_eq!(tally.calls[&ApiFamily::SendUser], 2);
        assert_eq!((tally.month, meter.pending(&sales)), (Some(Month::Open), 2));
        meter.count(&sales, ApiFamily::Webhook);
        meter.refuse(&sales);
        meter.put_back(&sales, tally);
        assert_eq!(meter.pending(&sales), 3);
        let tally = meter.take().remove(&sales).unwrap();
        assert_eq!(tally.month, Some(Month::UsedUp), "the later word counts");
        meter.settle(&sales);
        assert_eq!(meter.pending(&sales), 0);
        assert!(meter.take().is_empty());
    }
}
