//! The ends of the requests that a card took: receipt, dead letter, acknowledgement. One frame may
//! say what many requests asked; its cost stands in the receipt of the newest.

use futures_util::future::join_all;

use super::super::claim::Claim;
use super::super::desk::LetGo;
use super::super::ledger::Progress;
use super::super::receipt::{Cause, Ended};
use super::super::resolve::Refusal;
use super::actor::Actor;
use super::calls::Bill;
use super::inbox::Piece;
use super::record::Phase;
use crate::message::{DeadReason, Outcome, Priority, Via};
use tracing::info;

/// Receipts written at a time.
const AT_ONCE: usize = 16;

/// How a request ended, and why.
type End = (Outcome, Option<Cause>);

impl Actor {
    /// Tells those aboard that people see what they said.
    pub(super) async fn tell_aboard(&mut self) -> Result<(), LetGo> {
        let end = self.seen();
        self.tell_all(end).await
    }

    /// Tells one that people see what it asked for.
    pub(super) async fn tell_sent(&mut self, piece: Piece) -> Result<(), LetGo> {
        let end = self.seen();
        self.tell(piece, end).await
    }

    /// `sent`, unless nobody knows whether people see the card at all.
    fn seen(&self) -> End {
        if !self.record.as_ref().is_some_and(|record| record.doubt) {
            return (Outcome::Sent, None);
        }
        let cause = Cause {
            code: "unknown-outcome".to_owned(),
            message: "the answer to the call that shows the card did not come: it may or may not be visible".to_owned(),
            cure: Some("look into the chat before asking for it again under another id".to_owned()),
        };
        (Outcome::Uncertain, Some(cause))
    }

    /// Tells one that its time is over; the card that it was to create may be created by another.
    pub(super) async fn tell_expired(&mut self, piece: Piece) -> Result<(), LetGo> {
        let sequence = piece.sequence();
        let at = piece.ask.expires_at.map(|at| at.to_string());
        let cause = Cause {
            code: DeadReason::Expired.as_str().to_owned(),
            message: format!("its time was over at {}", at.unwrap_or_default()),
            cure: None,
        };
        self.tell(piece, (Outcome::Expired, Some(cause))).await?;
        match &mut self.record {
            Some(record) if record.phase == Phase::Creating && record.opener == Some(sequence) => {
                record.opener = None;
                self.write().await
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn tell_refused(
        &mut self,
        piece: Piece,
        refusal: &Refusal,
    ) -> Result<(), LetGo> {
        let cause = Cause {
            code: refusal.reason.as_str().to_owned(),
            message: refusal.detail.clone(),
            cure: None,
        };
        self.tell(piece, (Outcome::Failed, Some(cause))).await
    }

    /// Acknowledges a copy: the receipt is its original's.
    pub(super) async fn tell_duplicate(&self, piece: Piece) {
        let sender = &self.sender;
        sender.desk.metrics.request_duplicate(&sender.account);
        info!(dingtalk.account = %sender.account, request.id = %piece.key.id, "request was published before");
        piece.grip.settle(None).await;
    }

    /// Tells one, with the cost of all calls since the last receipt.
    pub(super) async fn tell(&mut self, mut piece: Piece, end: End) -> Result<(), LetGo> {
        let bill = std::mem::take(&mut self.bill);
        if self.aboard.is_empty() {
            self.priority = Priority::Normal;
        }
        Box::pin(self.write_end(&mut piece, end, bill)).await
    }

    /// Tells all aboard the same.
    pub(super) async fn tell_all(&mut self, end: End) -> Result<(), LetGo> {
        let bill = std::mem::take(&mut self.bill);
        let mut aboard = std::mem::take(&mut self.aboard);
        self.priority = Priority::Normal;
        let newest = aboard.iter().map(Piece::sequence).max();
        for some in aboard.chunks_mut(AT_ONCE) {
            let mut ends = Vec::with_capacity(AT_ONCE);
            for piece in some {
                let is_newest = newest == Some(piece.sequence());
                let bill = if is_newest { bill } else { Bill::default() };
                ends.push(Box::pin(self.write_end(piece, end.clone(), bill)));
            }
            join_all(ends)
                .await
                .into_iter()
                .collect::<Result<(), LetGo>>()?;
        }
        Ok(())
    }

    async fn write_end(&self, piece: &mut Piece, end: End, bill: Bill) -> Result<(), LetGo> {
        let desk = &self.sender.desk;
        let account = &self.sender.account;
        let hold = piece.hold.take();
        let record = self.record.as_ref();
        let opener = record.and_then(|record| record.opener);
        let opens = hold.is_none() && opener == Some(piece.sequence());
        let matter = piece.matter(account);
        // What opened the card has its place in the ledger, which is written last.
        let claim = match hold {
            Some(hold) => Some(Claim::Mine(hold)),
            None if opens => Some(desk.claim(&matter, piece.key.derived, &self.stop).await?),
            None => None,
        };
        let progress = Progress {
            attempts: bill.attempts,
            cost: bill.cost,
            via: (bill.attempts > 0 || end.0 == Outcome::Sent).then_some(Via::Card),
            ..Progress::default()
        };
        let mut done = Box::new(matter.ended(Ended {
            outcome: end.0,
            progress,
            unsent_users: Vec::new(),
            cause: end.1,
        }));
        done.receipt.out_track_id = Some(self.track.clone());
        done.receipt.process_query_key = record.and_then(|record| record.carrier.clone());
        let done = match claim {
            Some(Claim::Mine(hold)) => desk.finish(&hold, *done).await?.done(),
            Some(Claim::Ended(done)) => done,
            // Tokens come by the hundred: they are counted, and not logged one by one.
            None if done.receipt.outcome == Outcome::Sent => {
                desk.metrics.request_ended(account, Outcome::Sent);
                done
            }
            Some(Claim::Duplicate) | None => {
                desk.tell(&done.receipt);
                done
            }
        };
        desk.close(&matter, &done).await?;
        piece.grip.settle(done.dead).await;
        Ok(())
    }
}
