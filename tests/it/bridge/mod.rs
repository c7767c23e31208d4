//! The promises of README.md, each through the front door: the bridge as its own process.

mod acknowledges;
mod counts_once;
mod keeps_order;
mod keeps_secrets;
mod operates;
mod receipts;
mod recovers;
mod round_trip;
mod survives;
