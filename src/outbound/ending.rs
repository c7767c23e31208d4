//! The end of a request from how everybody fared, in the words of its receipt. It sends nothing.

use crate::message::Outcome;

use super::ledger::Done;
use super::receipt::{Cause, Ended};
use super::trip::Trip;
use super::verdict::{self, Halt};

/// Most users that a text for people names.
const MOST_NAMED: usize = 10;

impl Trip<'_> {
    /// The end as a whole, from how everybody fared.
    pub(super) fn halted(&mut self, halt: Halt, cause: Option<Cause>) -> Done {
        let progress = &mut self.hold.progress;
        let outcome = verdict::outcome(halt, progress.reach());
        if halt == Halt::GivenUp {
            progress.give_up(Outcome::Failed);
        }
        let cause = match (outcome, cause) {
            (Outcome::Sent, _) => None,
            (Outcome::Uncertain, other) => Some(self.in_doubt(other)),
            (Outcome::Failed, None) => Some(self.nobody()),
            (Outcome::Failed | Outcome::Expired, cause) => cause,
        };
        let mut done = self.ended(outcome, cause);
        let unsent = done.receipt.unsent_users.len();
        if let Some(message) = done.receipt.message.as_mut().filter(|_| unsent > 0) {
            // Whoever reads the dead letter must not send it to those who have it.
            let all = self.plan.job.audience.users().len();
            message.push_str(&format!(
                "; {unsent} of {all} users were not sent to, the receipt names them"
            ));
        }
        if outcome == Outcome::Failed {
            done.dead = self.dead.or(done.dead);
        }
        done
    }

    pub(super) fn ended(&self, outcome: Outcome, cause: Option<Cause>) -> Done {
        let progress = self.hold.progress.clone();
        let unsent_users = progress.unsent(&self.plan.job.audience);
        self.matter.ended(Ended {
            outcome,
            progress,
            unsent_users,
            cause,
        })
    }

    /// Why a list is `uncertain`: the call that was not answered, and what ended the rest.
    fn in_doubt(&self, other: Option<Cause>) -> Cause {
        let mut cause = self.doubt.clone().unwrap_or_else(|| Cause {
            code: "unknown-outcome".to_owned(),
            message: "the bridge stopped while a call was under way".to_owned(),
            cure: None,
        });
        let doubted = self.hold.progress.uncertain_users.len();
        cause.message = format!(
            "{doubted} users may or may not have got it: {}",
            cause.message
        );
        if let Some(other) = other {
            cause.message = format!("{}; others did not: {}", cause.message, other.message);
            cause.cure = other.cure.or(cause.cure);
        }
        cause
    }

    /// Why a request of which every call was made reached nobody.
    fn nobody(&self) -> Cause {
        let refused = &self.hold.progress.refused_users;
        let named: Vec<&str> = refused
            .iter()
            .map(String::as_str)
            .take(MOST_NAMED)
            .collect();
        let more = match refused.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let users = named.join(", ");
        Cause {
            code: "invalid-user".to_owned(),
            message: format!("dingtalk knows none of these users for this robot: {users}{more}"),
            cure: Some("check the staffId and that the app is published to the user".to_owned()),
        }
    }
}
