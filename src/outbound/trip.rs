//! The attempts of one request that is ours: part by part, each on the path that is right at the
//! moment, until there is an outcome. It acknowledges nothing and tells nobody.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::dingtalk::api::{Accepted, ApiError};
use crate::message::{DeadReason, Outcome, Part, Timestamp, Via};

use super::claim::{End, Hold};
use super::desk::{LetGo, Patience};
use super::gate::Pass;
use super::journey::Sender;
use super::plan::{Leg, Plan};
use super::receipt::{Cause, Matter};
use super::verdict::{Stage, Verdict, verdict};

/// Most that a wait grows at random, so that lanes do not march in step.
const JITTER: f64 = 0.25;

/// One request that is ours, on its way.
pub(super) struct Trip<'a> {
    sender: &'a Sender,
    matter: &'a Matter<'a>,
    hold: Hold,
    plan: Plan,
    stop: &'a CancellationToken,
    /// Refusals in a row, for the growth of the wait.
    refusals: u32,
    /// Why the request is given up, when it is not DingTalk that refuses it.
    dead: Option<DeadReason>,
}

/// What follows an attempt.
enum Step {
    /// The next one.
    Next,
    /// The end.
    End(Outcome, Option<Cause>),
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
        }
    }

    pub(super) async fn run(mut self) -> Result<End, LetGo> {
        let (outcome, cause) = loop {
            if let Step::End(outcome, cause) = self.attempt().await? {
                break (outcome, cause);
            }
        };
        let progress = self.hold.progress.clone();
        let mut done = self.matter.ended(outcome, progress, cause);
        if outcome == Outcome::Failed {
            done.dead = self.dead.or(done.dead);
        }
        self.sender.desk.finish(&self.hold, done).await
    }

    async fn attempt(&mut self) -> Result<Step, LetGo> {
        if self.over() {
            return Ok(self.expired());
        }
        let leg = match self.plan.leg(&self.hold.progress) {
            Ok(leg) => leg,
            Err(refusal) => {
                self.dead = Some(refusal.reason);
                return Ok(self.give_up(Cause {
                    code: refusal.reason.as_str().to_owned(),
                    message: refusal.detail,
                    cure: None,
                }));
            }
        };
        self.hold.progress.parts = leg.parts;
        self.hold.progress.via = Some(leg.via);
        let ready = self.sender.ready(&leg);
        let Some((pass, prepared)) = self.within(ready).await? else {
            return Ok(self.expired());
        };
        if let Err(error) = prepared {
            return self.refused(error, (Stage::Preparing, leg.via), pass).await;
        }
        let Some(Ok(place)) = self.within(self.sender.calls.acquire()).await? else {
            return Ok(self.expired());
        };
        let attempts = &mut self.hold.progress.attempts;
        *attempts = attempts.saturating_add(1);
        let desk = &self.sender.desk;
        desk.sending(&mut self.hold, self.stop).await?;
        failpoint!("request.sending");
        let answer = self.sender.api.send(&leg.shipment).await;
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

    /// Waits for `step` while the request is worth sending; `None` when it no longer is. Nothing
    /// that `step` does has left, so dropping it loses nothing.
    async fn within<T>(&self, step: impl Future<Output = T>) -> Result<Option<T>, LetGo> {
        let left = self
            .plan
            .job
            .expires_at
            .map(|at| at.since(Timestamp::now()));
        let timed = async {
            match left {
                Some(left) => tokio::time::timeout(left, step).await.ok(),
                None => Some(step.await),
            }
        };
        let until = self.stop.run_until_cancelled(timed);
        until.await.ok_or(LetGo::Stopping)
    }

    fn over(&self) -> bool {
        let over = |at: Timestamp| at <= Timestamp::now();
        self.plan.job.expires_at.is_some_and(over)
    }

    fn expired(&mut self) -> Step {
        if self.hold.progress.taken && self.last_part() {
            return self.without_the_rest();
        }
        let at = self.plan.job.expires_at.map(|at| at.to_string());
        Step::End(
            Outcome::Expired,
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
        let asked = leg.users();
        let within = |list: &[String], user: &String| list.contains(user);
        let throttled: Vec<String> = asked
            .iter()
            .filter(|user| within(&accepted.throttled_users, user))
            .filter(|user| !within(&accepted.refused_users, user))
            .cloned()
            .collect();
        let refused = asked
            .iter()
            .filter(|user| within(&accepted.refused_users, user));
        let before = progress.refused_users.len();
        progress.refused_users.extend(refused.cloned());
        let refused = progress.refused_users.len() - before;
        if asked.is_empty() || refused + throttled.len() < asked.len() {
            progress.taken = true;
            progress.key = progress.key.take().or(accepted.process_query_key);
            let health = &self.sender.health;
            health.account(&self.sender.account, |health| {
                health.last_sent_at = Some(Timestamp::now());
            });
        }
        if throttled.is_empty() {
            return self.part_ended().await;
        }
        progress.rest = Some(throttled);
        self.sender
            .desk
            .pending(&mut self.hold, Patience::Always)
            .await?;
        self.pause(Duration::ZERO).await
    }

    /// The present part is through, as far as it will ever be.
    async fn part_ended(&mut self) -> Result<Step, LetGo> {
        let progress = &mut self.hold.progress;
        if !progress.taken {
            let users = progress.refused_users.join(", ");
            return Ok(Step::End(
                Outcome::Failed,
                Some(Cause {
                    code: "invalid-user".to_owned(),
                    message: format!("dingtalk knows none of these users for this robot: {users}"),
                    cure: Some(
                        "check the staffId and that the app is published to the user".to_owned(),
                    ),
                }),
            ));
        }
        progress.parts_done.push(Part {
            outcome: Outcome::Sent,
            via: progress.via,
            process_query_key: progress.key.take(),
        });
        progress.part += 1;
        progress.rest = None;
        progress.taken = false;
        self.refusals = 0;
        if progress.part >= progress.parts {
            return Ok(Step::End(Outcome::Sent, None));
        }
        self.sender
            .desk
            .pending(&mut self.hold, Patience::Always)
            .await?;
        Ok(Step::Next)
    }

    /// DingTalk did not take the call, or did not say.
    async fn refused(
        &mut self,
        error: ApiError,
        (stage, via): (Stage, Via),
        pass: Pass<'a>,
    ) -> Result<Step, LetGo> {
        let decided = verdict(error.class, stage, via);
        if stage == Stage::Sending && error.class.billed() {
            let cost = &mut self.hold.progress.cost;
            *cost = cost.saturating_add(1);
        }
        if let (Stage::Sending, Verdict::Again(_) | Verdict::Reroute | Verdict::Hold(_)) =
            (stage, decided)
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
            Verdict::GiveUp => {
                self.reached_dingtalk(&pass);
                Ok(self.give_up(cause(error)))
            }
            Verdict::Uncertain => Ok(Step::End(Outcome::Uncertain, Some(cause(error)))),
        }
    }

    /// An answer that is not about the account as a whole shows that it is not refused as a whole.
    fn reached_dingtalk(&self, pass: &Pass<'_>) {
        if pass.is_probe() {
            self.sender.unpark();
        }
    }

    /// Ends as failed, unless somebody got the last part already: then only the others are refused.
    fn give_up(&mut self, cause: Cause) -> Step {
        if self.hold.progress.taken && self.last_part() {
            return self.without_the_rest();
        }
        Step::End(Outcome::Failed, Some(cause))
    }

    fn last_part(&self) -> bool {
        self.hold.progress.part + 1 >= self.hold.progress.parts
    }

    /// Ends as sent although those whom DingTalk put off never got it.
    fn without_the_rest(&mut self) -> Step {
        let progress = &mut self.hold.progress;
        let rest = progress.rest.take().unwrap_or_default();
        progress.refused_users.extend(rest);
        progress.parts_done.push(Part {
            outcome: Outcome::Sent,
            via: progress.via,
            process_query_key: progress.key.take(),
        });
        Step::End(Outcome::Sent, None)
    }

    /// Waits at least `least`, longer with every refusal in a row.
    async fn pause(&mut self, least: Duration) -> Result<Step, LetGo> {
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
fn backoff(least: Duration, (first, cap): (Duration, Duration), refusals: u32) -> Duration {
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
