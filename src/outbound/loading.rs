//! Bringing the media of a request to DingTalk before the call that names them: in the turn of the
//! request, within its time, by the same table of verdicts. Nobody sees anything of it.

use std::time::Duration;

use tracing::debug;

use crate::message::{DeadReason, Via};

use super::desk::{LetGo, Patience};
use super::media::Trouble;
use super::resolve::Refusal;
use super::trip::{Step, Trip};
use super::verdict::Stage;

/// Most tries in a row to get the bytes of media: an address is not DingTalk's and may never answer, an
/// object whose chunks are gone stays so.
const MOST_FETCHES: u32 = 5;

impl Trip<'_> {
    /// One step of bringing the media of the request to DingTalk; nothing when they are there. It
    /// goes on in the turn of the request, so that the order of its chat holds.
    pub(super) async fn load(&mut self) -> Result<Option<Step>, LetGo> {
        let Some(task) = self.plan.task() else {
            return Ok(None);
        };
        let sender = self.sender;
        let Some(pass) = self.within(sender.gate.pass()).await? else {
            return Ok(Some(self.expired()));
        };
        let patience = Patience::Until(self.stop);
        let step = || Box::pin(sender.depot.work(&sender.api, self.matter.id, task));
        let work = sender.desk.insist(patience, "media step", step);
        let Some(worked) = self.within(work).await? else {
            return Ok(Some(self.expired()));
        };
        let step = match worked? {
            Ok(done) => {
                if done.is_upload() {
                    let cost = &mut self.hold.progress.cost;
                    *cost = cost.saturating_add(1);
                    self.refusals = 0;
                    self.reached_dingtalk(&pass);
                }
                self.plan.note(done);
                Step::Next
            }
            Err(Trouble::Refused(refusal)) => self.unfit(refusal),
            Err(Trouble::NotFetched(reason) | Trouble::Damaged(reason))
                if self.refusals < MOST_FETCHES =>
            {
                debug!(dingtalk.account = %sender.account, request.id = %self.matter.id, reason, "media not fetched");
                drop(pass);
                self.pause(Duration::ZERO).await?
            }
            Err(Trouble::NotFetched(reason)) => {
                let detail = format!("the media behind `url` cannot be fetched: {reason}");
                self.unfit(Refusal::new(DeadReason::Refused, detail))
            }
            Err(Trouble::Damaged(reason)) => {
                let detail = format!("{reason}; put it into the object store again");
                self.unfit(Refusal::new(DeadReason::Refused, detail))
            }
            Err(Trouble::Api(error)) => {
                if error.class.billed() {
                    let cost = &mut self.hold.progress.cost;
                    *cost = cost.saturating_add(1);
                }
                let at = (Stage::Preparing, Via::Openapi);
                self.refused(error, at, pass).await?
            }
        };
        Ok(Some(step))
    }

    /// DingTalk does not know media ids that it gave once: they are forgotten, and the media are
    /// uploaded anew. The call was refused, so nobody saw it.
    pub(super) async fn upload_again(&mut self, keys: &[String]) -> Result<Step, LetGo> {
        let desk = &self.sender.desk;
        desk.pending(&mut self.hold, Patience::Always).await?;
        let step = || self.sender.depot.forget(keys);
        let patience = Patience::Until(self.stop);
        desk.insist(patience, "media cache", step).await?;
        Ok(Step::Next)
    }
}
