//! The frames of one card: each says the whole text so far. A refused one is followed by a newer one,
//! one whose answer was lost is repeated as it was, and the last one is never left out.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::super::desk::LetGo;
use super::super::receipt::Cause;
use super::super::verdict::{Stage, Verdict, verdict};
use super::actor::Actor;
use super::calls::{ANSWERLESS, Call};
use super::inbox::Piece;
use super::prose::{self, Fitted};
use super::record::{Ending, Phase, Record};
use crate::dingtalk::api::{ApiError, CardFrame, FrameEnd};
use crate::message::{Brake, Outcome, Via};

/// The parameter that ends a card into which nothing was streamed, and its values for finished and
/// failed (oapi.md, section 6.6).
const FLOW_STATUS: &str = "flowStatus";
const FINISHED: &str = "3";
const FAILED: &str = "5";
/// Least wait after a frame that DingTalk refused as too fast (oapi.md, section 6.7).
const TOO_FAST: Duration = Duration::from_secs(2);

/// How much further apart frames are while the quota of the month runs short.
pub(super) fn stretch(brake: Brake) -> u32 {
    match brake {
        Brake::Off => 1,
        Brake::MergeCards | Brake::NoReactions => 4,
        Brake::NoCards | Brake::AlertsOnly | Brake::Exhausted => 16,
    }
}

impl Actor {
    /// Brings what was merged to where people see it.
    pub(super) async fn frame(&mut self) -> Result<(), LetGo> {
        self.wait_for_frame().await?;
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        match record.phase {
            Phase::Plain => return self.collect().await,
            Phase::Ended => {
                record.dirty = false;
                return self.write().await;
            }
            Phase::Creating | Phase::Delivering { .. } | Phase::Standing | Phase::Open => {}
        }
        if record.guid.is_empty() {
            record.guid = uuid();
        }
        let (text, key, guid) = (record.text.clone(), record.key.clone(), record.guid.clone());
        let ending = record.ending;
        self.write().await?;
        let fitted = prose::fit(&text);
        let call = match (fitted.shown.is_empty(), ending) {
            (true, None) => return self.accepted(&fitted).await,
            (true, Some(Ending::Finished)) => {
                let status = [(FLOW_STATUS.to_owned(), FINISHED.to_owned())];
                Call::Update(status.into_iter().collect(), Default::default())
            }
            (true, Some(Ending::Failed)) | (false, _) => Call::Frame(CardFrame {
                out_track_id: self.track.clone(),
                guid,
                key,
                content: fitted.shown.clone(),
                end: ending.map_or(FrameEnd::Open, Ending::frame),
            }),
        };
        // It says what many asked, and has no time of its own.
        match self.attempt(&call, None).await? {
            Some(Ok(_)) => self.accepted(&fitted).await,
            Some(Err(error)) => self.not_accepted(error).await,
            None => Ok(()),
        }
    }

    async fn accepted(&mut self, fitted: &Fitted<'_>) -> Result<(), LetGo> {
        self.refusals = 0;
        self.next_frame = Instant::now() + self.gap();
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        record.dirty = false;
        record.shown = fitted.taken;
        if record.ending.is_none() {
            return self.tell_aboard().await;
        }
        if !fitted.rest.is_empty() {
            return self.say_rest(&fitted.rest).await;
        }
        record.end();
        self.write().await?;
        self.tell_aboard().await
    }

    async fn not_accepted(&mut self, error: ApiError) -> Result<(), LetGo> {
        let verdict = verdict(error.class, Stage::Sending, Via::Card);
        let wait = match verdict {
            Verdict::Again(wait) => {
                if let Some(record) = &mut self.record {
                    record.guid.clear();
                }
                wait.max(TOO_FAST.min(self.sender.desk.timings.retry_cap))
            }
            Verdict::Hold(_) | Verdict::Exhausted => Duration::ZERO,
            // The same frame again: its guid makes that harmless.
            Verdict::Uncertain if self.refusals < ANSWERLESS => Duration::ZERO,
            Verdict::Uncertain | Verdict::GiveUp | Verdict::Reroute => {
                return self.broken(error, verdict == Verdict::Uncertain).await;
            }
        };
        self.next_frame = Instant::now() + self.growing(wait, self.refusals).max(self.gap());
        self.refusals = self.refusals.saturating_add(1);
        Ok(())
    }

    /// DingTalk takes no frame of this card any more. A stream goes on in words; who uses the card
    /// by its verbs is told.
    async fn broken(&mut self, error: ApiError, uncertain: bool) -> Result<(), LetGo> {
        warn!(dingtalk.account = %self.sender.account, card.id = %self.track, %error, "a card broke");
        self.refusals = 0;
        let in_words = |record: &Record| record.streams && record.chat.is_some();
        if self.record.as_ref().is_some_and(in_words) && !uncertain {
            // It may be of no use, but a card that is left alone spins for ever.
            let status = [(FLOW_STATUS.to_owned(), FAILED.to_owned())];
            let call = Call::Update(status.into_iter().collect(), Default::default());
            let _ = self.attempt(&call, None).await?;
            if let Some(record) = &mut self.record {
                record.broke = true;
            }
            self.go_plain(None, 0);
            return self.write().await;
        }
        if let Some(record) = &mut self.record {
            record.dirty = false;
            record.guid.clear();
            // What was refused is not tried again with the next piece.
            let shown = record.shown;
            record.text.truncate(shown);
            if record.ending.is_some() {
                record.end();
            }
        }
        self.write().await?;
        let outcome = if uncertain {
            Outcome::Uncertain
        } else {
            Outcome::Failed
        };
        let cause = Cause {
            code: error.code,
            message: error.message,
            cure: error.cure,
        };
        self.tell_all((outcome, Some(cause))).await
    }

    /// A call for one piece was refused for good, or nobody knows.
    pub(super) async fn refused(&mut self, piece: Piece, error: ApiError) -> Result<(), LetGo> {
        if piece.is_over() {
            return self.tell_expired(piece).await;
        }
        let outcome = match verdict(error.class, Stage::Sending, Via::Card) {
            Verdict::Uncertain => Outcome::Uncertain,
            Verdict::Again(_)
            | Verdict::Hold(_)
            | Verdict::Exhausted
            | Verdict::GiveUp
            | Verdict::Reroute => Outcome::Failed,
        };
        let cause = Cause {
            code: error.code,
            message: error.message,
            cure: error.cure,
        };
        self.tell(piece, (outcome, Some(cause))).await
    }
}

/// A random UUID, as DingTalk's samples have it (oapi.md, section 6.5).
fn uuid() -> String {
    let hex = format!("{:032X}", fastrand::u128(..));
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    let groups = groups.map(|range| hex.get(range).unwrap_or_default());
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_the_form_of_the_samples_and_no_two_are_alike() {
        let lengths: Vec<usize> = uuid().split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_ne!(uuid(), uuid());
    }

    #[test]
    fn the_shorter_the_quota_the_fewer_frames() {
        assert_eq!(stretch(Brake::Off), 1);
        assert!(stretch(Brake::MergeCards) < stretch(Brake::NoCards));
    }
}
