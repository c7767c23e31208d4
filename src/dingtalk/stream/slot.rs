//! One connection slot of an account: opens, replaces, waits, parks. It sees connections only as
//! wholes: opened, asked to be replaced, ended.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, jittered};
use super::connect::{Ws, open};
use super::delivery::LinkEvent;
use super::ending::{Cue, End};
use super::link::Context;
use super::pulse::Pulse;
use super::refusal::Refusal;
use super::session::{Counted, Ended, Session};
use super::standing::Standing;
use crate::telemetry::LinkState;

/// Short connections without a frame in a row that make a stall.
const STALL_AFTER: u32 = 5;
/// Connections that one slot holds at most, those being let go included.
const MAX_CONNECTIONS: usize = 3;
/// Cues that wait for the slot.
const CUE_BOUND: usize = 8;

type Opened = Result<Ws, Refusal>;
type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;
/// A cue and the generation of the connection that gives it.
pub(super) type Cued = (u64, Cue);
type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A slot and everything that it drives.
pub(super) struct Slot {
    context: Arc<Context>,
    index: usize,
    stop: CancellationToken,
    standing: Standing,
    sessions: FuturesUnordered<Running>,
    live: Option<Live>,
    opening: Option<Opening>,
    cues: (mpsc::Sender<Cued>, mpsc::Receiver<Cued>),
    generation: u64,
    backoff: Backoff,
    /// That of attempts that reach nobody.
    unreached: Backoff,
    short_lives: u32,
    /// Those being let go, oldest first: generation, and what makes it go at once.
    retired: VecDeque<(u64, CancellationToken)>,
}

/// The connection that counts; others are being let go.
struct Live {
    generation: u64,
    retire: CancellationToken,
    hurry: CancellationToken,
    opened: Instant,
    replace_at: Instant,
    /// A stalled account is not called up before a connection has proved itself.
    on_probation: bool,
}

enum Step {
    Stop,
    Opened(Box<Opened>),
    Cue(u64, Cue),
    Ended(Ended),
    Due,
    Reported,
}

impl Slot {
    pub(super) fn new(
        context: Arc<Context>,
        index: usize,
        events: mpsc::Sender<LinkEvent>,
        stop: &CancellationToken,
    ) -> Self {
        let timings = &context.timings;
        Self {
            backoff: Backoff::new(timings.backoff_least, timings.backoff_most),
            unreached: Backoff::new(timings.backoff_least, timings.unreached_most),
            standing: Standing::new(Arc::clone(&context), index, events),
            context,
            index,
            // A slot that gives up early must not stop the others.
            stop: stop.child_token(),
            sessions: FuturesUnordered::new(),
            live: None,
            opening: None,
            cues: mpsc::channel(CUE_BOUND),
            generation: 0,
            short_lives: 0,
            retired: VecDeque::new(),
        }
    }

    /// Keeps a connection open until the link stops.
    pub(super) async fn run(mut self) {
        let place = u32::try_from(self.index).unwrap_or(u32::MAX);
        self.open_after(self.context.timings.stagger.saturating_mul(place));
        loop {
            let due = self.live.as_ref().map(|live| live.due(&self.context));
            let step = tokio::select! {
                () = self.stop.cancelled() => Step::Stop,
                Some(ended) = self.sessions.next() => Step::Ended(ended),
                result = settled(&mut self.opening) => Step::Opened(result),
                Some((generation, cue)) = self.cues.1.recv() => Step::Cue(generation, cue),
                () = reached(due) => Step::Due,
                () = self.standing.report() => Step::Reported,
            };
            match step {
                Step::Stop => break,
                Step::Opened(result) => self.settled(*result),
                Step::Cue(generation, cue) => self.cued(generation, &cue),
                Step::Ended(ended) if ended.why == End::Deaf => break,
                Step::Ended(ended) => self.ended(&ended),
                Step::Due => self.due(),
                Step::Reported => {}
            }
        }
        self.finish().await;
    }

    fn open_after(&mut self, delay: Duration) {
        if self.opening.is_none() {
            self.opening = Some(Box::pin(open(Arc::clone(&self.context), delay)));
        }
    }

