//! The gate of one account: open, or held because DingTalk refuses everything of the account until
//! somebody acts. While it is held one request at a time probes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::toll::Paid;

/// The gate; every call of the account passes it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    Held {
        /// When the next probe may pass; `None` while one is under way.
        probe_at: Option<Instant>,
    },
}

/// Leave for one attempt. A probe that is given back without a word lets the next one try.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    probe: bool,
    paid: Option<Paid<'a>>,
}

enum Answer {
    Open,
    Probe,
    Wait(Option<Instant>),
}

impl Gate {
    /// Waits until an attempt may be made. Cancel-safe.
    pub(super) async fn pass(&self) -> Pass<'_> {
        loop {
            // Created before the question is asked, so that no change in between is missed.
            let changed = self.changed.notified();
            match self.ask() {
                Answer::Open => return self.leave(false),
                Answer::Probe => return self.leave(true),
                Answer::Wait(None) => changed.await,
                Answer::Wait(Some(at)) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(at) => {}
                    }
                }
            }
        }
    }

    fn leave(&self, probe: bool) -> Pass<'_> {
        Pass {
            gate: self,
            probe,
            paid: None,
        }
    }

    /// Holds the account and lets a probe pass after `wait`; returns whether it was open before.
    pub(super) fn hold(&self, wait: Duration) -> bool {
        let probe_at = Some(Instant::now() + wait);
        let before = std::mem::replace(&mut *self.lock(), State::Held { probe_at });
        self.changed.notify_waiters();
        matches!(before, State::Open)
    }

    /// Opens the gate again; returns whether it was held before.
    pub(super) fn open(&self) -> bool {
        let before = std::mem::replace(&mut *self.lock(), State::Open);
        self.changed.notify_waiters();
        matches!(before, State::Held { .. })
    }

    fn ask(&self) -> Answer {
        let mut state = self.lock();
        match &mut *state {
            State::Open => Answer::Open,
            State::Held { probe_at } => match *probe_at {
                Some(at) if at <= Instant::now() => {
                    *probe_at = None;
                    Answer::Probe
                }
                waiting => Answer::Wait(waiting),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Pass<'a> {
    /// The same, with the toll of the call that it is for.
    pub(super) fn paid(mut self, paid: Paid<'a>) -> Self {
        self.paid = Some(paid);
        self
    }

    /// Whether this attempt decides if the account is free again.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.probe {
            return;
        }
        let mut state = self.gate.lock();
        if let State::Held { probe_at } = &mut *state
            && probe_at.is_none()
        {
            *probe_at = Some(Instant::now());
            drop(state);
            self.gate.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_held_account_lets_one_probe_through_after_the_wait() {
        let gate = Gate::default();
        assert!(!gate.pass().await.is_probe());
        assert!(gate.hold(WAIT));
        assert!(!gate.hold(WAIT), "it was held already");
        let before = Instant::now();
        let probe = gate.pass().await;
        assert!(probe.is_probe() && before.elapsed() >= WAIT);
        assert!(gate.pass().now_or_never().is_none(), "one at a time");
        assert!(gate.open());
        assert!(!gate.pass().await.is_probe());
        drop(probe);
        assert!(!gate.pass().await.is_probe(), "it stays open");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_lets_the_next_one_try() {
        let gate = Gate::default();
        gate.hold(WAIT);
        drop(gate.pass().await);
        assert!(
            gate.pass()
                .now_or_never()
                .is_some_and(|pass| pass.is_probe())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_holds_the_account_for_the_new_wait() {
        let gate = Gate::default();
        gate.hold(WAIT);
        let probe = gate.pass().await;
        gate.hold(WAIT);
        drop(probe);
        let before = Instant::now();
        let _ = gate.pass().await;
        assert!(before.elapsed() >= WAIT);
    }
}
