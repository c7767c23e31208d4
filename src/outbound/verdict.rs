//! What follows from an answer of DingTalk: one exhaustive table, error class by state. It decides
//! and does nothing.
#![deny(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use crate::dingtalk::api::ErrorClass;
use crate::message::{Outcome, Via};

/// How far an attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing that carries content had left.
    Preparing,
    /// The call had left.
    Sending,
}

/// What next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same once more, after at least this long; the lane is held.
    Again(Duration),
    /// Choose the path anew without the session webhook.
    Reroute,
    /// Hold the whole account and probe after this long; the request stays where it is.
    Hold(Duration),
    /// The month is used up: wait until it turns, unless it is an alert.
    Exhausted,
    /// Receipt `failed`, dead letter.
    GiveUp,
    /// Receipt `uncertain`: never sent again.
    Uncertain,
}

/// The table.
pub(super) fn verdict(class: ErrorClass, stage: Stage, via: Via) -> Verdict {
    match (class, stage, via) {
        (ErrorClass::RetryAfter(wait), Stage::Preparing | Stage::Sending, _) => {
            Verdict::Again(wait)
        }
        (ErrorClass::Ambiguous, Stage::Sending, _) => Verdict::Uncertain,
        // Nothing had left, so nothing can be in doubt.
        (ErrorClass::Ambiguous, Stage::Preparing, _) => Verdict::Again(Duration::ZERO),
        (ErrorClass::Permanent, Stage::Preparing | Stage::Sending, _) => Verdict::GiveUp,
        (ErrorClass::WebhookGone, Stage::Preparing | Stage::Sending, Via::Webhook) => {
            Verdict::Reroute
        }
        // There is no other path left to choose.
        (ErrorClass::WebhookGone, Stage::Preparing | Stage::Sending, Via::Openapi | Via::Card) => {
            Verdict::GiveUp
        }
        (ErrorClass::Park(wait), Stage::Preparing | Stage::Sending, _) => Verdict::Hold(wait),
        (ErrorClass::Quota(_), Stage::Preparing | Stage::Sending, _) => Verdict::Exhausted,
    }
}

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// Every call was made.
    Through,
    /// Its time is over.
    Expired,
    /// DingTalk or the bridge refuses it for good.
    GivenUp,
}

/// What its calls came to by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// One was not answered, whatever became of the others.
    InDoubt,
    /// Somebody got it.
    Somebody,
    /// Nobody did.
    Nobody,
}

/// How a request ends as a whole. Users who do not exist are nobody: a list is `sent` when everybody
/// else got all of it.
pub(super) fn outcome(halt: Halt, reach: Reach) -> Outcome {
    match (halt, reach) {
        (Halt::Through | Halt::Expired | Halt::GivenUp, Reach::InDoubt) => Outcome::Uncertain,
        (Halt::Through, Reach::Somebody) => Outcome::Sent,
        (Halt::Through | Halt::GivenUp, Reach::Nobody) | (Halt::GivenUp, Reach::Somebody) => {
            Outcome::Failed
        }
        (Halt::Expired, Reach::Somebody | Reach::Nobody) => Outcome::Expired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(7);

    #[test]
    fn the_table_says_one_thing_for_every_class_in_every_state() {
        use ErrorClass as Class;
        use Stage::{Preparing, Sending};
        let rows = [
            (
                Class::RetryAfter(WAIT),
                Preparing,
                [Verdict::Again(WAIT); 2],
            ),
            (Class::RetryAfter(WAIT), Sending, [Verdict::Again(WAIT); 2]),
            (
                Class::Ambiguous,
                Preparing,
                [Verdict::Again(Duration::ZERO); 2],
            ),
            (Class::Ambiguous, Sending, [Verdict::Uncertain; 2]),
            (Class::Permanent, Preparing, [Verdict::GiveUp; 2]),
            (Class::Permanent, Sending, [Verdict::GiveUp; 2]),
            (
                Class::WebhookGone,
                Preparing,
                [Verdict::GiveUp, Verdict::Reroute],
            ),
            (
                Class::WebhookGone,
                Sending,
                [Verdict::GiveUp, Verdict::Reroute],
            ),
            (Class::Park(WAIT), Preparing, [Verdict::Hold(WAIT); 2]),
            (Class::Park(WAIT), Sending, [Verdict::Hold(WAIT); 2]),
            (Class::Quota(WAIT), Preparing, [Verdict::Exhausted; 2]),
            (Class::Quota(WAIT), Sending, [Verdict::Exhausted; 2]),
        ];
        for (class, stage, [openapi, webhook]) in rows {
            assert_eq!(verdict(class, stage, Via::Openapi), openapi, "{class:?}");
            assert_eq!(verdict(class, stage, Via::Webhook), webhook, "{class:?}");
        }
    }

    #[test]
    fn a_list_is_sent_only_when_everybody_who_exists_got_it() {
        for (halt, [in_doubt, somebody, nobody]) in [
            (
                Halt::Through,
                [Outcome::Uncertain, Outcome::Sent, Outcome::Failed],
            ),
            (
                Halt::Expired,
                [Outcome::Uncertain, Outcome::Expired, Outcome::Expired],
            ),
            (
                Halt::GivenUp,
                [Outcome::Uncertain, Outcome::Failed, Outcome::Failed],
            ),
        ] {
            assert_eq!(outcome(halt, Reach::InDoubt), in_doubt, "{halt:?}");
            assert_eq!(outcome(halt, Reach::Somebody), somebody, "{halt:?}");
            assert_eq!(outcome(halt, Reach::Nobody), nobody, "{halt:?}");
        }
    }

    #[test]
    fn only_a_call_that_left_can_be_in_doubt() {
        for via in [Via::Openapi, Via::Webhook, Via::Card] {
            for class in [
                ErrorClass::RetryAfter(WAIT),
                ErrorClass::Ambiguous,
                ErrorClass::Permanent,
                ErrorClass::WebhookGone,
                ErrorClass::Park(WAIT),
                ErrorClass::Quota(WAIT),
            ] {
                assert_ne!(verdict(class, Stage::Preparing, via), Verdict::Uncertain);
            }
        }
    }
}
