//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential backoff with full jitter: each wait is anything up to a ceiling that doubles.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    /// Ceilings from `least` to `most`.
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            attempts: 0,
        }
    }

    /// Ceiling of the next wait.
    pub(super) fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.least.saturating_mul(factor).min(self.most)
    }

    /// Whether the ceiling doubles no more.
    pub(super) fn is_at_most(&self) -> bool {
        self.ceiling() == self.most
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(fastrand::f64())
    }

    /// Begins again after success.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// `duration` moved by at most a tenth of it, so that what began together does not end together.
pub(super) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_most_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut ceilings = Vec::new();
        for _ in 0..8 {
            ceilings.push(backoff.ceiling().as_secs());
            let ceiling = backoff.ceiling();
            assert!(backoff.next() <= ceiling);
        }
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            backoff.next();
        }
        assert_eq!(backoff.ceiling().as_secs(), 60);
        backoff.reset();
        assert_eq!(backoff.ceiling().as_secs(), 1);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..100 {
            let moved = jittered(Duration::from_secs(100)).as_secs_f64();
            assert!((90.0..=110.0).contains(&moved));
        }
    }
}
