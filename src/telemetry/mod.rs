//! Logging, metrics, health states.

mod card_chats;
mod health;
mod labels;
mod log;
mod meter;
mod metrics;
mod one_line;
mod seats;
mod standings;

pub use card_chats::CardChats;
pub use health::{AccountHealth, Health, LinkState, PartState, ReplicaHealth, Snapshot};
pub use labels::{ApiFamily, ApiOutcome, FrameOutcome};
pub use log::{LogError, init_log};
pub use meter::{Calls, Meter, Month, Tally};
pub use metrics::Metrics;
pub use seats::Seats;
pub use standings::{Standings, Watch};
