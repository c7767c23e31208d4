//! A call that failed: what was called, what the caller is told, and what the bridge itself learns.

use std::time::Duration;

use super::super::failure::{ApiError, ErrorClass};
use super::codes;
use crate::telemetry::ApiOutcome;

/// How long an account is held when only a person can help.
pub(super) const HOLD: Duration = Duration::from_secs(300);
/// Wait after an answer that says nothing but "later".
pub(super) const LATER: Duration = Duration::from_secs(2);
/// Wait after a call that never reached DingTalk.
const RECONNECT: Duration = Duration::from_secs(1);

/// What was called: the same code means different things to different calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dingtalk::api) enum Call {
    /// An access token: nothing was sent, whatever happened.
    Token,
    /// `oToMessages/batchSend` or `groupMessages/send`.
    Robot,
    /// A session webhook.
    Webhook,
    /// The webhook of a custom robot.
    CustomRobot,
    /// `media/upload`: nobody sees anything of it.
    Upload,
    /// Creating, delivering and updating a card.
    Card,
    /// Streaming into a card.
    CardStream,
    /// Recalling messages.
    Recall,
    /// Reactions.
    Emotion,
    /// What the robot may ask without changing anything: read states, addresses of media.
    Query,
    /// Looking people up.
    Contact,
}

/// A failed call, with what the pace and the token have to learn from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dingtalk::api) struct Refusal {
    /// For the caller; not scrubbed yet.
    pub(in crate::dingtalk::api) error: Box<ApiError>,
    /// For the bridge's own state.
    pub(in crate::dingtalk::api) lesson: Lesson,
    /// Whether it may count against the monthly quota.
    pub(in crate::dingtalk::api) billed: bool,
}

/// What a refusal teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dingtalk::api) enum Lesson {
    /// Nothing.
    None,
    /// One chat or receiver is too busy: the pace of the others stays.
    Later,
    /// The access token is not valid any more.
    Token,
    /// The pace is too fast; nothing is taken for this long.
    TooFast(Duration),
    /// The webhooks of the robot are muted.
    Muted,
    /// Every call from this address is refused for this long.
    Banned(Duration),
}

/// A call that got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dingtalk::api) enum Lost {
    /// It did not leave: no connection.
    Unsent(String),
    /// It may have left, and no answer came in time.
    Late,
    /// It may have left, and the connection broke.
    Broken(String),
    /// It could not even be written down (an illegal URL or header).
    Unwritable(String),
}

impl Refusal {
    /// The refusal of `call`, its class tempered by what repeating the call would do.
    pub(super) fn new(call: Call, error: ApiError, lesson: Lesson) -> Self {
        let billed = error.class.billed();
        let class = tempered(call, error.class);
        Self {
            error: Box::new(ApiError { class, ..error }),
            lesson,
            billed,
        }
    }

    /// How the call counts.
    pub(in crate::dingtalk::api) fn outcome(&self) -> ApiOutcome {
        match (self.lesson, self.error.class) {
            (Lesson::Later | Lesson::TooFast(_) | Lesson::Muted | Lesson::Banned(_), _) => {
                ApiOutcome::Throttled
            }
            (_, ErrorClass::RetryAfter(_)) => ApiOutcome::Failed,
            (_, ErrorClass::Ambiguous) => ApiOutcome::Ambiguous,
            (
                _,
                ErrorClass::Permanent
                | ErrorClass::WebhookGone
                | ErrorClass::Park(_)
                | ErrorClass::Quota(_),
            ) => ApiOutcome::Refused,
        }
    }
}

/// What a call without an answer means.
pub(in crate::dingtalk::api) fn lost(call: Call, lost: &Lost) -> Refusal {
    let (code, class, message) = match lost {
        Lost::Unsent(detail) => (
            "connect",
            ErrorClass::RetryAfter(RECONNECT),
            format!("no connection to DingTalk: {detail}"),
        ),
        Lost::Late => (
            "timeout",
            ErrorClass::Ambiguous,
            "no answer in time".to_owned(),
        ),
        Lost::Broken(detail) => (
            "broken",
            ErrorClass::Ambiguous,
            format!("the connection broke before the answer: {detail}"),
        ),
        Lost::Unwritable(detail) => (
            "request",
            ErrorClass::Permanent,
            format!("the request cannot be written: {detail}"),
        ),
    };
    let error = ApiError {
        class,
        code: code.to_owned(),
        message,
        cure: None,
    };
    Refusal::new(call, error, Lesson::None)
}

/// What a success without the result that was asked for means: something else than DingTalk
/// answered.
pub(in crate::dingtalk::api) fn without_result(call: Call, what: &str) -> Refusal {
    let error = ApiError {
        class: ErrorClass::Ambiguous,
        code: "unreadable".to_owned(),
        message: format!("the answer has a success status and no {what}"),
        cure: Some(codes::HOST.to_owned()),
    };
    Refusal::new(call, error, Lesson::None)
}

/// A body that was rendered for another path: a fault of the bridge, never sent.
pub(in crate::dingtalk::api) fn mismatch() -> ApiError {
    ApiError {
        class: ErrorClass::Permanent,
        code: "shipment".to_owned(),
        message: "the body was rendered for another path than the recipient's".to_owned(),
        cure: None,
    }
}

/// A call that needs an app, for an account that is a custom robot's webhook.
pub(in crate::dingtalk::api) fn no_app() -> ApiError {
    ApiError {
        class: ErrorClass::Permanent,
        code: "no-app".to_owned(),
        message: "a custom robot's webhook posts text, markdown, link and action_card to its own group, nothing else".to_owned(),
        cure: Some("use an account with the client_id and client_secret of an app".to_owned()),
    }
}

/// A call that shows nothing to anybody is never in doubt: it is made again. And a refusal of a
/// token for good concerns the account.
fn tempered(call: Call, class: ErrorClass) -> ErrorClass {
    match (call, class) {
        (Call::Token | Call::Upload | Call::Query | Call::Contact, ErrorClass::Ambiguous) => {
            ErrorClass::RetryAfter(LATER)
        }
        (Call::Token, ErrorClass::Permanent | ErrorClass::WebhookGone) => ErrorClass::Park(HOLD),
        _ => class,
    }
}
