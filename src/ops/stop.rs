//! The two stages of stopping. It does not know who is stopped.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Tells every part of the bridge to stop: first to finish what it holds, then to let go.
///
/// Cheap to clone; all clones are one stop.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Cancelled first: take in nothing new and finish what is held.
    pub drain: CancellationToken,
    /// Cancelled when the grace is over or a second signal came: end now. Implies `drain`.
    pub abort: CancellationToken,
    grace: Duration,
}

impl Stop {
    /// A stop that has not begun; draining may take `grace`.
    pub fn new(grace: Duration) -> Self {
        Self {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            grace,
        }
    }

    /// Begins to drain, or aborts when it drains already: what a stop signal means.
    pub fn advance(&self) {
        if self.drain.is_cancelled() {
            self.abort.cancel();
        } else {
            self.drain.cancel();
        }
    }

    /// Ends now.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// Whether the drain was cut short by a second signal or by the deadline.
    pub fn was_cut_short(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Waits for the drain to begin, and aborts when the grace is over. Returns once aborted; drop it
    /// when everything has stopped before. Cancel-safe.
    pub async fn enforce_deadline(&self) {
        self.drain.cancelled().await;
        let cut = tokio::time::timeout(self.grace, self.abort.cancelled()).await;
        if cut.is_err() {
            tracing::warn!(
                grace_seconds = self.grace.as_secs_f64(),
                "drain took longer than its grace"
            );
            self.abort.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_aborts() {
        let stop = Stop::new(Duration::from_secs(20));
        let part = stop.clone();
        stop.advance();
        assert!(part.drain.is_cancelled() && !part.was_cut_short());
        stop.advance();
        assert!(part.was_cut_short());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_the_beginning_of_the_drain() {
        let stop = Stop::new(Duration::from_secs(20));
        let begun = Instant::now();
        let later = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            stop.advance();
        };
        tokio::join!(stop.enforce_deadline(), later);
        assert_eq!(begun.elapsed().as_secs(), 80);
        assert!(stop.was_cut_short());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_does_not_wait_for_the_deadline() {
        let stop = Stop::new(Duration::from_secs(20));
        let begun = Instant::now();
        stop.advance();
        let second = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            stop.advance();
        };
        tokio::join!(stop.enforce_deadline(), second);
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
