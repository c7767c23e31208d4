//! The broker module against a real nats-server that is killed, restarted and filled up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test's helpers cannot do fails the test"
)]

mod connecting;
mod feeds;
mod keyvalue;
mod managed;
pub(crate) mod nats;
mod publishing;
mod streams;
