//! How fast an account may call: one lane per API family, learned from refusals. It knows neither
//! HTTP nor codes.
//!
//! A lane is a bucket of `rate` tokens. A token that is taken comes back a second later, so that no
//! second holds more calls than the rate, and a short burst does not wait. Refusals cut the rate by
//! a factor, quiet time gives it back in steps. Waiting is first come, first served, among the urgent
//! and after them among the others: who never stops being urgent keeps the others waiting.
//!
//! Several replicas share a lane by sharing its tokens: each one holds a part of them ([`Paces`]).

mod board;
mod bucket;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::errors::Lesson;
use crate::message::{Priority, Timestamp};

pub use board::{LaneKey, Paces, SharedLane};
pub use bucket::{Learned, Use};

use bucket::{Bucket, Wait};

/// The pace of one account in one API family; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lane(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The head of each queue holds its one permit; the others wait in order of arrival.
    turn: Semaphore,
    urgent_turn: Semaphore,
    /// How many of the urgent wait.
    urgent: AtomicUsize,
    bucket: Mutex<Bucket>,
    /// Told when a wait may be over sooner than it was thought to be.
    changed: Notify,
    /// Told when other replicas should hear of this lane.
    nudge: Arc<Notify>,
}

/// One of the urgent, waiting; the others stand back as long as there is one.
struct Urgent<'a>(&'a Inner);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.urgent.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Lane {
    /// A lane of `per_second` calls that belongs to this process alone.
    pub(super) fn new(per_second: f64) -> Self {
        Self::with(Bucket::new(per_second, Instant::now()), Arc::default())
    }

    fn with(bucket: Bucket, nudge: Arc<Notify>) -> Self {
        Self(Arc::new(Inner {
            turn: Semaphore::new(1),
            urgent_turn: Semaphore::new(1),
            urgent: AtomicUsize::new(0),
            bucket: Mutex::new(bucket),
            changed: Notify::new(),
            nudge,
        }))
    }

    /// Waits for a slot and takes it. Cancelling gives the place in the queue away, nothing else.
    pub(super) async fn slot(&self, priority: Priority) {
        let lane = &*self.0;
        // A semaphore is never closed; were it, the bucket alone would still hold the pace.
        match priority {
            Priority::Normal => {
                let _turn = lane.turn.acquire().await;
                lane.take(true).await;
            }
            Priority::High | Priority::Alert => {
                lane.urgent.fetch_add(1, Ordering::AcqRel);
                let _waiting = Urgent(lane);
                let _turn = lane.urgent_turn.acquire().await;
                lane.take(false).await;
            }
        }
    }

    /// Learns from a refusal; the wait that it demands, longer than the refusal says when it is not
    /// the first.
    pub(super) fn learn(&self, lesson: Lesson) -> Option<Duration> {
        let now = Instant::now();
        let wait = match lesson {
            Lesson::None | Lesson::Later | Lesson::Token => None,
            Lesson::TooFast(wait) => {
                self.0.bucket().slow_down(wait, now);
                Some(wait)
            }
            Lesson::Muted => Some(self.0.bucket().mute(now)),
            Lesson::Banned(wait) => {
                self.0.bucket().block(wait, now);
                Some(wait)
            }
        };
        if wait.is_some() {
            self.0.nudge.notify_one();
        }
        wait
    }

    /// Calls a second that may be made now, by all replicas together.
    pub(super) fn rate(&self) -> f64 {
        self.0.bucket().rate()
    }
}

impl Inner {
    /// Takes a token as soon as there is one, after the urgent ones if `stands_back`.
    async fn take(&self, stands_back: bool) {
        loop {
            // Created before the question is asked, so that no change in between is missed.
            let changed = self.changed.notified();
            if stands_back && self.urgent.load(Ordering::Acquire) > 0 {
                changed.await;
                continue;
            }
            let (taken, hungry) = {
                let mut bucket = self.bucket();
                let taken = bucket.take(Instant::now());
                (taken, taken.is_err() && bucket.grows_hungry())
            };
            if hungry {
                self.nudge.notify_one();
            }
            match taken {
                Ok(()) => return,
                Err(Wait(at)) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = changed => {}
                    }
                }
            }
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// How many of the tokens this replica holds and how it uses them.
    fn usage(&self) -> Use {
        self.0.bucket().usage(Instant::now())
    }

