//! One call that sends: who gets what, and what DingTalk said when it took it.

use crate::dingtalk::payload::SessionWebhook;

/// Who gets one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// One to 20 people, by staffId.
    Users(Vec<String>),
    /// A group, by openConversationId.
    Group(String),
    /// Whoever spoke in the session.
    Webhook(SessionWebhook),
    /// The group of the custom robot that the account is.
    CustomRobot {
        /// DingTalk's idempotency key: posts with the same one show one message. One per part, and
        /// the same at each try (oapi.md, section 4.3).
        msg_uuid: String,
    },
}

/// One message in the form of one call: what fits, rendered for its path.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipment {
    /// Who gets it.
    pub recipient: Recipient,
    /// What: `msgKey` and `msgParam` for the robot API, the whole body for a webhook of either kind.
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
    /// For a session webhook or a custom robot: JSON text of the body.
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
