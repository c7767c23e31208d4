//! Values of the labels of metrics: enums, so that no label takes a value nobody thought of. It knows no
//! metric.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use crate::message::{AccountName, MediaReason, MediaState, Outcome};

/// An account as a label, without a copy: labels are looked up for every frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) AccountName);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

/// How a received frame ended. Received = the sum of these + in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameOutcome {
    /// New in JetStream.
    Stored,
    /// In JetStream already.
    Duplicate,
    /// In the local spool.
    Spooled,
    /// Kept out by the policy of the account.
    Gated,
    /// Neither stored nor spooled in time: not acknowledged.
    Refused,
}

/// Family of DingTalk calls that share a pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiFamily {
    /// `connections/open`.
    Gateway,
    /// Access tokens.
    Token,
    /// Robot sends to users.
    SendUser,
    /// Robot sends to groups.
    SendGroup,
    /// Session webhooks.
    Webhook,
    /// Webhooks of custom robots.
    CustomRobot,
    /// Uploads and downloads of media.
    Media,
    /// Creating, delivering and updating cards.
    Card,
    /// Streaming into cards.
    CardStream,
    /// Recalls and read states.
    Recall,
    /// Reactions.
    Emotion,
    /// Look-ups of people.
    Contact,
}

/// How a DingTalk call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiOutcome {
    /// Accepted.
    Accepted,
    /// Refused for now.
    Throttled,
    /// Refused for good.
    Refused,
    /// Failed before it was processed.
    Failed,
    /// Left without an answer.
    Ambiguous,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SendOutcome {
    Sent,
    Failed,
    Expired,
    Uncertain,
}

impl From<Outcome> for SendOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sent => Self::Sent,
            Outcome::Failed => Self::Failed,
            Outcome::Expired => Self::Expired,
            Outcome::Uncertain => Self::Uncertain,
        }
    }
}

/// How a media item ended: its state, or why it is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct MediaOutcome(&'static str);

impl MediaOutcome {
    pub(super) fn new(state: MediaState, reason: Option<MediaReason>) -> Self {
        Self(reason.map_or(state.as_str(), MediaReason::as_str))
    }
}

impl EncodeLabelValue for MediaOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

/// Label values as Prometheus has them: lower case.
macro_rules! label_values {
    ($($label:ident { $($variant:ident => $text:literal),+ $(,)? })+) => {
        $(impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                let text = match self { $(Self::$variant => $text),+ };
                text.encode(encoder)
            }
        })+
    };
}

label_values! {
    FrameOutcome { Stored => "stored", Duplicate => "duplicate", Spooled => "spooled", Gated => "gated", Refused => "refused" }
    ApiOutcome { Accepted => "accepted", Throttled => "throttled", Refused => "refused", Failed => "failed", Ambiguous => "ambiguous" }
    SendOutcome { Sent => "sent", Failed => "failed", Expired => "expired", Uncertain => "uncertain" }
}

impl ApiFamily {
    /// The name as metrics and records have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Token => "token",
            Self::SendUser => "send_user",
            Self::SendGroup => "send_group",
            Self::Webhook => "webhook",
            Self::CustomRobot => "custom_robot",
            Self::Media => "media",
            Self::Card => "card",
            Self::CardStream => "card_stream",
            Self::Recall => "recall",
            Self::Emotion => "emotion",
            Self::Contact => "contact",
        }
    }
}

impl EncodeLabelValue for ApiFamily {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.as_str().encode(encoder)
    }
}
