//! Section `log`: what is written to standard error, and how.

use schemars::JsonSchema;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::section::Section;

/// Logging.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Filter in tracing's directive syntax, such as `info,nats_dingtalk::outbound=debug`.
    pub filter: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; coloured on a terminal only.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is written to standard error, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// Level, or directives in tracing's syntax such as "info,nats_dingtalk::outbound=debug".
    filter: String,
    /// Form of a line: `text` for people, `json` for machines.
    format: LogFormat,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            filter: "info,async_nats=warn".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl RawLog {
    /// The checked section.
    pub(super) fn check(self, section: &mut Section<'_>) -> Log {
        if EnvFilter::try_new(&self.filter).is_err() {
            section.refuse(
                "filter",
                "is not a log filter",
                "write a level (error, warn, info, debug, trace) or target=level pairs with commas",
            );
        }
        Log {
            filter: self.filter,
            format: self.format,
        }
    }
}
