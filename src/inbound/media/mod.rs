//! Media that comes in: named in the message from the start, fetched into the object store after the
//! message is stored and acknowledged, and told about on the status subject.
//!
//! Nothing here is on the path from socket to ack but [`assign`] and [`Errands::send`], which neither
//! wait nor fail. What is left undone, because the bridge ended or had no room, is found again in the
//! inbound stream by `scan`. The loop is in `fetch`, one item in `trip`, what an error means in
//! `verdict`.

mod body;
mod claim;
mod describe;
mod errand;
mod fetch;
mod queue;
mod scan;
mod trip;
mod verdict;

pub(super) use errand::{Errand, Errands, announced, assign};
pub use fetch::MediaFetch;
pub(super) use fetch::{Parts, channel};
pub(super) use scan::read;
