//! The tokens of one lane and what refusals teach about them. Pure bookkeeping: it waits for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::errors::MUTE;
use crate::message::Timestamp;

/// What is left of the rate after a refusal.
const CUT: f64 = 0.6;
/// Refusals closer together than this belong to one excess and cut once.
const EXCESS: Duration = Duration::from_secs(1);
/// Quiet time that gives one step back.
const QUIET: Duration = Duration::from_secs(10);
/// The step, as a part of the configured rate.
const STEP: f64 = 0.05;
/// Slowest learned rate, calls a second.
const SLOWEST: f64 = 1.0;
/// Calls that left evenly arrive unevenly: tokens come back by this much later.
const GUARD: f64 = 1.05;
/// How long a part is held without being confirmed; then the tokens are divided by number.
const LEASE: Duration = Duration::from_secs(5);
/// How long a new lane waits for its first part.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest mute that is waited out in one piece (oapi.md, section 4.3).
const LONGEST_MUTE: Duration = Duration::from_secs(600);

/// What refusals taught about a lane, as replicas tell each other. What has passed by is of no
/// effect, so that a record may lie about for as long as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Calls a second since the last cut.
    pub rate: f64,
    /// Start of the quiet time that gives the rate back.
    pub quiet_since: Timestamp,
    /// Nothing is called before.
    pub blocked_until: Timestamp,
    /// Length of the last mute in seconds, and when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<(u64, Timestamp)>,
}

/// How one replica uses its part of a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Tokens of the whole lane at its present rate.
    pub whole: usize,
    /// Tokens that this replica holds.
    pub held: usize,
    /// Tokens taken in the present second.
    pub used: usize,
    /// Whether somebody had to wait although the lane as a whole has more tokens.
    pub hungry: bool,
}

/// Until when somebody who gets no token has to wait, unless something changes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(pub(super) Instant);

#[derive(Debug)]
pub(super) struct Bucket {
    /// Configured rate.
    top: f64,
    /// Learned rate.
    rate: f64,
    /// When the tokens were taken that may not be back, oldest first; at most `top` of them.
    taken: VecDeque<Instant>,
    /// Tokens that this replica holds; `None`: all of them.
    part: Option<usize>,
    /// Until when that is known to be right.
    lease_until: Instant,
    /// How many replicas there were when somebody knew.
    replicas: usize,
    /// More tokens, and from when on.
    raise: Option<(Instant, usize)>,
    /// Whether somebody waited for a token that another replica holds.
    hungry: bool,
    /// Nothing is taken before.
    blocked_until: Instant,
    /// Start of the quiet time that counts for the next step.
    quiet_since: Instant,
    last_cut: Option<Instant>,
    /// The last mute and when it ended.
    last_mute: Option<(Duration, Instant)>,
}

