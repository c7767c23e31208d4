//! When a pipeline leaves its account to the replica that it belongs to.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::message::AccountName;
use crate::telemetry::Seats;

/// How often it is looked whether the account belongs elsewhere.
const LOOK: Duration = Duration::from_millis(500);
/// How long a pipeline that left stands aside, so that the other one is pinned and not it again.
pub(super) const ASIDE: Duration = Duration::from_secs(3);
/// How long it stays when the account came back although it belongs elsewhere: the other replica
/// does not take it for some reason. It doubles.
const STAY: Duration = Duration::from_secs(20);
/// Longest such stay.
const LONGEST_STAY: Duration = Duration::from_secs(600);

/// The place of one pipeline at its consumer.
#[derive(Debug)]
pub(super) struct Berth {
    account: AccountName,
    seats: Seats,
    stay: Duration,
    /// It does not leave before.
    until: Instant,
    look_at: Instant,
}

impl Berth {
    pub(super) fn new(account: AccountName, seats: Seats) -> Self {
        Self {
            account,
            seats,
            stay: STAY,
            until: Instant::now(),
            look_at: Instant::now(),
        }
    }

    /// Ends when the account is to be left to another replica. Cancel-safe.
    pub(super) async fn leave(&mut self, pinned: bool) {
        loop {
            sleep_until(self.look_at).await;
            self.look_at = Instant::now() + LOOK;
            let elsewhere = self.seats.is_elsewhere(&self.account);
            if pinned && elsewhere && Instant::now() >= self.until {
                return;
            }
        }
    }

    /// Notes that it was left.
    pub(super) fn left(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.until) > LONGEST_STAY {
            self.stay = STAY;
        }
        self.until = now + self.stay;
        self.stay = (self.stay * 2).min(LONGEST_STAY);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_account_that_comes_back_is_kept_longer_each_time() {
        let sales = AccountName::parse("sales").unwrap();
        let seats = Seats::default();
        let mut berth = Berth::new(sales.clone(), seats.clone());
        let soon = Duration::from_secs(5);
        assert!(
            timeout(soon, berth.leave(true)).await.is_err(),
            "it is ours"
        );
        seats.set(BTreeSet::from([sales]));
        assert!(timeout(soon, berth.leave(false)).await.is_err());
        for stay in [20, 40, 80] {
            timeout(soon, berth.leave(true)).await.unwrap();
            berth.left();
            let kept = Duration::from_secs(stay - 1);
            assert!(timeout(kept, berth.leave(true)).await.is_err());
        }
    }
}
