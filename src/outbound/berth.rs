//! When a pipeline leaves its account to the replica that it belongs to.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::message::AccountName;
use crate::telemetry::Seats;

/// How often it is looked whether the account belongs elsewhere.
const LOOK: Duration = Duration::from_millis(500);
/// How long a pipeline that left stands aside: every other one that has no claim either gets the
/// account, leaves it as well and stands aside, until only the right one is there to take it.
const ASIDE: Duration = Duration::from_secs(6);
/// How long it stays when the account came back although it belongs elsewhere: the other replica
/// does not take it for some reason. It doubles.
const STAY: Duration = Duration::from_secs(10);
/// Longest such stay.
const LONGEST_STAY: Duration = Duration::from_secs(600);

/// The place of one pipeline at its consumer.
#[derive(Debug)]
pub(super) struct Berth {
    account: AccountName,
    seats: Seats,
    /// To whom it was left last.
    left_to: Option<String>,
    stay: Duration,
    /// It is not left to the same one again before.
    until: Instant,
    look_at: Instant,
}

impl Berth {
    pub(super) fn new(account: AccountName, seats: Seats) -> Self {
        let now = Instant::now();
        Self {
            account,
            seats,
            left_to: None,
            stay: STAY,
            until: now,
            look_at: now,
        }
    }

    /// Ends when the account is to be left to another replica. Cancel-safe.
    pub(super) async fn leave(&mut self, pinned: bool) {
        loop {
            sleep_until(self.look_at).await;
            let now = Instant::now();
            self.look_at = now + LOOK;
            let Some(owner) = self.seats.owner(&self.account) else {
                continue;
            };
            let again = self.left_to.as_ref() == Some(&owner);
            if pinned && !(again && now < self.until) {
                self.stay = match again {
                    true => (self.stay * 2).min(LONGEST_STAY),
                    false => STAY,
                };
                self.left_to = Some(owner);
                return;
            }
        }
    }

    /// Stands aside after the account was left, unless it turns out to belong here.
    pub(super) async fn stand_aside(&mut self) {
        let back = Instant::now() + ASIDE;
        self.until = back + self.stay;
        while Instant::now() < back && self.seats.owner(&self.account).is_some() {
            sleep_until(Instant::now() + LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_account_that_comes_back_is_kept_longer_each_time() {
        let sales = AccountName::parse("sales").unwrap();
        let owned = |owner: &str| BTreeMap::from([(sales.clone(), owner.to_owned())]);
        let seats = Seats::default();
        let mut berth = Berth::new(sales.clone(), seats.clone());
        let soon = Duration::from_secs(5);
        assert!(
            timeout(soon, berth.leave(true)).await.is_err(),
            "it is ours"
        );
        seats.set(owned("r2"));
        assert!(timeout(soon, berth.leave(false)).await.is_err());
        for stay in [10, 20, 40] {
            timeout(soon, berth.leave(true)).await.unwrap();
            berth.stand_aside().await;
            let kept = Duration::from_secs(stay - 1);
            assert!(timeout(kept, berth.leave(true)).await.is_err());
        }
        seats.set(owned("r3"));
        timeout(soon, berth.leave(true)).await.unwrap();
        seats.set(BTreeMap::new());
        let begun = Instant::now();
        berth.stand_aside().await;
        assert!(begun.elapsed() < soon, "it is ours again");
    }
}
