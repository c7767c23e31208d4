//! How fast an account may call: one lane per API family, learned from refusals. It knows neither
//! HTTP nor codes.
//!
//! A lane is a bucket of `rate` tokens. A token that is taken comes back a second later, so that no
//! second holds more calls than the rate, and a short burst does not wait. Refusals cut the rate by
//! a factor, quiet time gives it back in steps. Waiting is first come, first served.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::errors::{Lesson, MUTE};

/// What is left of the rate after a refusal.
const CUT: f64 = 0.6;
/// Refusals closer together than this belong to one excess and cut once.
const EXCESS: Duration = Duration::from_secs(1);
/// Quiet time that gives one step back.
const QUIET: Duration = Duration::from_secs(10);
/// The step, as a part of the configured rate.
const STEP: f64 = 0.05;
/// Slowest learned rate, calls a second.
const SLOWEST: f64 = 1.0;
/// Calls that left evenly arrive unevenly: tokens come back by this much later.
const GUARD: f64 = 1.05;
/// Longest mute that is waited out in one piece (oapi.md, section 4.3).
const LONGEST_MUTE: Duration = Duration::from_secs(600);

/// The pace of one account in one API family.
#[derive(Debug)]
pub(super) struct Lane {
    /// The head of the queue holds the one permit; the others wait in order of arrival.
    turn: Semaphore,
    bucket: Mutex<Bucket>,
}

impl Lane {
    /// A lane of `per_second` calls.
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            turn: Semaphore::new(1),
            bucket: Mutex::new(Bucket::new(per_second, Instant::now())),
        }
    }

    /// Waits for a slot and takes it. Cancelling gives the place in the queue away, nothing else.
    pub(super) async fn slot(&self) {
        // The semaphore is never closed; were it, the bucket alone would still hold the pace.
        let _turn = self.turn.acquire().await;
        loop {
            let taken = self.bucket().take(Instant::now());
            let Err(at) = taken else {
                return;
            };
            sleep_until(at).await;
        }
    }

    /// Learns from a refusal; the wait that it demands, longer than the refusal says when it is not
    /// the first.
    pub(super) fn learn(&self, lesson: Lesson) -> Option<Duration> {
        let now = Instant::now();
        match lesson {
            Lesson::None | Lesson::Later | Lesson::Token => None,
            Lesson::TooFast(wait) => {
                self.bucket().slow_down(wait, now);
                Some(wait)
            }
            Lesson::Muted => Some(self.bucket().mute(now)),
            Lesson::Banned(wait) => {
                self.bucket().block(wait, now);
                Some(wait)
            }
        }
    }

    /// Calls a second that may be made now.
    pub(super) fn rate(&self) -> f64 {
        self.bucket().rate
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Bucket {
    /// Configured rate.
    top: f64,
    /// Learned rate.
    rate: f64,
    /// When the youngest tokens were taken, oldest first; at most `top` of them.
    taken: VecDeque<Instant>,
    /// Nothing is taken before.
    blocked_until: Instant,
    /// Start of the quiet time that counts for the next step.
    quiet_since: Instant,
    last_cut: Option<Instant>,
    /// The last mute and when it ended.
    last_mute: Option<(Duration, Instant)>,
}

impl Bucket {
    fn new(per_second: f64, now: Instant) -> Self {
        Self {
            top: per_second,
            rate: per_second,
            taken: VecDeque::new(),
            blocked_until: now,
            quiet_since: now,
            last_cut: None,
            last_mute: None,
        }
    }

    /// Takes a token, or says when to ask again.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.recover(now);
        if now < self.blocked_until {
            return Err(self.blocked_until);
        }
        let tokens = self.rate.floor().max(1.0);
        let period = Duration::from_secs_f64(tokens / self.rate * GUARD);
        // The cast is of a small whole number.
        let tokens = tokens as usize;
        let oldest = self.taken.len().checked_sub(tokens);
        if let Some(oldest) = oldest.and_then(|index| self.taken.get(index)) {
            let back = *oldest + period;
            if now < back {
                return Err(back);
            }
        }
        let most = self.top.ceil().max(1.0) as usize;
        while self.taken.len() >= most {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
        Ok(())
    }

    fn recover(&mut self, now: Instant) {
        if self.rate >= self.top {
            return;
        }
        let quiet = now.saturating_duration_since(self.quiet_since);
        let steps = quiet.as_secs() / QUIET.as_secs();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if steps > 0 {
            self.rate = (self.rate + f64::from(steps) * STEP * self.top).min(self.top);
            self.quiet_since += QUIET.saturating_mul(steps);
        }
    }

    fn slow_down(&mut self, wait: Duration, now: Instant) {
        self.block(wait, now);
        let same = |cut: Instant| now.saturating_duration_since(cut) < EXCESS;
        if !self.last_cut.is_some_and(same) {
            self.recover(now);
            self.rate = (self.rate * CUT).max(SLOWEST.min(self.top));
            self.last_cut = Some(now);
        }
        self.quiet_since = now + wait;
    }

    /// Doubles the mute when the last one ended only just before.
    fn mute(&mut self, now: Instant) -> Duration {
        if let Some((_, end)) = self.last_mute
            && now < end
        {
            // Calls that were on their way when the mute began say nothing new.
            return end - now;
        }
        let wait = match self.last_mute {
            Some((last, end)) if now < end + LONGEST_MUTE => (last * 2).min(LONGEST_MUTE),
            _ => MUTE,
        };
        self.last_mute = Some((wait, now + wait));
        self.slow_down(wait, now);
        wait
    }

    fn block(&mut self, wait: Duration, now: Instant) {
        self.blocked_until = self.blocked_until.max(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream::{FuturesUnordered, StreamExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_holds_more_calls_than_the_rate() {
        let lane = Lane::new(20.0);
        let mut at = Vec::new();
        for _ in 0..200 {
            lane.slot().await;
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
            lane.slot().await;
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
                lane.slot().await;
                index
            });
        }
        let mut order = Vec::new();
        // The head of the queue gives up while it waits for its second token.
        let patience = Duration::from_millis(10);
        let impatient = tokio::time::timeout(patience, async {
            while lane.rate() > 0.0 {
                lane.slot().await;
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
        lane.slot().await;
        let start = Instant::now();
        let learning = async {
            sleep_until(start + Duration::from_millis(500)).await;
            lane.learn(Lesson::TooFast(Duration::from_secs(5)))
        };
        let ((), learned) = tokio::join!(lane.slot(), learning);
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
        lane.slot().await;
        assert!(start.elapsed() >= wait);
        tokio::time::advance(Duration::from_secs(31)).await;
        lane.slot().await;
        assert!((lane.rate() - 15.0).abs() < 1e-9, "{}", lane.rate());
        tokio::time::advance(Duration::from_secs(600)).await;
        lane.slot().await;
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
            lane.slot().await;
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(lane.learn(Lesson::Muted), Some(MUTE));
    }
}
