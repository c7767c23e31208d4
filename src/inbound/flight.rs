//! One frame on its way: what it became, and the right to answer it, once. It knows no route.

use std::time::Instant;

use super::media::Errand;
use super::responder::Callback;
use crate::broker::Outgoing;
use crate::dingtalk::stream::{Ack, AckTicket};
use crate::message::AccountName;
use crate::telemetry::{FrameOutcome, Metrics};

/// One admitted frame: what it became, and the right to answer it.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) account: AccountName,
    pub(super) message: Outgoing,
    pub(super) ticket: Option<AckTicket>,
    /// Who may say what the acknowledgement of a card action changes.
    pub(super) callback: Option<Callback>,
    pub(super) received: Instant,
    /// Kept out by the policy of the account, and published for whoever wants to see that.
    pub(super) gated: bool,
    /// Media that the message announces.
    pub(super) media: Vec<Errand>,
    /// Counted as ended already: given back past the hard budget, perhaps stored later.
    pub(super) ended: Option<FrameOutcome>,
}

impl Flight {
    /// Answers the frame with success, if it has not been answered yet.
    pub(super) fn acknowledge(&mut self, metrics: &Metrics) {
        let (ticket, received) = (self.ticket.take(), self.received);
        let ticket = match self.callback.take() {
            Some(callback) => ticket.and_then(|ticket| callback.ask(ticket, received)),
            None => ticket,
        };
        let Some(ticket) = ticket else {
            return;
        };
        if ticket.answer(Ack::Done) {
            metrics.acked(self.received.elapsed());
        } else {
            metrics.ack_lost(&self.account);
        }
    }

    /// Counts how the frame ended, once.
    pub(super) fn end(&mut self, outcome: FrameOutcome, metrics: &Metrics) {
        match self.ended {
            None => {
                let outcome = match outcome {
                    FrameOutcome::Stored if self.gated => FrameOutcome::Gated,
                    other => other,
                };
                self.ended = Some(outcome);
                metrics.frame_ended(&self.account, outcome);
            }
            Some(FrameOutcome::Refused) => metrics.ack_late(&self.account),
            Some(_) => {}
        }
    }

    /// Gives the frame back to DingTalk: an EVENT is told to come later, others get silence.
    pub(super) fn refuse(&mut self, metrics: &Metrics) {
        if let Some(ticket) = self.ticket.take() {
            ticket.answer(Ack::Later);
        }
        self.end(FrameOutcome::Refused, metrics);
    }
}
