//! The toll of one account: whether a billed call may be made this month. What may not waits here,
//! visibly, until the month turns, the limit is raised, or its own time is over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use crate::message::{AccountName, Brake, Priority, QuotaStanding};
use crate::telemetry::{Health, Metrics, Standings};

/// How often a waiting request looks again without having heard of a change.
const LOOK: Duration = Duration::from_secs(1);
/// How a reason to wait begins, on the health board.
const REASON: &str = "monthly quota: ";

/// The toll; every billed call of the account pays it.
#[derive(Debug)]
pub(super) struct Toll {
    account: AccountName,
    standings: Standings,
    metrics: Metrics,
    health: Health,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Paid calls that are not counted yet.
    underway: u64,
    waiting: usize,
    /// How the account stood when that was last told.
    told: Option<QuotaStanding>,
}

/// Leave for one call; it counts as made until this is dropped.
#[derive(Debug)]
pub(super) struct Paid<'a>(&'a Toll);

/// A request that waits.
struct Waiting<'a>(&'a Toll);

impl Toll {
    pub(super) fn new(
        account: AccountName,
        standings: Standings,
        metrics: Metrics,
        health: Health,
    ) -> Self {
        Self {
            account,
            standings,
            metrics,
            health,
            state: Mutex::default(),
        }
    }

    /// Waits until the month has a call left for a request of this priority. Cancel-safe.
    pub(super) async fn pay(&self, priority: Priority) -> Paid<'_> {
        let mut standings = self.standings.watch();
        let mut waiting = None;
        loop {
            let Some(standing) = self.refuse(priority) else {
                return Paid(self);
            };
            waiting.get_or_insert_with(|| self.wait());
            self.tell(standing);
            tokio::select! {
                () = standings.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// DingTalk itself says that the month is used up.
    pub(super) fn exhausted(&self) {
        self.standings.exhaust(&self.account);
    }

    /// Takes a call, or says how the account stands when there is none.
    fn refuse(&self, priority: Priority) -> Option<QuotaStanding> {
        let standing = self.standings.find(&self.account);
        let mut state = self.state();
        if priority != Priority::Alert {
            let left = match standing.limit {
                // Nobody says how many there are.
                None => u64::MAX,
                Some(limit) => {
                    let used = standing.used + self.metrics.meter().pending(&self.account);
                    Brake::free(limit).saturating_sub(used + state.underway)
                }
            };
            if left == 0 || standing.brake >= Brake::AlertsOnly {
                return Some(standing);
            }
        }
        state.underway += 1;
        None
    }

    fn wait(&self) -> Waiting<'_> {
        self.state().waiting += 1;
        Waiting(self)
    }

    /// Says why sends wait, whenever the reason is another.
    fn tell(&self, standing: QuotaStanding) {
        let before = self.state().told.replace(standing);
        if before == Some(standing) {
            return;
        }
        let reason = reason(standing);
        if before.is_none() {
            warn!(dingtalk.account = %self.account, reason, "sends wait for the monthly quota");
        }
        self.health
            .account(&self.account, |health| health.sends_parked = Some(reason));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reason(standing: QuotaStanding) -> String {
    let used = match (standing.brake, standing.limit) {
        (Brake::Exhausted, _) => "dingtalk refuses every call".to_owned(),
        (_, Some(limit)) => format!("{} of {limit} calls are used", standing.used),
        (_, None) => format!("{} calls are used", standing.used),
    };
    format!("{REASON}{used}, only alerts are sent until the month turns or the limit is raised")
}

impl Drop for Paid<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.underway = state.underway.saturating_sub(1);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let last = {
            let mut state = self.0.state();
            state.waiting = state.waiting.saturating_sub(1);
            if state.waiting == 0 {
                state.told = None;
            }
            state.waiting == 0
        };
        if last {
            info!(dingtalk.account = %self.0.account, "no send waits for the monthly quota any more");
            // What another gate wrote meanwhile stays.
            self.0.health.account(&self.0.account, |health| {
                let ours = |reason: &String| reason.starts_with(REASON);
                if health.sends_parked.as_ref().is_some_and(ours) {
                    health.sends_parked = None;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::telemetry::ApiFamily;

    fn standing(used: u64, limit: u64) -> QuotaStanding {
        QuotaStanding {
            used,
            limit: Some(limit),
            forecast: used,
            brake: Brake::after(used, limit),
        }
    }

    fn toll() -> Toll {
        let sales = AccountName::parse("sales").unwrap();
        Toll::new(
            sales,
            Standings::default(),
            Metrics::new(),
            Health::default(),
        )
    }

    fn parked(toll: &Toll) -> Option<String> {
        toll.health.snapshot().accounts[&toll.account]
            .sends_parked
            .clone()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_under_way_or_not_shared_yet_count_and_alerts_go_on() {
        let toll = toll();
        toll.standings.set(&toll.account, standing(17, 30));
        toll.metrics.billed(&toll.account, ApiFamily::SendUser);
        let first = toll.pay(Priority::Normal).await;
        let _second = toll.pay(Priority::High).await;
        let mut third = Box::pin(toll.pay(Priority::High));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(parked(&toll).is_some_and(|reason| reason.contains("17 of 30")));
        let _alert = toll.pay(Priority::Alert).await;
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        // The alert took its place: it counts as well.
        toll.standings.set(&toll.account, standing(17, 40));
        third.await;
        assert_eq!(parked(&toll), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_month_holds_what_has_no_limit() {
        let toll = toll();
        drop(toll.pay(Priority::Normal).await);
        toll.exhausted();
        assert!(toll.pay(Priority::Normal).now_or_never().is_none());
        assert!(toll.pay(Priority::Alert).now_or_never().is_some());
        toll.standings.set(&toll.account, QuotaStanding::default());
        assert!(toll.pay(Priority::Normal).now_or_never().is_some());
    }
}