    fn hold(&self, tokens: usize, replicas: usize) {
        self.0.bucket().hold(tokens, replicas, Instant::now());
        self.0.changed.notify_waiters();
    }

    fn own(&self, tokens: usize) {
        self.0.bucket().own(tokens, Instant::now());
        self.0.changed.notify_waiters();
    }

    fn learned(&self) -> Option<Learned> {
        self.0.bucket().learned(Instant::now(), Timestamp::now())
    }

    fn adopt(&self, learned: &Learned) {
        let (now, today) = (Instant::now(), Timestamp::now());
        self.0.bucket().adopt(learned, now, today);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream::{FuturesUnordered, StreamExt};

    use super::super::errors::MUTE;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_holds_more_calls_than_the_rate() {
        let lane = Lane::new(20.0);
        let mut at = Vec::new();
        for _ in 0..200 {
            lane.slot(Priority::Normal).await;
            at.push(Instant::now());
        }
        for (index, start) in at.iter().enumerate() {
            let second = *start + Duration::from_secs(1);
            let inside = at[index..].iter().filter(|at| **at < second).count();
            assert!(inside <= 20, "{inside} calls in one second");
        }
        let whole = at[199] - at[0];
        assert!(whole < Duration::from_secs(11), "{whole:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_rate_is_held_too() {
        let lane = Lane::new(1.0);
        let start = Instant::now();
        for _ in 0..4 {
            lane.slot(Priority::Normal).await;
        }
        assert!(start.elapsed() >= Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_first_come_first_served_and_a_cancelled_wait_takes_nothing() {
        let lane = Arc::new(Lane::new(2.0));
        let mut waiting = FuturesUnordered::new();
        for index in 0..20 {
            let lane = Arc::clone(&lane);
            waiting.push(async move {
                lane.slot(Priority::Normal).await;
                index
            });
        }
        let mut order = Vec::new();
        // The head of the queue gives up while it waits for its second token.
        let patience = Duration::from_millis(10);
        let impatient = tokio::time::timeout(patience, async {
            while lane.rate() > 0.0 {
                lane.slot(Priority::Normal).await;
            }
        });
        assert!(impatient.await.is_err());
        while let Some(index) = waiting.next().await {
            order.push(index);
        }
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_learned_while_somebody_waits_counts_for_them() {
        let lane = Lane::new(1.0);
        lane.slot(Priority::Normal).await;
        let start = Instant::now();
        let learning = async {
            sleep_until(start + Duration::from_millis(500)).await;
            lane.learn(Lesson::TooFast(Duration::from_secs(5)))
        };
        let ((), learned) = tokio::join!(lane.slot(Priority::Normal), learning);
        assert!(learned.is_some());
        assert!(start.elapsed() >= Duration::from_millis(5500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_cuts_once_blocks_and_is_forgotten_slowly() {
        let lane = Lane::new(20.0);
        let wait = Duration::from_secs(1);
        for _ in 0..5 {
            assert_eq!(lane.learn(Lesson::TooFast(wait)), Some(wait));
        }
        assert!((lane.rate() - 12.0).abs() < 1e-9, "{}", lane.rate());
        let start = Instant::now();
        lane.slot(Priority::Normal).await;
        assert!(start.elapsed() >= wait);
        tokio::time::advance(Duration::from_secs(31)).await;
        lane.slot(Priority::Normal).await;
        assert!((lane.rate() - 15.0).abs() < 1e-9, "{}", lane.rate());
        tokio::time::advance(Duration::from_secs(600)).await;
        lane.slot(Priority::Normal).await;
        assert!((lane.rate() - 20.0).abs() < 1e-9, "{}", lane.rate());
        for _ in 0..50 {
            lane.learn(Lesson::TooFast(wait));
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert!(lane.rate() >= 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn mutes_grow_to_ten_minutes_and_start_again_after_a_good_while() {
        let lane = Lane::new(20.0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(lane.learn(Lesson::Muted).unwrap().as_secs());
            // One that was on its way changes nothing.
            lane.learn(Lesson::Muted);
            lane.slot(Priority::Normal).await;
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(lane.learn(Lesson::Muted), Some(MUTE));
    }
}