impl Bucket {
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        Self {
            top: per_second,
            rate: per_second,
            taken: VecDeque::new(),
            part: None,
            lease_until: now,
            replicas: 1,
            raise: None,
            hungry: false,
            blocked_until: now,
            quiet_since: now,
            last_cut: None,
            last_mute: None,
        }
    }

    /// The same, with no token before [`Bucket::hold`] says how many.
    pub(super) fn empty(per_second: f64, now: Instant) -> Self {
        Self {
            part: Some(0),
            lease_until: now + PATIENCE,
            ..Self::new(per_second, now)
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Another configured rate; what was learned below it stays.
    pub(super) fn set_top(&mut self, per_second: f64) {
        if self.rate >= self.top {
            self.rate = per_second;
        }
        self.top = per_second;
        self.rate = self.rate.min(per_second);
    }

    /// Takes a token, or says when to ask again.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Wait> {
        self.recover(now);
        self.raise_if_due(now);
        if now < self.blocked_until {
            return Err(Wait(self.blocked_until));
        }
        let whole = self.whole();
        let tokens = match self.part {
            None => whole,
            Some(part) if now < self.lease_until => part.min(whole),
            // Nobody says any more who holds what.
            Some(_) => (whole / self.replicas).max(1),
        };
        if tokens == 0 {
            let lapse = self.lease_until;
            return Err(Wait(self.raise.map_or(lapse, |(at, _)| at.min(lapse))));
        }
        let oldest = self.taken.len().checked_sub(tokens);
        if let Some(oldest) = oldest.and_then(|index| self.taken.get(index)) {
            let back = *oldest + self.period();
            if now < back {
                let raised = self.raise.map_or(back, |(at, _)| at.min(back));
                return Err(Wait(raised));
            }
        }
        self.forget(now);
        self.taken.push_back(now);
        Ok(())
    }

    /// Forgets tokens that are back at any rate that may be learned, and leaves room for one.
    fn forget(&mut self, now: Instant) {
        // The cast is of a small whole number.
        let most = self.top.ceil().max(1.0) as usize;
        let longest = Duration::from_secs_f64(GUARD / SLOWEST.min(self.top));
        let back = |at: &Instant| now.saturating_duration_since(*at) >= longest;
        while self.taken.len() >= most || self.taken.front().is_some_and(back) {
            self.taken.pop_front();
        }
    }

    /// Tokens of the whole lane; the cast is of a small whole number.
    fn whole(&self) -> usize {
        self.rate.floor().max(1.0) as usize
    }

    /// When a token that was taken comes back.
    fn period(&self) -> Duration {
        Duration::from_secs_f64(self.rate.floor().max(1.0) / self.rate * GUARD)
    }

    /// Notes that somebody waits; whether that is news, and for want of tokens that others hold.
    pub(super) fn grows_hungry(&mut self) -> bool {
        let whole = self.whole();
        let short = self.part.is_some_and(|part| part < whole);
        let news = short && !self.hungry;
        self.hungry = short;
        news
    }

    /// How the part is used; hunger counts from the last time that this was asked.
    pub(super) fn usage(&mut self, now: Instant) -> Use {
        self.recover(now);
        self.raise_if_due(now);
        let period = self.period();
        let fresh = |at: &&Instant| now.saturating_duration_since(**at) < period;
        let whole = self.whole();
        let promised = self.raise.map(|(_, tokens)| tokens);
        Use {
            whole,
            held: promised.or(self.part).unwrap_or(whole),
            used: self.taken.iter().filter(fresh).count(),
            hungry: std::mem::take(&mut self.hungry),
        }
    }

    /// Holds `tokens` from now on; more than before only after a period: by then what the others
    /// took of them has come back.
    pub(super) fn hold(&mut self, tokens: usize, replicas: usize, now: Instant) {
        self.raise_if_due(now);
        self.lease_until = now + LEASE;
        self.replicas = replicas.max(1);
        let part = self.part.unwrap_or(0);
        if tokens <= part {
            self.part = Some(tokens);
            self.raise = None;
        } else if self.raise.is_none_or(|(_, promised)| promised != tokens) {
            // What was promised before comes no later than it would have.
            self.raise = Some((now + self.period(), tokens));
        }
    }

    /// Holds `tokens` at once: nobody else held any of them.
    pub(super) fn own(&mut self, tokens: usize, now: Instant) {
        self.part = Some(tokens);
        self.raise = None;
        self.lease_until = now + LEASE;
    }

    fn raise_if_due(&mut self, now: Instant) {
        if let Some((at, tokens)) = self.raise
            && at <= now
        {
            self.part = Some(tokens);
            self.raise = None;
        }
    }

    fn recover(&mut self, now: Instant) {
        if self.rate >= self.top {
            return;
        }
        let quiet = now.saturating_duration_since(self.quiet_since);
        let steps = quiet.as_secs() / QUIET.as_secs();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if steps > 0 {
            self.rate = (self.rate + f64::from(steps) * STEP * self.top).min(self.top);
            self.quiet_since += QUIET.saturating_mul(steps);
        }
    }
    pub(super) fn slow_down(&mut self, wait: Duration, now: Instant) {
        self.block(wait, now);
        let same = |cut: Instant| now.saturating_duration_since(cut) < EXCESS;
        if !self.last_cut.is_some_and(same) {
            self.recover(now);
            self.rate = (self.rate * CUT).max(SLOWEST.min(self.top));
            self.last_cut = Some(now);
        }
        self.quiet_since = now + wait;
    }

    /// Doubles the mute when the last one ended only just before.
    pub(super) fn mute(&mut self, now: Instant) -> Duration {
        if let Some((_, end)) = self.last_mute
            && now < end
        {
            // Calls that were on their way when the mute began say nothing new.
            return end - now;
        }
        let wait = match self.last_mute {
            Some((last, end)) if now < end + LONGEST_MUTE => (last * 2).min(LONGEST_MUTE),
            _ => MUTE,
        };
        self.last_mute = Some((wait, now + wait));
        self.slow_down(wait, now);
        wait
    }

    pub(super) fn block(&mut self, wait: Duration, now: Instant) {
        self.blocked_until = self.blocked_until.max(now + wait);
    }

    /// What there is to tell other replicas; `None` when nothing was learned or all is forgotten.
    pub(super) fn learned(&mut self, now: Instant, today: Timestamp) -> Option<Learned> {
        self.recover(now);
        let muted = self.last_mute.filter(|(_, end)| now < *end + LONGEST_MUTE);
        if self.rate >= self.top && self.blocked_until <= now && muted.is_none() {
            return None;
        }
        let wall = |at: Instant| to_wall(at, now, today);
        Some(Learned {
            rate: self.rate,
            quiet_since: wall(self.quiet_since),
            blocked_until: wall(self.blocked_until),
            mute: muted.map(|(length, end)| (length.as_secs(), wall(end))),
        })
    }

    /// Learns what another replica learned, as far as it is harsher.
    pub(super) fn adopt(&mut self, learned: &Learned, now: Instant, today: Timestamp) {
        self.recover(now);
        let here = |at: Timestamp| from_wall(at, now, today);
        let mut theirs = Self {
            rate: learned.rate.clamp(SLOWEST.min(self.top), self.top),
            quiet_since: here(learned.quiet_since),
            ..Self::new(self.top, now)
        };
        theirs.recover(now);
        if theirs.rate < self.rate {
            self.rate = theirs.rate;
            self.quiet_since = theirs.quiet_since;
        }
        self.blocked_until = self.blocked_until.max(here(learned.blocked_until));
        if let Some((length, end)) = learned.mute {
            let end = here(end);
            if self.last_mute.is_none_or(|(_, ours)| ours < end) {
                let length = Duration::from_secs(length).min(LONGEST_MUTE);
                self.last_mute = Some((length, end));
            }
        }
    }
}

fn to_wall(at: Instant, now: Instant, today: Timestamp) -> Timestamp {
    let ahead = today.after(at.saturating_duration_since(now));
    let behind = now.saturating_duration_since(at).as_millis();
    let behind = i64::try_from(behind).unwrap_or(i64::MAX);
    Timestamp::from_millis(ahead.as_millis().saturating_sub(behind))
}

/// No further ahead than the longest wait that is ever learned: another machine's clock may be off.
fn from_wall(at: Timestamp, now: Instant, today: Timestamp) -> Instant {
    let ahead = at.since(today).min(LONGEST_MUTE);
    let behind = today.since(at);
    (now + ahead).checked_sub(behind).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_are_back_are_forgotten_however_high_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100_000.0, start);
        for call in 0..10_000_u32 {
            let now = start + Duration::from_millis(10) * call;
            assert_eq!(bucket.take(now), Ok(()), "call {call}");
        }
        assert!(bucket.taken.len() <= 106, "{}", bucket.taken.len());
    }
}
