//! Logging, metrics, health states.

mod health;
mod labels;
mod log;
mod meter;
mod metrics;
mod standings;

pub use health::{AccountHealth, Health, LinkState, PartState, Snapshot};
pub use labels::{ApiFamily, ApiOutcome, FrameOutcome};
pub use log::{LogError, init_log};
pub use meter::Meter;
pub use metrics::Metrics;
pub use standings::Standings;