    fn settled(&mut self, result: Opened) {
        if !matches!(result, Err(Refusal::Unreached(_))) {
            self.unreached.reset();
        }
        match result {
            Ok(ws) => self.opened(ws),
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn opened(&mut self, ws: Ws) {
        self.opening = None;
        self.generation += 1;
        let now = Instant::now();
        let live = Live {
            generation: self.generation,
            retire: CancellationToken::new(),
            hurry: CancellationToken::new(),
            opened: now,
            replace_at: now + jittered(self.context.timings.max_age),
            on_probation: self.short_lives >= STALL_AFTER,
        };
        let session = Session {
            context: Arc::clone(&self.context),
            _counted: Counted::new(Arc::clone(&self.context)),
            generation: self.generation,
            slot: self.index,
            cues: self.cues.0.clone(),
            retire: live.retire.clone(),
            hurry: live.hurry.clone(),
            stop: self.stop.clone(),
            pulse: Pulse::default(),
        };
        let (sink, stream) = ws.split();
        self.sessions.push(Box::pin(session.run(sink, stream)));
        let on_probation = live.on_probation;
        let replaced = self.live.replace(live);
        tracing::info!(
            dingtalk.account = %self.context.account,
            dingtalk.slot = self.index,
            dingtalk.replaces = replaced.is_some(),
            "stream connection open"
        );
        if let Some(old) = replaced {
            old.retire.cancel();
            self.retired.push_back((old.generation, old.hurry));
        }
        if !on_probation {
            self.standing.set(LinkState::Up);
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.opening = None;
        // Tried every second or two for as long as it takes, which need not be said each time.
        let said = matches!(refusal, Refusal::Unreached(_)) && self.unreached.is_at_most();
        let (delay, state) = self.verdict(refusal);
        if said {
            tracing::debug!(
                dingtalk.account = %self.context.account,
                dingtalk.slot = self.index,
                reason = refusal.reason(),
                "gateway still not reached"
            );
        } else {
            tracing::warn!(
                dingtalk.account = %self.context.account,
                dingtalk.slot = self.index,
                retry.seconds = delay.as_secs_f64(),
                reason = refusal.reason(),
                "stream connection not opened"
            );
        }
        // A connection that still works is better news than its missing replacement is bad news.
        if self.live.is_none() {
            self.standing.set(state);
        }
        self.open_after(delay);
    }

    fn verdict(&mut self, refusal: &Refusal) -> (Duration, LinkState) {
        let timings = &self.context.timings;
        let reason = refusal.reason().to_owned();
        match refusal {
            Refusal::Unreached(_) => (self.unreached.next(), LinkState::Down(reason)),
            Refusal::Park(_) => (jittered(timings.refused_retry), LinkState::Parked(reason)),
            Refusal::Banned(_) => (jittered(timings.ban_wait), LinkState::Parked(reason)),
            Refusal::Retry { wait, .. } => {
                let delay = self.backoff.next().max(wait.unwrap_or_default());
                (delay, LinkState::Down(reason))
            }
        }
    }

    fn cued(&mut self, generation: u64, cue: &Cue) {
        let Some(live) = &self.live else { return };
        if live.generation != generation || self.opening.is_some() {
            return;
        }
        let young = live.opened.elapsed() < self.context.timings.stall_life;
        let delay = match cue {
            // DingTalk that sends everybody away must not be stormed.
            Cue::Disconnect(_) | Cue::Suspect if young => {
                self.backoff.next().min(self.context.timings.dismissed_most)
            }
            Cue::Disconnect(_) | Cue::Suspect | Cue::Slept => Duration::ZERO,
        };
        self.replace(&cue.reason(), delay);
    }

    fn due(&mut self) {
        let stall_life = self.context.timings.stall_life;
        let Some(live) = &mut self.live else { return };
        if live.on_probation && live.opened.elapsed() >= stall_life {
            live.on_probation = false;
            self.short_lives = 0;
            self.standing.set(LinkState::Up);
            return;
        }
        // Asked again only when the next connection has grown old, or this one has ended.
        live.replace_at = Instant::now() + jittered(self.context.timings.max_age);
        self.replace("it has reached its age", Duration::ZERO);
    }

    /// Opens the next connection while the present one goes on.
    fn replace(&mut self, reason: &str, delay: Duration) {
        if self.sessions.len() >= MAX_CONNECTIONS {
            // Nothing is pushed on connections that were sent away, so the oldest makes room.
            let Some((_, hurry)) = self.retired.pop_front() else {
                return;
            };
            hurry.cancel();
        }
        tracing::info!(
            dingtalk.account = %self.context.account,
            dingtalk.slot = self.index,
            reason,
            "replacing stream connection"
        );
        self.open_after(delay);
    }

    fn ended(&mut self, ended: &Ended) {
        let reason = ended.why.reason();
        self.retired
            .retain(|(generation, _)| *generation != ended.generation);
        let live = self
            .live
            .take_if(|live| live.generation == ended.generation);
        tracing::info!(
            dingtalk.account = %self.context.account,
            dingtalk.slot = self.index,
            connection.seconds = ended.lived.as_secs_f64(),
            connection.replaced = live.is_none(),
            reason,
            "stream connection ended"
        );
        self.judge(ended);
        if live.is_none() {
            return;
        }
        if self.short_lives >= STALL_AFTER {
            self.standing.set(LinkState::Parked(format!(
                "{STALL_AFTER} connections in a row ended within {} s without a frame, the last one: \
                 {reason}; check in the developer console that the app receives in Stream mode, and \
                 that no other program takes its connections",
                self.context.timings.stall_life.as_secs()
            )));
            self.opening = None;
            self.open_after(jittered(self.context.timings.stall_retry));
        } else {
            self.standing.set(LinkState::Down(reason));
            let delay = self.backoff.next();
            self.open_after(delay);
        }
    }

    /// Counts towards a stall, or ends the count.
    fn judge(&mut self, ended: &Ended) {
        if ended.had_data || ended.lived >= self.context.timings.stall_life {
            self.short_lives = 0;
            self.backoff.reset();
        } else if ended.why != End::Let {
            self.short_lives = self.short_lives.saturating_add(1);
        }
    }

    /// Lets every connection say goodbye; each of them keeps to its own limits.
    async fn finish(mut self) {
        self.opening = None;
        self.stop.cancel();
        while self.sessions.next().await.is_some() {}
        self.standing.stopped().await;
        tracing::info!(
            dingtalk.account = %self.context.account,
            dingtalk.slot = self.index,
            "stream connection stopped"
        );
    }
}

impl Live {
    /// When the slot must look at it again.
    fn due(&self, context: &Context) -> Instant {
        match self.on_probation {
            true => self.opened + context.timings.stall_life,
            false => self.replace_at,
        }
    }
}

async fn settled(opening: &mut Option<Opening>) -> Box<Opened> {
    match opening {
        Some(opening) => Box::new(opening.as_mut().await),
        None => pending().await,
    }
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
