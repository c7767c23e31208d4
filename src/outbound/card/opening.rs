//! Bringing a card into its chat, once: creating it may be repeated, showing it may not. Where there
//! is no card to be had, the same request is said in words.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::claim::Claim;
use super::super::desk::LetGo;
use super::super::receipt::Cause;
use super::super::resolve::Refusal;
use super::actor::Actor;
use super::ask::{Chat, Step};
use super::calls::{Answer, Call};
use super::inbox::{Mode, Piece};
use super::names::private_strings;
use super::record::{Phase, Record};
use crate::dingtalk::api::{ApiError, CardDraft, CardMentions, CardSpace, ErrorClass};
use crate::message::{Brake, CardCreate, DeadReason, Kind, Outcome, Timestamp, param_strings};

/// Why there is no card.
#[derive(Debug)]
pub(super) enum NoCard {
    /// It is not to be tried.
    Unwanted(&'static str),
    /// DingTalk refused it for good.
    Refused(ApiError),
}

const NO_TEMPLATE: &str = "the account has no card template: set card_template to the id of a published one, or give `fallback` a text";
const NO_REACH: &str = "a card reaches nobody without a staffId; give `fallback` a text";
const BRAKED: &str = "the quota of the month runs short, and cards are given up for it; give `fallback` a text, or raise the account's `quota`";

impl From<NoCard> for Cause {
    fn from(why: NoCard) -> Self {
        match why {
            NoCard::Unwanted(reason) => Self {
                code: DeadReason::Refused.as_str().to_owned(),
                message: reason.to_owned(),
                cure: None,
            },
            NoCard::Refused(error) => Self {
                code: error.code,
                message: error.message,
                cure: error.cure,
            },
        }
    }
}

impl Actor {
    /// Opens the card of a stream; gives the piece back when it can be merged, into a card or into
    /// a text that becomes a plain message.
    pub(super) async fn open(&mut self, piece: Piece) -> Result<Option<Piece>, LetGo> {
        let create = CardCreate::default();
        let Some(piece) = self.claimed(piece).await? else {
            return Ok(None);
        };
        match self.bring(piece, &create).await? {
            Ok(Some(piece)) => {
                if let Some(record) = &mut self.record {
                    record.phase = Phase::Open;
                }
                Ok(Some(piece))
            }
            Ok(None) => Ok(None),
            Err((piece, _)) => {
                self.go_plain(piece.ask.chat.clone(), piece.sequence());
                Ok(Some(piece))
            }
        }
    }

    /// Creates a card as it was described; gives the piece back when people see the card.
    pub(super) async fn create(&mut self, piece: Piece) -> Result<Option<Piece>, LetGo> {
        let Step::Create(create) = piece.ask.step.clone() else {
            return Ok(None);
        };
        let Some(piece) = self.claimed(piece).await? else {
            return Ok(None);
        };
        let exists = match self.record.as_ref() {
            None => false,
            Some(record) => record
                .opener
                .is_some_and(|opener| opener != piece.sequence()),
        };
        if exists {
            let refusal = Refusal::new(
                DeadReason::Refused,
                format!(
                    "card `{}` exists already; use `update` or another id",
                    self.track
                ),
            );
            self.tell_refused(piece, &refusal).await?;
            return Ok(None);
        }
        let (sequence, key) = (piece.sequence(), piece.fingerprint());
        match self.bring(piece, &create).await? {
            Ok(Some(piece)) => {
                if let Some(record) = &mut self.record {
                    record.remember(sequence, key);
                }
                self.write().await?;
                Ok(Some(piece))
            }
            Ok(None) => Ok(None),
            Err((piece, why)) => {
                self.instead(piece, create.fallback, why).await?;
                Ok(None)
            }
        }
    }

