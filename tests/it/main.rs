//! The whole bridge and its parts against real servers on real sockets.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a harness spawns and reads what it needs, and stops at the first surprise"
)]

mod api;
mod architecture;
mod bridge;
mod broker;
mod cli;
mod cli_media;
mod corpus;
mod examples;
mod fleet;
mod hostile;
mod outbound;
mod sim;
mod sim_sdk;
mod sim_sdk_cards;
mod sim_sdk_media;
mod stream;
mod support;
mod verbs;
