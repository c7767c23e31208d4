//! Section `log`: what is written to standard error, and how.

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
