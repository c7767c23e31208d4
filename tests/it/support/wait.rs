//! Waiting for conditions, never for time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` finds something; fails naming `what` after [`PATIENCE`].
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// The same with another deadline.
pub(crate) async fn within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {patience:?} in vain for {what}"
        );
        sleep(LOOK).await;
    }
}

/// Waits until `look` is true.
pub(crate) async fn until_true(what: &str, mut look: impl AsyncFnMut() -> bool) {
    until(what, async || look().await.then_some(())).await;
}

/// Fails if `look` becomes true within `span`: for what must not happen.
pub(crate) async fn never(span: Duration, what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + span;
    while Instant::now() < deadline {
        assert!(!look().await, "{what}");
        sleep(LOOK).await;
    }
}
