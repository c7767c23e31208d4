//! Why the broker did not do what was asked, in terms of what a caller can do about it. It knows
//! JetStream's error codes, and nothing of the operations that met them.

use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::jetstream;
use thiserror::Error;

/// `err_code` of a wrong last sequence: the optimistic write found something else.
pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
/// The same without the sequence in its words (2.12).
pub(super) const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10164;
/// `err_code` of a message that was not found.
pub(super) const NO_MESSAGE: u64 = 10037;
/// `err_code` of a sequence that is gone.
pub(super) const SEQUENCE_GONE: u64 = 10043;
/// `err_code` of a stream that is missing.
pub(super) const NO_STREAM: u64 = 10059;
/// `err_code` of a consumer that is missing.
pub(super) const NO_CONSUMER: u64 = 10014;
/// `err_code` of a stream that exists with another configuration.
pub(super) const STREAM_EXISTS: u64 = 10058;
/// Refusals that the bridge makes up itself, before anything is sent, carry this code.
pub(super) const NOT_SENT: u64 = 0;

/// Cluster without leader, resources or stream for the moment, or a copy of the message that is
/// being stored this instant: the same message will be taken a little later.
const PASSING: [u64; 8] = [
    10008, // cluster not available
    10009, // not the leader
    10118, // stream offline
    10119, // consumer offline
    10158, // a message with this id is being stored
    10163, // expected last sequence not ready
    10167, // too many requests
    10194, // stream offline, with a reason
];

/// Why the broker did not do what was asked.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// No connection, or no answer in time: try again.
    #[error("the broker does not answer: {0}")]
    Away(String),
    /// JetStream refused a message (full stream, wrong sequence, too large): the text is its own.
    #[error("jetstream refused: {description} (err_code {code})")]
    Refused {
        /// JetStream's err_code.
        code: u64,
        /// JetStream's words.
        description: String,
    },
    /// A compare-and-set found another value.
    #[error("changed meanwhile")]
    Conflict,
    /// A stream, bucket or setting that would break a promise; the text names it and the cure.
    #[error("{0}")]
    Unfit(String),
}

impl BrokerError {
    /// Makes a refusal, or an absence where the refusal passes by itself.
    pub(super) fn refusal(code: u64, description: &str) -> Self {
        if PASSING.contains(&code) {
            return Self::Away(format!("{description} (err_code {code})"));
        }
        Self::Refused {
            code,
            description: description.to_owned(),
        }
    }

    /// Whether JetStream said no with this very code.
    pub(super) fn is_code(&self, wanted: u64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// Whether an optimistic write lost.
    pub(super) fn is_wrong_sequence(&self) -> bool {
        self.is_code(WRONG_LAST_SEQUENCE) || self.is_code(WRONG_LAST_SEQUENCE_CONSTANT)
    }
}

impl From<jetstream::Error> for BrokerError {
    fn from(error: jetstream::Error) -> Self {
        Self::refusal(error.error_code().0, &error.to_string())
    }
}

impl From<RequestError> for BrokerError {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::TimedOut => Self::Away("no answer in time".to_owned()),
            RequestErrorKind::NoResponders => {
                Self::Away("jetstream is not running or the stream is missing".to_owned())
            }
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                Self::Refused {
                    code: NOT_SENT,
                    description: error.to_string(),
                }
            }
            RequestErrorKind::Other => Self::Away(error.to_string()),
        }
    }
}
