//! Logging, metrics, health states.

mod health;
mod log;
mod meter;
mod metrics;
mod one_line;
mod standings;

pub use health::{AccountHealth, Health, LinkState, PartState, Snapshot};
pub use log::{LogError, init_log};
pub use meter::Meter;
pub use metrics::{ApiFamily, ApiOutcome, FrameOutcome, Metrics};
pub use standings::Standings;
