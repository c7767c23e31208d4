//! How long the outbound side waits for what. Tests shorten it; nobody else needs to.

use std::time::Duration;

/// The waits of the outbound side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    /// Between two progress reports for everything held; well under the consumer's `ack_wait` of 4 s.
    pub progress: Duration,
    /// Deadline of one DingTalk call, as configured: a call found under way is given this long.
    pub call: Duration,
    /// What is added to [`Timings::call`] before such a call counts as uncertain.
    pub margin: Duration,
    /// First wait after a refusal that names none; it doubles.
    pub retry_first: Duration,
    /// Longest wait that doubling leads to; DingTalk's own demands may be longer.
    pub retry_cap: Duration,
    /// How long a stop waits for what is being sent.
    pub drain: Duration,
    /// Between two looks for requests that nobody serves.
    pub sweep: Duration,
    /// For how long nobody has to have taken them: an account or its consumer may be on its way.
    pub stray_age: Duration,
    /// Between two looks for what another bridge left in the backlog.
    pub review: Duration,
    /// Between two frames of one card: closer ones are refused (oapi.md, section 6.7).
    pub card_gap: Duration,
    /// How long a card that is streamed into waits for the next piece before it is closed. Long
    /// enough for the slow tool of an agent, short enough that nobody watches it spin for an hour.
    pub card_deadline: Duration,
    /// Between two looks for cards that nobody closes any more.
    pub card_sweep: Duration,
}

impl Timings {
    /// Waits for a call and whatever else it turns out to need, a token perhaps; `None` when it takes so
    /// long that another life may already judge it.
    pub(super) async fn within_a_call<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let most = self.call + self.margin / 2;
        tokio::time::timeout(most, call).await.ok()
    }

    /// The waits for calls with a deadline of `call`.
    pub const fn for_calls(call: Duration) -> Self {
        Self {
            progress: Duration::from_millis(1300),
            call,
            margin: Duration::from_secs(2),
            retry_first: Duration::from_secs(1),
            retry_cap: Duration::from_secs(30),
            drain: Duration::from_secs(15),
            sweep: Duration::from_secs(5),
            stray_age: Duration::from_secs(10),
            review: Duration::from_secs(30),
            card_gap: Duration::from_millis(800),
            card_deadline: Duration::from_secs(600),
            card_sweep: Duration::from_secs(60),
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self::for_calls(Duration::from_secs(10))
    }
}
