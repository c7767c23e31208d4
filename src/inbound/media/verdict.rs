//! What an error means for a media item: one exhaustive table.

#![deny(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use thiserror::Error;

use crate::broker::{BrokerError, MediaError};
use crate::dingtalk::api::{ApiError, ErrorClass, FetchError};
use crate::message::MediaReason;

/// DingTalk's code for a download code that it does not know, or not any more (oapi.md, section 5.2).
const EXPIRED: &str = "invalidParameter.robotCode.downloadCode";

/// Why an item was not stored this time.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// DingTalk gave no address for the code.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The host gave no bytes.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is larger than this many bytes.
    #[error("larger than inbound.media_max_bytes, {0}")]
    TooLarge(u64),
    /// The host stopped in the middle.
    #[error("the host fell silent in the middle of the body")]
    Silent,
    /// The account has no Open API now.
    #[error("the account is not served now")]
    NotServed,
    /// The account is gone, or its media is not fetched any more.
    #[error("the account is not served any more, or its media is not to be fetched")]
    Unwanted,
    /// The broker did not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The body broke off in a way that the host did not say.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// What to do with the item now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again, not sooner than this.
    Again(Duration),
    /// Try once more with a fresh address; the second time it is for good.
    Once(MediaReason),
    /// It will never be stored.
    Never(MediaReason),
}

impl From<MediaError> for Trouble {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Broker(error) => Self::Broker(error),
            MediaError::Body(error) => error
                .downcast::<Self>()
                .unwrap_or_else(|error| Self::Broken(error.to_string())),
        }
    }
}

impl Trouble {
    /// What it is for people, with the cure where there is one.
    pub(super) fn detail(&self) -> String {
        let cure = match self {
            Self::Api(error) => error.cure.as_deref(),
            Self::Fetch(_)
            | Self::TooLarge(_)
            | Self::Silent
            | Self::NotServed
            | Self::Unwanted
            | Self::Broker(_)
            | Self::Broken(_) => None,
        };
        match cure {
            Some(cure) => format!("{self}; {cure}"),
            None => self.to_string(),
        }
    }

    /// Whether it was not even tried.
    pub(super) fn is_untried(&self) -> bool {
        matches!(self, Self::Unwanted | Self::NotServed)
    }
}

/// The table.
pub(super) fn verdict(trouble: &Trouble) -> Verdict {
    let soon = Verdict::Again(Duration::ZERO);
    match trouble {
        Trouble::Api(error) => match error.class {
            ErrorClass::RetryAfter(wait) | ErrorClass::Park(wait) => Verdict::Again(wait),
            // Asking for an address changes nothing, so it may be asked for twice.
            ErrorClass::Ambiguous => soon,
            ErrorClass::Quota(_) => Verdict::Never(MediaReason::Quota),
            ErrorClass::Permanent if error.code == EXPIRED => Verdict::Never(MediaReason::Expired),
            ErrorClass::Permanent | ErrorClass::WebhookGone => Verdict::Never(MediaReason::Refused),
        },
        Trouble::Fetch(FetchError::Forbidden(_)) => Verdict::Never(MediaReason::Forbidden),
        Trouble::Fetch(FetchError::Gone(_)) => Verdict::Once(MediaReason::Gone),
        Trouble::Unwanted => Verdict::Never(MediaReason::Unserved),
        Trouble::TooLarge(_) => Verdict::Never(MediaReason::TooLarge),
        Trouble::Fetch(FetchError::Again(_))
        | Trouble::Silent
        | Trouble::NotServed
        | Trouble::Broken(_) => soon,
        Trouble::Broker(
            BrokerError::Away(_)
            | BrokerError::Refused { .. }
            | BrokerError::Conflict
            | BrokerError::Unfit(_),
        ) => soon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(class: ErrorClass, code: &str) -> Trouble {
        Trouble::Api(ApiError {
            class,
            code: code.to_owned(),
            message: String::new(),
            cure: None,
        })
    }

    #[test]
    fn only_what_can_change_by_waiting_is_tried_again() {
        let (minute, again) = (Duration::from_secs(60), Verdict::Again(Duration::ZERO));
        let never = Verdict::Never;
        let fetch = |error: fn(String) -> FetchError| Trouble::Fetch(error(String::new()));
        for (trouble, expected) in [
            (
                api(ErrorClass::RetryAfter(minute), "x"),
                Verdict::Again(minute),
            ),
            (api(ErrorClass::Park(minute), "x"), Verdict::Again(minute)),
            (api(ErrorClass::Ambiguous, "timeout"), again),
            (
                api(ErrorClass::Quota(minute), "x"),
                never(MediaReason::Quota),
            ),
            (
                api(ErrorClass::Permanent, EXPIRED),
                never(MediaReason::Expired),
            ),
            (
                api(ErrorClass::Permanent, "invalidParameter.robotCode.auth"),
                never(MediaReason::Refused),
            ),
            (fetch(FetchError::Forbidden), never(MediaReason::Forbidden)),
            (fetch(FetchError::Gone), Verdict::Once(MediaReason::Gone)),
            (fetch(FetchError::Again), again),
            (Trouble::TooLarge(1), never(MediaReason::TooLarge)),
            (Trouble::Silent, again),
            (Trouble::NotServed, again),
            (Trouble::Broker(BrokerError::Away(String::new())), again),
        ] {
            assert_eq!(verdict(&trouble), expected, "{trouble:?}");
        }
    }

    #[test]
    fn what_broke_a_body_is_not_lost_on_the_way_through_the_store() {
        let error = MediaError::Body(std::io::Error::other(Trouble::TooLarge(5)));
        assert!(matches!(Trouble::from(error), Trouble::TooLarge(5)));
        let error = MediaError::Body(std::io::Error::other("reset"));
        assert!(matches!(Trouble::from(error), Trouble::Broken(_)));
    }
}
