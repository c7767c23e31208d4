//! One try of one item: claimed, fetched, stored, told.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::body;
use super::claim::{Claim, Claimed};
use super::describe::describe;
use super::errand::{Errand, Source};
use super::queue::Waiting;
use super::verdict::{Trouble, Verdict, verdict};
use crate::broker::{Broker, BrokerError, Bucket, MediaObject};
use crate::config::Media as Rule;
use crate::dingtalk::api::{Apis, Fetcher};
use crate::inbound::{Policies, status};
use crate::message::{MediaReason, MediaState, MediaStatus, Status, Subjects, Timestamp};
use crate::telemetry::Metrics;

/// How long an item is tried: what fails for so long is told to be unavailable.
const WINDOW: Duration = Duration::from_secs(10 * 60);
/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What every try needs.
#[derive(Debug)]
pub(super) struct Trip {
    pub(super) broker: Broker,
    pub(super) subjects: Subjects,
    pub(super) apis: Apis,
    pub(super) fetcher: Fetcher,
    pub(super) policies: watch::Receiver<Policies>,
    pub(super) metrics: Metrics,
    /// Largest body, in bytes.
    pub(super) most: u64,
    /// This life of this bridge, as claims name it.
    pub(super) owner: String,
    /// Cancelled when what is under way is to be left to the next life.
    pub(super) leaving: CancellationToken,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing: its end is told, or left to somebody else.
    Done,
    /// Another try after this long.
    Again(Duration),
}

/// How a try that was begun went on.
enum Way {
    Ended(Result<MediaObject, Trouble>),
    TakenOver,
    Leaving,
}

impl Trip {
    /// Tries once.
    pub(super) async fn attempt(self: Arc<Self>, mut waiting: Waiting) -> (Waiting, Step) {
        let step = match self.begin(&mut waiting).await {
            Ok(step) => step,
            Err(error) => {
                debug!(%error, dingtalk.account = %waiting.errand.account, "media waits for the broker");
                waiting.failures += 1;
                Step::Again(pause(waiting.failures))
            }
        };
        (waiting, step)
    }

    async fn begin(&self, waiting: &mut Waiting) -> Result<Step, BrokerError> {
        let errand = &waiting.errand;
        let media = self.broker.media();
        let bucket = self.broker.bucket(Bucket::Cache);
        let claimed = Claim::take(bucket, &media, &errand.object, &self.owner).await?;
        let mut claim = match claimed {
            Claimed::Taken(claim) => claim,
            Claimed::Busy(wait) => return Ok(Step::Again(wait)),
            Claimed::Over => return Ok(Step::Done),
        };
        let since = *waiting.since.get_or_insert_with(Instant::now);
        let (found, upload, place) = (claim.stored.take(), claim.upload.clone(), claim.place);
        let way = tokio::select! {
            biased;
            result = self.fetch(errand, found, (&upload, place)) => Way::Ended(result),
            () = claim.keep() => Way::TakenOver,
            () = self.leaving.cancelled() => Way::Leaving,
        };
        let status = match way {
            Way::Ended(Ok(object)) => stored(errand, object),
            // Who took it settles what was stored so far, and tells the end.
            Way::TakenOver | Way::Ended(Err(Trouble::Broker(BrokerError::Conflict))) => {
                return Ok(Step::Again(pause(waiting.failures)));
            }
            Way::Ended(Err(trouble)) => {
                waiting.failures += 1;
                match self.judge(&waiting.errand, &trouble, (since, waiting.failures)) {
                    Ok(reason) => failed(&waiting.errand, reason, &trouble),
                    Err(wait) => {
                        debug!(error = %trouble, dingtalk.account = %waiting.errand.account, "media is tried again");
                        return Ok(Step::Again(wait));
                    }
                }
            }
            Way::Leaving => {
                // What was stored this very moment is found by the next life.
                media.settle(&waiting.errand.object, &upload).await?;
                claim.release().await;
                return Ok(Step::Done);
            }
        };
        self.tell(&waiting.errand, status).await?;
        claim.close().await;
        Ok(Step::Done)
    }

