//! Answers of DingTalk that are kept for a moment: whoever asks the same meanwhile waits for the one
//! call, or gets what it brought.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(2);
/// Answers that are kept; beyond them those that nobody waits for are forgotten.
const KEPT: usize = 1024;

type Place<T> = Arc<tokio::sync::Mutex<Option<(Instant, T)>>>;

/// Answers by question.
#[derive(Debug)]
pub(super) struct Brief<T> {
    places: Mutex<HashMap<String, Place<T>>>,
}

impl<T> Default for Brief<T> {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
        }
    }
}

impl<T: Clone> Brief<T> {
    /// The answer to `question`, from a moment ago or from `ask`. A failure is not kept.
    pub(super) async fn answer<E, F>(
        &self,
        question: String,
        ask: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let place = self.place(question);
        let mut kept = place.lock().await;
        if let Some((at, answer)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(answer.clone());
        }
        let answer = ask().await?;
        *kept = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    fn place(&self, question: String) -> Place<T> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT {
            places.retain(|_, place| Arc::strong_count(place) > 1);
        }
        Arc::clone(places.entry(question).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_call_answers_all_who_ask_at_the_same_time_and_a_moment_later() {
        let brief = Brief::<usize>::default();
        let calls = AtomicUsize::new(0);
        let ask = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, ()>(calls.fetch_add(1, Ordering::Relaxed))
        };
        let both = tokio::join!(
            brief.answer("a".to_owned(), ask),
            brief.answer("a".to_owned(), ask)
        );
        assert_eq!(both, (Ok(0), Ok(0)));
        tokio::time::advance(Duration::from_millis(2100)).await;
        assert_eq!(brief.answer("a".to_owned(), ask).await, Ok(1));
    }

    #[tokio::test]
    async fn a_failure_is_asked_again() {
        let brief = Brief::<usize>::default();
        let failed = brief.answer("a".to_owned(), || async { Err(()) }).await;
        assert_eq!(failed, Err(()));
        assert_eq!(
            brief
                .answer("a".to_owned(), || async { Ok::<_, ()>(2) })
                .await,
            Ok(2)
        );
    }
}
