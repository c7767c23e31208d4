//! The promises of README.md, each through the front door: the bridge as its own process.

#![expect(
    clippy::too_many_lines,
    reason = "a test tells one story from its beginning to its end"
)]

mod acknowledges;
mod answers_cards;
mod counts_once;
mod custom_robots;
mod keeps_order;
mod keeps_secrets;
mod media;
mod operates;
mod quota;
mod receipts;
mod reconnects;
mod recovers;
mod replicas;
mod round_trip;
mod sends_media;
mod survives;
mod survives_sending;
mod survives_storage;
mod without_broker;
