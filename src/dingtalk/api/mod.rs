//! DingTalk's Open API: token, sends, errors, pacing. One call at a time; who retries is decided
//! by the caller from [`ApiError::class`].

use std::time::Duration;

use thiserror::Error;

use super::payload::SessionWebhook;
use crate::config;
use crate::message::{AccountName, Content, Mentions};
use crate::telemetry::Metrics;

/// The HTTP client that all accounts share: proxy, CA, deadlines.
#[derive(Debug, Clone)]
pub struct Http {}

impl Http {
    /// Builds the client from the configuration.
    ///
    /// # Errors
    /// When the CA file cannot be read or the proxy is no URL; the text names the key.
    pub fn new(config: &config::Dingtalk) -> Result<Self, HttpError> {
        let _ = config;
        unimplemented!()
    }
}

/// Why no HTTP client can be built.
#[derive(Debug, Error)]
#[error("{key}: {detail}")]
pub struct HttpError {
    /// Configuration key concerned.
    pub key: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

/// The Open API as one account.
#[derive(Debug)]
pub struct Api {}

/// Who gets one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// One to 20 people, by staffId.
    Users(Vec<String>),
    /// A group, by openConversationId.
    Group(String),
    /// Whoever spoke in the session.
    Webhook(SessionWebhook),
}

/// One message in the form of one call: what fits, rendered for its path.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipment {
    /// Who gets it.
    pub recipient: Recipient,
    /// What: `msgKey` and `msgParam` for the robot API, the whole body for a webhook.
    pub body: ShipmentBody,
}

/// Rendered content.
#[derive(Debug, Clone, PartialEq)]
pub enum ShipmentBody {
    /// For `oToMessages/batchSend` and `groupMessages/send`; `msg_param` is the JSON text.
    Robot {
        /// Template.
        msg_key: String,
        /// JSON text of its parameters.
        msg_param: String,
    },
    /// For a session webhook: JSON text of the body.
    Webhook(String),
}

/// What DingTalk said when it accepted a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Key for recall and read status; webhooks have none.
    pub process_query_key: Option<String>,
    /// Users refused for good inside HTTP 200 (`invalidStaffIdList`, `filteredStaffIdList`).
    pub refused_users: Vec<String>,
    /// Users refused for now inside HTTP 200 (`flowControlledStaffIdList`).
    pub throttled_users: Vec<String>,
}

/// Why a call did not send.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// What the caller can do.
    pub class: ErrorClass,
    /// DingTalk's code, or one of the bridge's (`timeout`, `connect`, `http-502`, …).
    pub code: String,
    /// DingTalk's words, cut to a sane length, secrets removed.
    pub message: String,
    /// What cures it: console page, permission, setting.
    pub cure: Option<String>,
}

/// What the caller can do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It was not processed: send again after this long (never shorter; add jitter and growth).
    RetryAfter(Duration),
    /// It may have been processed: never send again.
    Ambiguous,
    /// It never will be: give the request up.
    Permanent,
    /// The session webhook is of no use any more: take the Open API, or give up.
    WebhookGone,
    /// Nothing of this account will be, until somebody acts: hold the account and try after this long.
    Park(Duration),
}

impl Api {
    /// The Open API as `account`.
    pub fn new(
        http: Http,
        dingtalk: &config::Dingtalk,
        name: AccountName,
        account: &config::Account,
        metrics: Metrics,
    ) -> Self {
        let _ = (http, dingtalk, name, account, metrics);
        unimplemented!()
    }

    /// Makes everything ready for a call without making it: a valid token, a free slot in the
    /// pace of the family. Waits as long as the pace demands. Not billed.
    ///
    /// # Errors
    /// Never [`ErrorClass::Ambiguous`]: nothing that sends has left.
    pub async fn prepare(&self, recipient: &Recipient) -> Result<(), ApiError> {
        let _ = recipient;
        unimplemented!()
    }

    /// Makes the call once; on an invalid-token answer (not processed) refreshes the token and
    /// makes it once more. Cancelling it leaves the outcome unknown.
    ///
    /// # Errors
    /// By [`ErrorClass`].
    pub async fn send(&self, shipment: &Shipment) -> Result<Accepted, ApiError> {
        let _ = shipment;
        unimplemented!()
    }
}

/// Renders a content for the robot API: one message, or several for a markdown that is too long.
pub fn render_robot(content: &Content) -> Vec<ShipmentBody> {
    let _ = content;
    unimplemented!()
}

/// Renders a content for a session webhook, with the @ texts and the at list made to agree;
/// `None` for contents that a webhook does not carry (raw msgKeys).
pub fn render_webhook(content: &Content, mention: &Mentions) -> Option<Vec<ShipmentBody>> {
    let _ = (content, mention);
    unimplemented!()
}