    /// Without a card: the fallback is said at once, or the request fails.
    async fn instead(
        &mut self,
        mut piece: Piece,
        fallback: Option<String>,
        why: NoCard,
    ) -> Result<(), LetGo> {
        let Some(text) = fallback.filter(|text| !text.trim().is_empty()) else {
            if let Some(record) = &mut self.record {
                // Another request may create it.
                record.opener = None;
                record.end();
            }
            self.write().await?;
            return self.tell(piece, (Outcome::Failed, Some(why.into()))).await;
        };
        self.go_plain(piece.ask.chat.clone(), piece.sequence());
        // The message is sent under the place in the ledger that the piece has already.
        let hold = piece.hold.take();
        let sent = self.send_plain((Some(&piece), hold), text);
        let done = Box::pin(sent).await?;
        if let Some(record) = &mut self.record {
            record.remember(piece.sequence(), piece.fingerprint());
        }
        self.write().await?;
        piece.grip.settle(done.dead).await;
        Ok(())
    }

    /// Makes the key of the request ours in the ledger; ends one that was published or done before.
    async fn claimed(&mut self, mut piece: Piece) -> Result<Option<Piece>, LetGo> {
        let sender = &self.sender;
        let claim = {
            let matter = piece.matter(&sender.account);
            let claim = sender.desk.claim(&matter, piece.key.derived, &self.stop);
            Box::pin(claim).await?
        };
        match claim {
            Claim::Duplicate => {
                self.tell_duplicate(piece).await;
                Ok(None)
            }
            Claim::Ended(done) => {
                let matter = piece.matter(&sender.account);
                Box::pin(sender.desk.close(&matter, &done)).await?;
                piece.grip.settle(done.dead).await;
                Ok(None)
            }
            Claim::Mine(hold) => {
                piece.hold = Some(hold);
                Ok(Some(piece))
            }
        }
    }

    /// Creates and shows the card, from wherever another life of a bridge left it. Gives the piece
    /// back either way, unless its time was over meanwhile.
    async fn bring(
        &mut self,
        piece: Piece,
        create: &CardCreate,
    ) -> Result<Result<Option<Piece>, (Piece, NoCard)>, LetGo> {
        let opened = |record: &&Record| record.opener.is_some();
        match self
            .record
            .as_ref()
            .filter(opened)
            .map(|record| record.phase)
        {
            Some(Phase::Delivering { since }) => {
                self.doubt(since).await?;
                return Ok(Ok(Some(piece)));
            }
            // An earlier life came that far.
            Some(Phase::Standing | Phase::Open | Phase::Plain | Phase::Ended) => {
                return Ok(Ok(Some(piece)));
            }
            Some(Phase::Creating) | None => {}
        }
        let draft = match self.draft(&piece, create) {
            Ok(draft) => draft,
            Err(why) => return Ok(Err((piece, NoCard::Unwanted(why)))),
        };
        if self
            .record
            .as_ref()
            .is_none_or(|record| record.opener.is_none())
        {
            let mut record = self.blank(Phase::Creating);
            record.chat.clone_from(&piece.ask.chat);
            record.opener = Some(piece.sequence());
            self.record = Some(record);
        }
        self.write().await?;
        let until = piece.ask.expires_at;
        match self.insist(&Call::Create(draft.clone()), until).await? {
            Some(Ok(_)) => {}
            Some(Err(error)) => return self.no_card(piece, Some(error)).await,
            None => return self.no_card(piece, None).await,
        }
        match self.deliver(draft, until).await? {
            Some(Ok(carrier)) => {
                if let Some(record) = &mut self.record {
                    record.carrier = carrier;
                }
            }
            Some(Err(error)) if error.class == ErrorClass::Ambiguous => {
                if let Some(record) = &mut self.record {
                    record.doubt = true;
                }
            }
            Some(Err(error)) => return self.no_card(piece, Some(error)).await,
            None => return self.no_card(piece, None).await,
        }
        self.enter(Phase::Standing).await?;
        self.next_frame = Instant::now();
        if piece.ask.ends() {
            // One that ends the moment it appears is shown as not loaded (oapi.md, section 6.6).
            self.next_frame += self.gap();
        }
        self.show(Mode::Card);
        Ok(Ok(Some(piece)))
    }

