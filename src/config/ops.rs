//! Section `ops`: how the bridge stops.

use std::time::Duration;

/// How the bridge stops.
#[derive(Debug, Clone, PartialEq)]
pub struct Ops {
    /// How long a first signal lets the bridge finish what it holds; default 20 s.
    pub stop_grace: Duration,
}
