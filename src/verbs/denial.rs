//! Why a verb is not done, as the requester reads it: a number like HTTP's, a code, words, a cure. The
//! one table from errors to numbers.

use std::time::Duration;

use crate::broker::{BrokerError, Complaint};
use crate::dingtalk::api::{ApiError, ErrorClass};
use crate::message::{RequestError, VerbFailure};

/// A verb that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    /// Like a status of HTTP.
    pub(super) status: u16,
    /// Body of the reply.
    pub(super) failure: VerbFailure,
}

impl Denial {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let failure = VerbFailure {
            code: code.to_owned(),
            message: message.into(),
            cure: None,
        };
        Self { status, failure }
    }

    /// The same with what cures it.
    pub(super) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.failure.cure = Some(cure.into());
        self
    }

    /// A question that is not what its schema describes.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(400, "malformed", message).cure(
            "compare it with the schema: `nats micro info dingtalk`, or schemas/verbs.schema.json",
        )
    }

    /// An answer that did not come in time.
    pub(super) fn late(deadline: Duration) -> Self {
        let message = format!("not done within {} s", deadline.as_secs());
        Self::new(504, "timeout", message)
            .cure("it may have been done all the same: look before asking again")
    }

    /// The reply that tells it.
    pub(super) fn into_complaint(self) -> Complaint {
        Complaint {
            status: self.status,
            text: format!("{}: {}", self.failure.code, self.failure.message),
            body: serde_json::to_vec(&self.failure).unwrap_or_default().into(),
        }
    }
}

impl From<ApiError> for Denial {
    fn from(error: ApiError) -> Self {
        let status = match error.class {
            ErrorClass::RetryAfter(_) | ErrorClass::Quota(_) => 429,
            ErrorClass::Ambiguous => 502,
            ErrorClass::Permanent => 422,
            ErrorClass::WebhookGone => 410,
            ErrorClass::Park(_) => 503,
        };
        Self {
            status,
            failure: VerbFailure {
                code: error.code,
                message: error.message,
                cure: error.cure,
            },
        }
    }
}

impl From<BrokerError> for Denial {
    fn from(error: BrokerError) -> Self {
        match &error {
            BrokerError::Away(_) | BrokerError::Conflict => {
                Self::new(503, "broker", error.to_string()).cure("ask again in a moment")
            }
            BrokerError::Refused { .. } => Self::new(507, "broker", error.to_string()),
            BrokerError::Unfit(_) => Self::new(500, "broker", error.to_string()),
        }
    }
}

impl From<RequestError> for Denial {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Target { .. } => Self::new(400, "target", error.to_string()),
            RequestError::Malformed(_) | RequestError::Content(_) | RequestError::Invalid(_) => {
                Self::malformed(error.to_string())
            }
        }
    }
}