    /// Shows the card that was created.
    async fn deliver(
        &mut self,
        draft: CardDraft,
        until: Option<Timestamp>,
    ) -> Result<Option<Answer>, LetGo> {
        self.enter(Phase::Delivering {
            since: Timestamp::now(),
        })
        .await?;
        if let Some(record) = &self.record {
            // Before anybody can press a button on it.
            self.sender.cards.place(&self.track, record);
        }
        let shown = self.insist(&Call::Deliver(draft), until).await;
        if shown.is_err() {
            // It only waited for its turn: whoever goes on need not doubt that.
            self.enter(Phase::Creating).await?;
        }
        shown
    }

    /// Nobody sees anything, as DingTalk refused it for good or the time of the piece is over.
    async fn no_card(
        &mut self,
        piece: Piece,
        error: Option<ApiError>,
    ) -> Result<Result<Option<Piece>, (Piece, NoCard)>, LetGo> {
        // The next request begins anew.
        self.enter(Phase::Creating).await?;
        match error {
            Some(error) if !piece.is_over() => Ok(Err((piece, NoCard::Refused(error)))),
            Some(_) | None => {
                self.tell_expired(piece).await?;
                Ok(Ok(None))
            }
        }
    }

    async fn enter(&mut self, phase: Phase) -> Result<(), LetGo> {
        if let Some(record) = &mut self.record {
            record.phase = phase;
        }
        self.write().await
    }

    /// Another life of a bridge was showing the card when it ended: its call is given its time, and
    /// nobody knows what became of it.
    async fn doubt(&mut self, since: Timestamp) -> Result<(), LetGo> {
        let timings = &self.sender.desk.timings;
        let span: Duration = timings.call + timings.margin;
        let wait = since.after(span).since(Timestamp::now()).min(span);
        let wait = tokio::time::sleep(wait);
        if self.stop.run_until_cancelled(wait).await.is_none() {
            return Err(LetGo::Stopping);
        }
        if let Some(record) = &mut self.record {
            record.doubt = true;
        }
        self.enter(Phase::Standing).await?;
        self.show(Mode::Card);
        Ok(())
    }

    /// Collects the text for a plain message from here on.
    pub(super) fn go_plain(&mut self, chat: Option<Chat>, opener: u64) {
        let blank = self.blank(Phase::Plain);
        let record = self.record.get_or_insert(blank);
        record.phase = Phase::Plain;
        record.chat = record.chat.take().or(chat);
        record.opener = record.opener.or(Some(opener));
        self.show(Mode::Plain);
    }

    /// The card that is to be created, or why there is none.
    fn draft(&self, piece: &Piece, create: &CardCreate) -> Result<CardDraft, &'static str> {
        let sender = &self.sender;
        let Some(chat) = piece.ask.chat.as_ref().filter(|_| !piece.ask.outsider) else {
            return Err(NO_REACH);
        };
        if sender.standings.brake(&sender.account) >= Brake::NoCards {
            return Err(BRAKED);
        }
        let template = create.template.as_ref();
        let template = template.or(sender.settings.card_template.as_ref());
        let Some(template) = template.cloned() else {
            return Err(NO_TEMPLATE);
        };
        let space = match chat.kind() {
            Kind::Group => CardSpace::Group(chat.id.clone()),
            Kind::User | Kind::Card | Kind::Event | Kind::Other => CardSpace::User(chat.id.clone()),
        };
        let mut params = param_strings(&create.params);
        if create.template.is_none() {
            // A variable that is missing shows as its name until the first frame.
            let key = sender.settings.card_key.clone();
            params.entry(key).or_default();
        }
        let mention = &piece.ask.mention;
        let users = mention.users.iter();
        let users: BTreeMap<String, String> =
            users.map(|user| (user.clone(), user.clone())).collect();
        Ok(CardDraft {
            out_track_id: self.track.clone(),
            template,
            params,
            private: private_strings(&create.private),
            space,
            mentions: CardMentions {
                users,
                all: mention.all,
            },
            summary: create.summary.clone(),
        })
    }
}