    async fn fetch(
        &self,
        errand: &Errand,
        found: Option<MediaObject>,
        (upload, place): (&str, u64),
    ) -> Result<MediaObject, Trouble> {
        if let Some(object) = found {
            return Ok(object);
        }
        let rule = self
            .policies
            .borrow()
            .get(&errand.account)
            .map(|rules| rules.media);
        if rule != Some(Rule::Fetch) {
            return Err(Trouble::Unwanted);
        }
        let fetched = match &errand.source {
            Source::Url(url) => self.fetcher.open(url.expose()).await?,
            Source::Code(code) => {
                let api = self.apis.find(&errand.account);
                let api = api.ok_or(Trouble::NotServed)?;
                let url = api.download_url(code.expose()).await?;
                self.fetcher.open(url.expose()).await?
            }
        };
        let told = (fetched.name.clone(), fetched.mime.clone());
        let body = body::open(fetched, self.most).await?;
        let description = describe(errand, (told.0.as_deref(), told.1.as_deref()), &body.head);
        let at = (errand.object.as_str(), place);
        let media = self.broker.media();
        Ok(media.put_at(upload, at, description, body.bytes).await?)
    }

    /// Why it is given up, or after how long it is tried again.
    fn judge(
        &self,
        errand: &Errand,
        trouble: &Trouble,
        (since, failures): (Instant, u32),
    ) -> Result<MediaReason, Duration> {
        match verdict(trouble) {
            Verdict::Never(reason) => Ok(reason),
            // Only a code can be asked for another address.
            Verdict::Once(reason) if failures > 1 || matches!(errand.source, Source::Url(_)) => {
                Ok(reason)
            }
            Verdict::Once(_) => Err(FIRST_PAUSE),
            Verdict::Again(_) if since.elapsed() >= WINDOW => match trouble.is_untried() {
                true => Ok(MediaReason::Unserved),
                false => Ok(MediaReason::Unavailable),
            },
            Verdict::Again(wait) => Err(wait.max(pause(failures))),
        }
    }

    async fn tell(&self, errand: &Errand, status: MediaStatus) -> Result<(), BrokerError> {
        let (state, reason) = (status.state, status.reason);
        let account = &errand.account;
        match state {
            MediaState::Stored => {
                debug!(dingtalk.account = %account, media.object = errand.object, media.bytes = status.size, "media stored");
            }
            MediaState::Failed | MediaState::Skipped => {
                let detail = status.detail.as_deref();
                warn!(dingtalk.account = %account, media.object = errand.object, reason = reason.map(MediaReason::as_str), detail, "media not stored");
            }
        }
        // One end of one item is told once, whoever tells it.
        let told = Sha256::digest(format!("{}:{}", errand.object, state.as_str()));
        let id = format!("media:{told:x}");
        let status = Status::Media(status);
        let message = status::message(&self.subjects, account, id, &status);
        self.broker.store(&message).await?;
        self.metrics.media_ended(account, state, reason);
        Ok(())
    }
}

fn stored(errand: &Errand, object: MediaObject) -> MediaStatus {
    MediaStatus {
        size: Some(object.size),
        mime: object.description.mime,
        name: object.description.name,
        ..ended(errand, MediaState::Stored)
    }
}

fn failed(errand: &Errand, reason: MediaReason, trouble: &Trouble) -> MediaStatus {
    let state = match trouble.is_untried() {
        true => MediaState::Skipped,
        false => MediaState::Failed,
    };
    MediaStatus {
        reason: Some(reason),
        detail: Some(trouble.detail()),
        ..ended(errand, state)
    }
}

fn ended(errand: &Errand, state: MediaState) -> MediaStatus {
    MediaStatus {
        message: errand.message.clone(),
        object: errand.object.clone(),
        state,
        reason: None,
        detail: None,
        size: None,
        mime: None,
        name: None,
        at: Timestamp::now(),
    }
}

/// Grows with the failures, and differs between items that failed together.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + fastrand::f64() / 2.0)
}
