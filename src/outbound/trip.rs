//! The attempts of one request that is ours: users by users and part by part, each on the path that
//! is right at the moment, until there is an outcome. It acknowledges nothing and tells nobody.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::dingtalk::api::{Accepted, ApiError};
use crate::message::{DeadReason, Outcome, Priority, Timestamp, Via};

use super::batch::Ahead;
use super::claim::{End, Hold};
use super::desk::{LetGo, Patience, within};
use super::gate::Pass;
use super::journey::Sender;
use super::media::names_unknown_media;
use super::plan::{Leg, Plan};
use super::receipt::{Cause, Matter};
use super::resolve::Refusal;
use super::robot;
use super::verdict::{Halt, Stage, Verdict, verdict};

/// Most that a wait grows at random, so that lanes do not march in step.
const JITTER: f64 = 0.25;
/// How long an alert waits at least after DingTalk said that the month is used up.
const ALERT_PAUSE: Duration = Duration::from_secs(60);

/// One request that is ours, on its way.
pub(super) struct Trip<'a> {
    pub(super) sender: &'a Sender,
    pub(super) matter: &'a Matter<'a>,
    pub(super) hold: Hold,
    pub(super) plan: Plan,
    pub(super) stop: &'a CancellationToken,
    /// Refusals in a row, for the growth of the wait.
    pub(super) refusals: u32,
    /// Why the request is given up, when it is not DingTalk that refuses it.
    pub(super) dead: Option<DeadReason>,
    /// Why a call of a list is in doubt.
    pub(super) doubt: Option<Cause>,
}

/// What follows an attempt.
pub(super) enum Step {
    /// The next one.
    Next,
    /// The end, of a list as `verdict::outcome` has it.
    Halt(Halt, Option<Cause>),
    /// The end of a message whose only call was not answered.
    InDoubt(Cause),
}

