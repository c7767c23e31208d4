//! The life of one card: what waits is merged in the order of the lanes, what was merged becomes a
//! frame, and the card is closed when nothing comes any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::super::desk::{LetGo, Patience};
use super::super::journey::{Sender, Served};
use super::super::resolve::Refusal;
use super::ask::{Feed, Step};
use super::calls::{Bill, Call};
use super::inbox::{Front, Mode, Piece};
use super::names::private_strings;
use super::record::{Before, MAX_TEXT, Phase, Record};
use crate::message::{CardUpdate, DeadReason, Priority, Timestamp, param_strings};

/// One card and what is aboard.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) sender: Arc<Sender>,
    pub(super) track: String,
    pub(super) stop: CancellationToken,
    pub(super) record: Option<Record>,
    pub(super) revision: Option<u64>,
    /// Merged pieces that nobody was told about.
    pub(super) aboard: Vec<Piece>,
    /// What the calls since the last receipt cost.
    pub(super) bill: Bill,
    /// When the next frame may leave.
    pub(super) next_frame: Instant,
    /// Refused frames in a row.
    pub(super) refusals: u32,
    /// How urgent the most urgent request at hand is.
    pub(super) priority: Priority,
}

impl Actor {
    pub(super) fn new(sender: Arc<Sender>, track: String, stop: CancellationToken) -> Self {
        Self {
            sender,
            track,
            stop,
            record: None,
            revision: None,
            aboard: Vec::new(),
            bill: Bill::default(),
            next_frame: Instant::now(),
            refusals: 0,
            priority: Priority::Normal,
        }
    }

    /// Works until nothing is left to do; lets go of everything when the bridge stops or another
    /// one has the card.
    pub(super) async fn run(mut self) -> (Option<u64>, Served) {
        let Err(reason) = self.live().await else {
            return (None, Served::Here);
        };
        debug!(
            dingtalk.account = %self.sender.account,
            card.id = %self.track,
            ?reason,
            "card let go, its requests are delivered again"
        );
        // What it was just working on went with the error.
        self.aboard.clear();
        drop(self.sender.cards.inboxes.abandon(&self.track));
        match reason {
            LetGo::Overtaken => (None, Served::Elsewhere),
            LetGo::Stopping => (None, Served::Here),
        }
    }

