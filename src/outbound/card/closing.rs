//! What becomes of a card that gets nothing any more: it is closed with what is there, so that it does
//! not spin for ever.

use tokio::time::sleep;
use tracing::info;

use super::super::desk::LetGo;
use super::actor::Actor;
use super::ask::Feed;
use super::record::{Ending, Phase, Record};
use crate::message::Timestamp;

impl Actor {
    /// Waits until something comes, for as long as the card may wait; false when it is done with.
    pub(super) async fn rest(&mut self) -> Result<bool, LetGo> {
        let inboxes = &self.sender.cards.inboxes;
        let deadline = match &self.record {
            Some(record) if record.is_unfinished() => record.deadline,
            Some(_) | None => return Ok(!inboxes.retire(&self.track)),
        };
        let arrivals = inboxes.arrivals(&self.track);
        tokio::select! {
            () = arrivals.notified() => {}
            () = sleep(deadline.since(Timestamp::now())) => self.overdue().await?,
            () = self.stop.cancelled() => return Err(LetGo::Stopping),
        }
        Ok(true)
    }

    /// The deadline is over, as far as we know.
    async fn overdue(&mut self) -> Result<(), LetGo> {
        // Another bridge may have gone on with it meanwhile.
        self.load().await?;
        let late = |record: &Record| record.is_unfinished() && record.deadline <= Timestamp::now();
        if self.record.as_ref().is_some_and(late) {
            self.close();
        }
        Ok(())
    }

    /// Ends the stream with what is there.
    fn close(&mut self) {
        let Some(record) = &mut self.record else {
            return;
        };
        info!(
            dingtalk.account = %self.sender.account,
            card.id = %self.track,
            "a card got nothing for too long and is closed"
        );
        match record.phase {
            // Nobody sees it, and nothing was streamed.
            Phase::Creating => record.end(),
            Phase::Delivering { .. } => {
                record.doubt = true;
                record.phase = Phase::Open;
            }
            Phase::Standing | Phase::Open | Phase::Plain | Phase::Ended => {}
        }
        let ending = if record.text.is_empty() {
            Ending::Failed
        } else {
            Ending::Finished
        };
        record.feed(&Feed {
            ending: Some(ending),
            ..Feed::default()
        });
    }
}