impl<'a> Trip<'a> {
    pub(super) fn new(
        sender: &'a Sender,
        matter: &'a Matter<'a>,
        (hold, plan): (Hold, Plan),
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            sender,
            matter,
            hold,
            plan,
            stop,
            refusals: 0,
            dead: None,
            doubt: None,
        }
    }

    pub(super) async fn run(mut self) -> Result<End, LetGo> {
        let done = loop {
            match self.attempt().await? {
                Step::Next => {}
                Step::Halt(halt, cause) => break self.halted(halt, cause),
                Step::InDoubt(cause) => {
                    self.hold.progress.give_up(Outcome::Uncertain);
                    break self.ended(Outcome::Uncertain, Some(cause));
                }
            }
        };
        self.sender.desk.finish(&self.hold, done).await
    }

    async fn attempt(&mut self) -> Result<Step, LetGo> {
        if self.hold.progress.is_through(&self.plan.job.audience) {
            return self.go_on().await;
        }
        if self.over() {
            return Ok(self.expired());
        }
        // Boxed, so that the many that carry none stay small.
        if self.plan.carries_media()
            && let Some(step) = Box::pin(self.load()).await?
        {
            return Ok(step);
        }
        let leg = match self.plan.leg(self.matter, &self.hold.progress) {
            Ok(leg) => leg,
            Err(refusal) => return Ok(self.unfit(refusal)),
        };
        self.hold.progress.parts = leg.parts;
        self.hold.progress.via = Some(leg.via);
        self.hold.progress.repeatable = leg.is_repeatable();
        let priority = self.plan.job.priority;
        let ready = self.sender.ready(&leg, priority);
        let Some((pass, prepared)) = self.within(ready).await? else {
            return Ok(self.expired());
        };
        if let Err(error) = prepared {
            return self.refused(error, (Stage::Preparing, leg.via), pass).await;
        }
        let Some(place) = self.within(self.sender.places.take(priority)).await? else {
            return Ok(self.expired());
        };
        let attempts = &mut self.hold.progress.attempts;
        *attempts = attempts.saturating_add(1);
        let audience = &self.plan.job.audience;
        self.hold.progress.depart(audience, leg.users());
        let desk = &self.sender.desk;
        let leave_by = desk.sending(&mut self.hold, self.stop).await?;
        failpoint!("request.sending");
        if self.over() {
            // The broker was long in writing it down.
            let attempts = &mut self.hold.progress.attempts;
            *attempts = attempts.saturating_sub(1);
            return Ok(self.expired());
        }
        let answer = desk
            .timings
            .within_a_call(self.sender.api.send(&leg.shipment, leave_by));
        let answer = answer.await.unwrap_or_else(|| Err(ApiError::late()));
        failpoint!("request.answered");
        drop(place);
        match answer {
            Ok(accepted) => {
                self.reached_dingtalk(&pass);
                self.sent(&leg, accepted).await
            }
            Err(error) => self.refused(error, (Stage::Sending, leg.via), pass).await,
        }
    }

    /// Waits for `step` while the request is worth sending, as [`within`] does.
    pub(super) async fn within<T>(
        &self,
        step: impl Future<Output = T>,
    ) -> Result<Option<T>, LetGo> {
        within(self.plan.job.expires_at, self.stop, step).await
    }

    fn over(&self) -> bool {
        let over = |at: Timestamp| at <= Timestamp::now();
        self.plan.job.expires_at.is_some_and(over)
    }

    /// The bridge itself refuses the request.
    pub(super) fn unfit(&mut self, refusal: Refusal) -> Step {
        self.dead = Some(refusal.reason);
        let cause = Cause {
            code: refusal.reason.as_str().to_owned(),
            message: refusal.detail,
            cure: None,
        };
        Step::Halt(Halt::GivenUp, Some(cause))
    }

    pub(super) fn expired(&self) -> Step {
        let at = self.plan.job.expires_at.map(|at| at.to_string());
        Step::Halt(
            Halt::Expired,
            Some(Cause {
                code: DeadReason::Expired.as_str().to_owned(),
                message: format!("its time was over at {}", at.unwrap_or_default()),
                cure: None,
            }),
        )
    }

    /// DingTalk took the call, for all users or for some of them.
    async fn sent(&mut self, leg: &Leg, accepted: Accepted) -> Result<Step, LetGo> {
        let progress = &mut self.hold.progress;
        progress.cost = progress.cost.saturating_add(1);
        let (mut took, mut put_off) = (Vec::new(), Vec::new());
        for user in leg.users() {
            if accepted.refused_users.contains(user) {
                progress.refused_users.push(user.clone());
            } else if accepted.throttled_users.contains(user) {
                put_off.push(user.clone());
            } else {
                took.push(user.clone());
            }
        }
        if leg.users().is_empty() || !took.is_empty() {
            progress.list_call(Outcome::Sent, accepted.process_query_key);
            self.refusals = 0;
            let health = &self.sender.health;
            health.account(&self.sender.account, |health| {
                health.last_sent_at = Some(Timestamp::now());
            });
        }
        let audience = &self.plan.job.audience;
        progress.arrive(audience, took, put_off);
        if progress.is_through(audience) {
            return self.go_on().await;
        }
        self.sender
            .desk
            .pending(&mut self.hold, Patience::Always)
            .await?;
        Ok(Step::Next)
    }

    /// Everybody was asked once; those who were put off are asked again after a wait.
    async fn go_on(&mut self) -> Result<Step, LetGo> {
        match self.hold.progress.ahead(&self.plan.job.audience) {
            Ahead::Call => Ok(Step::Next),
            Ahead::Nothing => Ok(Step::Halt(Halt::Through, None)),
            Ahead::PutOff => {
                self.sender
                    .desk
                    .pending(&mut self.hold, Patience::Always)
                    .await?;
                self.pause(Duration::ZERO).await
            }
        }
    }

    /// A call was not answered. Of a list only its users are in doubt, the others get theirs.
    async fn doubted(&mut self, cause: Cause) -> Result<Step, LetGo> {
        if !self.hold.progress.list {
            return Ok(Step::InDoubt(cause));
        }
        self.hold.progress.doubt();
        self.doubt = Some(cause);
        self.sender
            .desk
            .pending(&mut self.hold, Patience::Always)
            .await?;
        Ok(Step::Next)
    }

    /// DingTalk did not take the call, or did not say.
    pub(super) async fn refused(
        &mut self,
        error: ApiError,
        (stage, via): (Stage, Via),
        pass: Pass<'a>,
    ) -> Result<Step, LetGo> {
        let decided = match verdict(error.class, stage, via) {
            Verdict::Uncertain
                if self.hold.progress.repeatable && self.refusals < robot::ANSWERLESS =>
            {
                Verdict::Again(Duration::ZERO)
            }
            other => other,
        };
        if stage == Stage::Sending && error.class.billed() {
            let cost = &mut self.hold.progress.cost;
            *cost = cost.saturating_add(1);
        }
        if let (
            Stage::Sending,
            Verdict::Again(_) | Verdict::Reroute | Verdict::Hold(_) | Verdict::Exhausted,
        ) = (stage, decided)
        {
            self.sender
                .desk
                .pending(&mut self.hold, Patience::Always)
                .await?;
        }
        debug!(dingtalk.account = %self.sender.account, request.id = %self.matter.id, %error, ?decided, "call refused");
        match decided {
            Verdict::Again(least) => {
                // A probe that could not even be prepared says nothing: the next one waits as long.
                match stage {
                    Stage::Preparing if pass.is_probe() => {
                        self.sender.gate.hold(least);
                    }
                    Stage::Preparing => {}
                    Stage::Sending => self.reached_dingtalk(&pass),
                }
                drop(pass);
                self.pause(least).await
            }
            Verdict::Reroute => {
                self.reached_dingtalk(&pass);
                self.plan.forget_webhook();
                Ok(Step::Next)
            }
            Verdict::Hold(wait) => {
                self.sender.park(&error, wait);
                Ok(Step::Next)
            }
            Verdict::Exhausted => {
                self.reached_dingtalk(&pass);
                self.sender.toll.exhausted();
                drop(pass);
                // Only an alert is tried again before the month turns.
                match self.plan.job.priority {
                    Priority::Alert => self.pause(ALERT_PAUSE).await,
                    Priority::Normal | Priority::High => Ok(Step::Next),
                }
            }
            Verdict::GiveUp => {
                self.reached_dingtalk(&pass);
                if stage == Stage::Sending && names_unknown_media(&error.code) {
                    let keys = self.plan.renew_media();
                    if !keys.is_empty() {
                        return self.upload_again(&keys).await;
                    }
                }
                Ok(Step::Halt(Halt::GivenUp, Some(cause(error))))
            }
            Verdict::Uncertain => self.doubted(cause(error)).await,
        }
    }

    /// An answer that is not about the account as a whole shows that it is not refused as a whole.
    pub(super) fn reached_dingtalk(&self, pass: &Pass<'_>) {
        if pass.is_probe() {
            self.sender.unpark();
        }
    }

    /// Waits at least `least`, longer with every refusal in a row.
    pub(super) async fn pause(&mut self, least: Duration) -> Result<Step, LetGo> {
        let timings = &self.sender.desk.timings;
        let wait = backoff(
            least,
            (timings.retry_first, timings.retry_cap),
            self.refusals,
        );
        self.refusals = self.refusals.saturating_add(1);
        Ok(match self.within(tokio::time::sleep(wait)).await? {
            Some(()) => Step::Next,
            None => self.expired(),
        })
    }
}

fn cause(error: ApiError) -> Cause {
    Cause {
        code: error.code,
        message: error.message,
        cure: error.cure,
    }
}

/// A wait that doubles from `first` to `cap`, never shorter than `least`, and a little random.
pub(super) fn backoff(
    least: Duration,
    (first, cap): (Duration, Duration),
    refusals: u32,
) -> Duration {
    let grown = first.saturating_mul(2_u32.saturating_pow(refusals.min(16)));
    let wait = grown.min(cap).max(least);
    wait.mul_f64(1.0 + fastrand::f64() * JITTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_the_cap_and_is_never_shorter_than_dingtalk_demands() {
        let range = (Duration::from_secs(1), Duration::from_secs(30));
        let near = |wait: Duration, seconds: f64| {
            let wait = wait.as_secs_f64();
            assert!(wait >= seconds && wait <= seconds * 1.26, "{wait}");
        };
        for (refusals, seconds) in [(0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0), (99, 30.0)] {
            near(backoff(Duration::ZERO, range, refusals), seconds);
        }
        near(backoff(Duration::from_secs(600), range, 0), 600.0);
    }
}
