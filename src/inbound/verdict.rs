//! What a result means for the answer to a frame: one exhaustive table.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::broker::{BrokerError, Stored};
use crate::spool::SpoolError;
use crate::telemetry::FrameOutcome;

/// What to do with a frame now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is safe: acknowledge it and count it so.
    Acknowledge(FrameOutcome),
    /// The broker did not take it: the spool is next.
    Spool,
    /// The spool did not take it either: hold it until the hard budget, then withhold the answer.
    Hold,
}

/// After the broker answered a publish, or its connection was given up.
pub(super) fn after_publish(result: &Result<Stored, BrokerError>) -> Verdict {
    match result {
        Ok(Stored {
            duplicate: false, ..
        }) => Verdict::Acknowledge(FrameOutcome::Stored),
        Ok(Stored {
            duplicate: true, ..
        }) => Verdict::Acknowledge(FrameOutcome::Duplicate),
        Err(
            BrokerError::Away(_)
            | BrokerError::Refused { .. }
            | BrokerError::Conflict
            | BrokerError::Unfit(_),
        ) => Verdict::Spool,
    }
}

/// After the spool answered an append.
pub(super) fn after_append(result: &Result<(), SpoolError>) -> Verdict {
    match result {
        Ok(()) => Verdict::Acknowledge(FrameOutcome::Spooled),
        Err(SpoolError::Full { .. } | SpoolError::Disk { .. } | SpoolError::Busy(_)) => {
            Verdict::Hold
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_acknowledged() {
        let stored = |duplicate| {
            Ok(Stored {
                sequence: 1,
                duplicate,
            })
        };
        let table = [
            (stored(false), Verdict::Acknowledge(FrameOutcome::Stored)),
            (stored(true), Verdict::Acknowledge(FrameOutcome::Duplicate)),
            (Err(BrokerError::Away(String::new())), Verdict::Spool),
            (
                Err(BrokerError::Refused {
                    code: 10077,
                    description: "maximum bytes exceeded".into(),
                }),
                Verdict::Spool,
            ),
            (Err(BrokerError::Conflict), Verdict::Spool),
            (Err(BrokerError::Unfit(String::new())), Verdict::Spool),
        ];
        for (result, expected) in table {
            assert_eq!(after_publish(&result), expected, "{result:?}");
        }
        let table = [
            (Ok(()), Verdict::Acknowledge(FrameOutcome::Spooled)),
            (Err(SpoolError::Full { max_bytes: 1 }), Verdict::Hold),
            (Err(SpoolError::Busy(String::new())), Verdict::Hold),
            (
                Err(SpoolError::Disk {
                    path: String::new(),
                    detail: String::new(),
                }),
                Verdict::Hold,
            ),
        ];
        for (result, expected) in table {
            assert_eq!(after_append(&result), expected, "{result:?}");
        }
    }
}
