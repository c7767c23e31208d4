//! Section `ops`: how the bridge stops.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::section::Section;

/// Longest time to stop; every supervisor has lost patience by then.
const MAX_GRACE: Duration = Duration::from_secs(3_600);

/// How the bridge stops.
#[derive(Debug, Clone, PartialEq)]
pub struct Ops {
    /// How long a first signal lets the bridge finish what it holds; default 20 s.
    pub stop_grace: Duration,
}

/// How the bridge stops.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOps {
    /// How long a first signal lets the bridge finish what it holds; keep it below the supervisor's own
    /// limit (systemd 90 s, Kubernetes 30 s, Docker 10 s).
    stop_grace: String,
}

impl Default for RawOps {
    fn default() -> Self {
        Self {
            stop_grace: "20s".to_owned(),
        }
    }
}

impl RawOps {
    /// The checked section.
    pub(super) fn check(self, section: &mut Section<'_>) -> Ops {
        Ops {
            stop_grace: section
                .duration("stop_grace", &self.stop_grace, Duration::ZERO..=MAX_GRACE)
                .unwrap_or_default(),
        }
    }
}