    async fn live(&mut self) -> Result<(), LetGo> {
        self.load().await?;
        loop {
            if self.stop.is_cancelled() {
                return Err(LetGo::Stopping);
            }
            match self.sender.cards.inboxes.front(&self.track) {
                Some(Front::Feed) => {
                    self.wait_for_frame().await?;
                    self.merge_all().await?;
                }
                // What was streamed before it comes before it.
                Some(Front::Step) if self.is_dirty() => self.frame().await?,
                Some(Front::Step) => self.step().await?,
                None if self.is_dirty() => {
                    self.wait_for_frame().await?;
                    // What came meanwhile goes with it.
                    if self.sender.cards.inboxes.front(&self.track).is_none() {
                        self.frame().await?;
                    }
                }
                None => {
                    if !self.rest().await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    pub(super) async fn load(&mut self) -> Result<(), LetGo> {
        let desk = &self.sender.desk;
        let read = || self.sender.cards.album.read(&self.track);
        let patience = Patience::Until(&self.stop);
        let Some(found) = desk.insist(patience, "card read", read).await? else {
            return Ok(());
        };
        self.revision = Some(found.revision);
        // One in another form stands there all the same; it is streamed into as far as we know it.
        let record = found.record.unwrap_or_else(|| self.unknown());
        self.sender.cards.place(&self.track, &record);
        let mode = match record.phase {
            Phase::Creating | Phase::Delivering { .. } => Mode::Hidden,
            Phase::Standing | Phase::Open | Phase::Ended => Mode::Card,
            Phase::Plain => Mode::Plain,
        };
        let saying = record.saying.is_some();
        self.record = Some(record);
        self.show(mode);
        if saying {
            return self.say_so_far().await;
        }
        Ok(())
    }

    /// A card that somebody else made.
    pub(super) fn unknown(&self) -> Record {
        self.blank(Phase::Standing)
    }

    pub(super) fn blank(&self, phase: Phase) -> Record {
        let key = &self.sender.settings.card_key;
        Record::new(self.sender.desk.owner.clone(), phase, key, self.deadline())
    }

    pub(super) fn deadline(&self) -> Timestamp {
        Timestamp::now().after(self.sender.desk.timings.card_deadline)
    }

    pub(super) fn show(&mut self, mode: Mode) {
        let inboxes = &self.sender.cards.inboxes;
        inboxes.show(&self.track, mode, &mut self.aboard);
    }

    /// Writes the record; nothing follows from it before it stands.
    pub(super) async fn write(&mut self) -> Result<(), LetGo> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        record.owner = self.sender.desk.owner.clone();
        let (record, track, revision) = (&*record, &self.track, self.revision);
        let album = &self.sender.cards.album;
        let step = || album.write(track, record, revision);
        let patience = Patience::Until(&self.stop);
        let written = self
            .sender
            .desk
            .insist(patience, "card write", step)
            .await?;
        self.revision = Some(written.ok_or(LetGo::Overtaken)?);
        Ok(())
    }

    fn is_plain(&self) -> bool {
        let plain = |record: &Record| record.phase == Phase::Plain;
        self.record.as_ref().is_some_and(plain)
    }

    fn is_dirty(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.dirty)
    }

    /// Lets time pass in which more can be merged, when frames are sent at all.
    pub(super) async fn wait_for_frame(&self) -> Result<(), LetGo> {
        let streams = |record: &Record| record.phase == Phase::Open;
        if !self.record.as_ref().is_some_and(streams) {
            return Ok(());
        }
        let wait = sleep_until(self.next_frame);
        match self.stop.run_until_cancelled(wait).await {
            Some(()) => Ok(()),
            None => Err(LetGo::Stopping),
        }
    }

    /// Merges all that waits up to the end of the stream or a call of its own.
    async fn merge_all(&mut self) -> Result<(), LetGo> {
        let inboxes = |actor: &Self| actor.sender.cards.inboxes.front(&actor.track);
        while inboxes(self) == Some(Front::Feed) {
            let Some(piece) = self.sender.cards.inboxes.pop(&self.track) else {
                break;
            };
            let ends = piece.ask.ends();
            self.merge(piece).await?;
            if ends {
                break;
            }
        }
        if self.is_dirty() || self.is_plain() && !self.aboard.is_empty() {
            return self.frame().await;
        }
        // Nothing that would have to be shown: an empty piece, say.
        self.write().await?;
        self.tell_aboard().await
    }

    async fn merge(&mut self, piece: Piece) -> Result<(), LetGo> {
        let Step::Feed(feed) = piece.ask.step.clone() else {
            return Ok(());
        };
        let Some(piece) = self.unknown_so_far(piece).await? else {
            return Ok(());
        };
        let Some(piece) = self.prepare(piece, &feed).await? else {
            return Ok(());
        };
        if self
            .record
            .as_ref()
            .is_some_and(|record| !record.takes(&feed))
        {
            let refusal = Refusal::new(
                DeadReason::Malformed,
                format!(
                    "the text would be longer than {MAX_TEXT} bytes; finish it and go on in another stream or card"
                ),
            );
            return self.tell_refused(piece, &refusal).await;
        }
        if !feed.params.is_empty() {
            let call = Call::Update(param_strings(&feed.params), Default::default());
            match self.insist(&call, piece.ask.expires_at).await? {
                Some(Ok(_)) => {}
                Some(Err(error)) => return self.refused(piece, error).await,
                None => return self.tell_expired(piece).await,
            }
        }
        let (sequence, key) = (piece.sequence(), piece.fingerprint());
        let deadline = self.deadline();
        if let Some(record) = &mut self.record {
            record.feed(&feed);
            record.remember(sequence, key);
            record.deadline = deadline;
        }
        self.aboard.push(piece);
        Ok(())
    }

    /// Gives the piece back unless its time is over or it came before; then it has its end.
    async fn unknown_so_far(&mut self, piece: Piece) -> Result<Option<Piece>, LetGo> {
        let known = self.record.as_ref();
        let known = known.and_then(|record| record.knows(piece.sequence(), piece.fingerprint()));
        match known {
            Some(Before::Delivered) => {
                // What it said is in the card, or in what is about to be sent.
                self.aboard.push(piece);
                if !self.is_dirty() && !self.is_plain() {
                    self.tell_aboard().await?;
                }
                Ok(None)
            }
            Some(Before::Published) => {
                self.tell_duplicate(piece).await;
                Ok(None)
            }
            None if piece.is_over() => {
                self.tell_expired(piece).await?;
                Ok(None)
            }
            None => {
                self.priority = self.priority.max(piece.priority());
                Ok(Some(piece))
            }
        }
    }

    /// Makes the card ready to take a feed; gives the piece back unless that ended it.
    async fn prepare(&mut self, piece: Piece, feed: &Feed) -> Result<Option<Piece>, LetGo> {
        match self.record.as_ref().map(|record| record.phase) {
            None if feed.opens => return self.open(piece).await,
            Some(Phase::Creating | Phase::Delivering { .. }) => return self.open(piece).await,
            None => {
                let mut record = self.unknown();
                record.phase = Phase::Open;
                self.record = Some(record);
                self.show(Mode::Card);
            }
            Some(Phase::Ended) if feed.opens => {
                let refusal = Refusal::new(
                    DeadReason::Refused,
                    "this stream is done; give the next one in this chat another name",
                );
                self.tell_refused(piece, &refusal).await?;
                return Ok(None);
            }
            Some(Phase::Standing | Phase::Ended) => {
                if let Some(record) = &mut self.record {
                    record.phase = Phase::Open;
                    record.ending = None;
                }
            }
            Some(Phase::Open | Phase::Plain) => {}
        }
        Ok(Some(piece))
    }

    /// Does what needs a call of its own.
    async fn step(&mut self) -> Result<(), LetGo> {
        let Some(piece) = self.sender.cards.inboxes.pop(&self.track) else {
            return Ok(());
        };
        let Some(piece) = self.unknown_so_far(piece).await? else {
            return Ok(());
        };
        match piece.ask.step.clone() {
            Step::Create(_) => match self.create(piece).await? {
                Some(piece) => self.tell_sent(piece).await,
                None => Ok(()),
            },
            Step::Update(update) => self.update(piece, &update).await,
            // It was seen to be none.
            Step::Feed(_) => Ok(()),
        }
    }

    async fn update(&mut self, piece: Piece, update: &CardUpdate) -> Result<(), LetGo> {
        if self.is_plain() {
            let refusal = Refusal::new(
                DeadReason::Refused,
                "there is no card to update: its content goes out as a plain message",
            );
            return self.tell_refused(piece, &refusal).await;
        }
        let call = Call::Update(
            param_strings(&update.params),
            private_strings(&update.private),
        );
        match self.insist(&call, piece.ask.expires_at).await? {
            Some(Ok(_)) => self.tell_sent(piece).await,
            Some(Err(error)) => self.refused(piece, error).await,
            None => self.tell_expired(piece).await,
        }
    }

    /// How long frames of one card are apart now: further while the quota of the month runs short.
    pub(super) fn gap(&self) -> Duration {
        let sender = &self.sender;
        let factor = super::frames::stretch(sender.standings.brake(&sender.account));
        sender.desk.timings.card_gap.saturating_mul(factor)
    }
}
