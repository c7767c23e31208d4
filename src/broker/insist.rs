//! A question that nobody may have heard is asked again while the first still waits.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

/// How long a question waits alone.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks, and asks again every second until one of the questions ends; the others are given up.
///
/// A cluster without a leader drops what it is asked, and whoever waits for that learns too late that
/// there is a new one. For questions that may be heard more than once. It ends when the first of them
/// does, so each needs an end of its own.
pub(super) async fn insist<F: Future>(ask: impl Fn() -> F) -> F::Output {
    let mut asked = FuturesUnordered::new();
    loop {
        asked.push(ask());
        if let Ok(Some(answer)) = timeout(AGAIN, asked.next()).await {
            return answer;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use futures_util::FutureExt;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Counts a question, and says which it is.
    fn number(asked: &Cell<u32>) -> u32 {
        asked.set(asked.get() + 1);
        asked.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_nobody_heard_is_asked_again_within_a_second() {
        let (asked, begun) = (Cell::new(0), Instant::now());
        let answer = insist(|| {
            let nth = number(&asked);
            async move {
                match nth {
                    1 | 2 => pending().await,
                    _ => nth,
                }
            }
        });
        assert_eq!(answer.await, 3);
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_longer_than_a_second_counts_when_it_comes() {
        let (asked, begun) = (Cell::new(0), Instant::now());
        let answer = insist(|| {
            let nth = number(&asked);
            sleep(Duration::from_millis(2500)).map(move |()| nth)
        });
        assert_eq!(answer.await, 1);
        assert_eq!(begun.elapsed().as_millis(), 2500);
        assert_eq!(asked.get(), 3);
    }
}
