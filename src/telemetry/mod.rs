//! Logging, metrics, health states.

mod health;
mod metrics;

pub use health::{AccountHealth, Health, LinkState, PartState, Snapshot};
pub use metrics::{ApiFamily, ApiOutcome, FrameOutcome, Metrics};
