//! Signs of life of one connection, and what to make of their absence (stream-protocol.md, section
//! 2.2). Silence of application frames is never a fault by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::message::Timestamp;

/// Pings in a row without any inbound frame after which a connection is dead.
const MAX_MISSES: u32 = 2;
/// Wall clock and monotonic clock further apart than this: the machine slept.
const MAX_DRIFT: Duration = Duration::from_secs(30);

/// What the reader of a connection lets others see.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    heard: AtomicBool,
    blocked: AtomicBool,
    data: AtomicBool,
}

impl Pulse {
    /// Anything came in.
    pub(super) fn beat(&self) {
        // A plain load spares the shared write while frames pour in.
        if !self.heard.load(Ordering::Relaxed) {
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// A data frame came in.
    pub(super) fn data(&self) {
        if !self.data.load(Ordering::Relaxed) {
            self.data.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a data frame ever came in.
    pub(super) fn had_data(&self) -> bool {
        self.data.load(Ordering::Relaxed)
    }

    /// The reader waits for room, or goes on: what it does not read it cannot hear.
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
        self.beat();
    }

    /// Whether it lives, judged since the last call.
    fn take(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed) || self.blocked.load(Ordering::Relaxed)
    }
}

/// What a ping tick found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// All is well.
    Alive,
    /// One ping was missed: a replacement is wanted.
    Suspect,
    /// Two were: it is dead.
    Dead,
    /// The machine slept: what is on the other side has gone on without it.
    Slept,
}

/// Judges a connection at every ping tick.
#[derive(Debug)]
pub(super) struct Watch {
    misses: u32,
    pinged: bool,
    monotonic: Instant,
    wall: Timestamp,
}

impl Watch {
    /// Begins at an open connection.
    pub(super) fn new() -> Self {
        Self {
            misses: 0,
            pinged: false,
            monotonic: Instant::now(),
            wall: Timestamp::now(),
        }
    }

    /// Judges the time since the last tick. A ping is sent after each.
    pub(super) fn tick(&mut self, pulse: &Pulse) -> Finding {
        let (monotonic, wall) = (Instant::now(), Timestamp::now());
        let slept = drifted(
            monotonic.saturating_duration_since(self.monotonic),
            self.wall,
            wall,
        );
        (self.monotonic, self.wall) = (monotonic, wall);
        let alive = pulse.take() || !self.pinged;
        self.pinged = true;
        if alive {
            self.misses = 0;
        } else {
            self.misses += 1;
        }
        match self.misses {
            MAX_MISSES.. => Finding::Dead,
            _ if slept => Finding::Slept,
            0 => Finding::Alive,
            _ => Finding::Suspect,
        }
    }
}

fn drifted(monotonic: Duration, before: Timestamp, after: Timestamp) -> bool {
    let wall = i128::from(after.as_millis()) - i128::from(before.as_millis());
    let expected = i128::try_from(monotonic.as_millis()).unwrap_or(i128::MAX);
    (wall - expected).unsigned_abs() > MAX_DRIFT.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_missed_pings_are_death_and_the_first_is_suspicion() {
        let (pulse, mut watch) = (Pulse::default(), Watch::new());
        // Nothing was pinged before the first tick, so nothing was missed.
        assert_eq!(watch.tick(&pulse), Finding::Alive);
        assert_eq!(watch.tick(&pulse), Finding::Suspect);
        pulse.beat();
        assert_eq!(watch.tick(&pulse), Finding::Alive);
        assert_eq!(watch.tick(&pulse), Finding::Suspect);
        assert_eq!(watch.tick(&pulse), Finding::Dead);
    }

    #[test]
    fn a_reader_that_waits_for_room_is_not_taken_for_a_dead_peer() {
        let (pulse, mut watch) = (Pulse::default(), Watch::new());
        pulse.set_blocked(true);
        for _ in 0..5 {
            assert_eq!(watch.tick(&pulse), Finding::Alive);
        }
        pulse.set_blocked(false);
        assert_eq!(watch.tick(&pulse), Finding::Alive);
        assert_eq!(watch.tick(&pulse), Finding::Suspect);
    }

    #[test]
    fn clocks_that_part_by_more_than_half_a_minute_mean_sleep() {
        let at = Timestamp::from_millis(1_000_000);
        let tick = Duration::from_secs(20);
        let after = |seconds: i64| Timestamp::from_millis(1_000_000 + seconds * 1000);
        assert!(!drifted(tick, at, after(20)));
        assert!(!drifted(tick, at, after(49)));
        assert!(drifted(tick, at, after(51)));
        assert!(drifted(tick, at, after(-11)));
        assert!(drifted(tick, at, after(3600)));
    }
}
