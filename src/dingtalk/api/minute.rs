//! The pace of a custom robot's webhook: so many posts a minute, counted in a window that slides, so
//! that the mute never comes (oapi.md, section 4.3). It knows neither HTTP nor codes.
//!
//! The window is that of this process: what another one posted through the same webhook within the
//! last minute is not in it. When the mute comes all the same, it is waited out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::errors::Lesson;
use super::pace::Lane;
use crate::message::Priority;

/// Posts in one window; the next one would mute the robot for ten minutes.
const MOST: u32 = 20;
/// The window. Longer than the minute that DingTalk counts, because posts that left evenly arrive
/// unevenly.
const WINDOW: Duration = Duration::from_secs(63);

/// The pace of one webhook.
#[derive(Debug)]
pub(super) struct Minute {
    /// The head of the queue holds the one permit; the others wait in order of arrival.
    turn: Semaphore,
    /// When the last posts left, oldest first; at most [`MOST`] of them.
    taken: Mutex<VecDeque<Instant>>,
    /// Blocks and mutes.
    lane: Lane,
}

impl Minute {
    /// A window that nothing was posted in yet.
    pub(super) fn new() -> Self {
        Self {
            turn: Semaphore::new(1),
            taken: Mutex::default(),
            lane: Lane::new(f64::from(MOST)),
        }
    }

    /// Waits for a slot and takes it. Cancelling gives the place in the queue away, nothing else.
    pub(super) async fn slot(&self, priority: Priority) {
        // The semaphore is never closed; were it, the window alone would still hold the pace.
        let _turn = self.turn.acquire().await;
        while let Some(free) = self.full_until() {
            sleep_until(free).await;
        }
        // Last, so that a mute that began during the wait is waited out too.
        self.lane.slot(priority).await;
        self.taken().push_back(Instant::now());
    }

    /// Learns from a refusal; the wait that it demands.
    pub(super) fn learn(&self, lesson: Lesson) -> Option<Duration> {
        self.lane.learn(lesson)
    }

    /// Posts a second that may be made in the long run.
    pub(super) fn rate() -> f64 {
        f64::from(MOST) / WINDOW.as_secs_f64()
    }

    /// When the window has room again; `None` when it has now.
    fn full_until(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut taken = self.taken();
        while taken.front().is_some_and(|first| *first + WINDOW <= now) {
            taken.pop_front();
        }
        let full = u32::try_from(taken.len()).unwrap_or(u32::MAX) >= MOST;
        let first = taken.front().filter(|_| full);
        first.map(|first| *first + WINDOW)
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_holds_more_than_twenty_and_a_burst_does_not_wait() {
        let minute = Minute::new();
        let mut at = Vec::new();
        for index in 0..100_u64 {
            tokio::time::advance(Duration::from_millis(index * 37 % 900)).await;
            minute.slot(Priority::Normal).await;
            at.push(Instant::now());
        }
        for (index, start) in at.iter().enumerate() {
            let end = *start + Duration::from_secs(60);
            let inside = at[index..].iter().filter(|at| **at < end).count();
            assert!(inside <= 20, "{inside} posts in one minute");
        }
        assert!(at[19] - at[0] < Duration::from_secs(20));
        assert!(at[99] - at[0] < WINDOW * 5);
        assert!(Minute::rate() < 20.0 / 60.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_is_waited_out_and_grows_to_ten_minutes() {
        let minute = Minute::new();
        let mut waits = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            let wait = minute.learn(Lesson::Muted).unwrap();
            minute.slot(Priority::Normal).await;
            assert!(start.elapsed() >= wait);
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [60, 120, 240, 480, 600]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_that_begins_while_somebody_waits_counts_for_them() {
        let minute = Minute::new();
        for _ in 0..MOST {
            minute.slot(Priority::Normal).await;
        }
        let start = Instant::now();
        let muting = async {
            sleep_until(start + Duration::from_secs(30)).await;
            minute.learn(Lesson::Muted)
        };
        let ((), learned) = tokio::join!(minute.slot(Priority::Normal), muting);
        assert_eq!(learned, Some(Duration::from_secs(60)));
        assert!(start.elapsed() >= Duration::from_secs(90));
    }
}
