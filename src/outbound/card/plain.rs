//! What is said in words because there is no card, the card broke, or it could not hold it all: one
//! plain message through the ordinary path, under the key of the piece that ended the stream.

use super::super::claim::{Claim, Hold};
use super::super::desk::LetGo;
use super::super::ledger::{Done, Progress, Publication};
use super::super::receipt::{Cause, Ended, Matter, Published};
use super::super::resolve::Refusal;
use super::actor::Actor;
use super::ask::in_words;
use super::inbox::Piece;
use super::names::derived;
use super::record::{Ending, MAX_OWED, Owed};
use crate::message::{DeadReason, Outcome, Receipt, Request, RequestId, Timestamp, header};

/// Stands before what a card that broke did not show any more.
const CONTINUED: &str = "*(continued: the card could not be updated any further)*\n\n";
/// Stands before what did not fit into a card.
const LONGER: &str = "*(continued)*\n\n";
/// Stands before a text whose service said that it failed.
const FAILED: &str = "*(not finished)*\n\n";

impl Actor {
    /// Takes care of what is aboard while there is no card: its text is kept, and said once the
    /// stream ends.
    pub(super) async fn collect(&mut self) -> Result<(), LetGo> {
        let chat = self.record.as_ref().and_then(|record| record.chat.clone());
        let subject = chat.map(|chat| {
            let (account, subjects) = (&self.sender.account, &self.sender.desk.subjects);
            subjects.outbound(account, chat.kind(), &chat.id)
        });
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        for piece in self.aboard.iter().filter(|piece| !piece.ask.ends()) {
            let published = piece.grip.published();
            let owed = |owed: &Owed| owed.publication == published.publication;
            if !record.owed.iter().any(owed) {
                record.owed.push(Owed {
                    id: piece.key.id.clone(),
                    publication: published.publication,
                    asked: published.requested_at(),
                    subject: Some(published.subject.clone())
                        .filter(|it| subject.as_ref() != Some(it)),
                });
            }
        }
        let ending = record.ending;
        // Stays dirty while the stream is to end: whoever takes over says it.
        record.dirty = ending.is_some();
        self.write().await?;
        let (closing, kept) = self.part_aboard();
        for piece in kept {
            piece.grip.settle(None).await;
        }
        self.aboard = closing;
        let owed = self.record.as_ref().map_or(0, |record| record.owed.len());
        match ending {
            None if owed >= MAX_OWED => {
                if let Some(record) = &mut self.record {
                    record.saying = Some(record.text.len());
                }
                self.write().await?;
                self.say_so_far().await
            }
            None => Ok(()),
            Some(ending) => self.say(ending).await,
        }
    }

    fn part_aboard(&mut self) -> (Vec<Piece>, Vec<Piece>) {
        let aboard = std::mem::take(&mut self.aboard);
        aboard.into_iter().partition(|piece| piece.ask.ends())
    }

    /// Says what was collected.
    async fn say(&mut self, ending: Ending) -> Result<(), LetGo> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        let mark = match (record.broke && record.shown > 0, ending) {
            (true, _) => CONTINUED,
            (false, Ending::Failed) => FAILED,
            (false, Ending::Finished) => "",
        };
        let rest = record.rest();
        if rest.trim().is_empty() {
            // The card showed everything before it broke, or there is nothing at all.
            let end = if record.shown > 0 {
                (Outcome::Sent, None)
            } else {
                (Outcome::Failed, Some(nothing()))
            };
            return self.all_said(end).await;
        }
        let text = format!("{mark}{rest}");
        self.say_text(text).await
    }

    /// Says what was collected so far, so that no more receipts wait, and goes on collecting.
    pub(super) async fn say_so_far(&mut self) -> Result<(), LetGo> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        let end = record.saying.unwrap_or_default();
        let text = record.text.get(record.shown..end).unwrap_or_default();
        let text = text.to_owned();
        if !text.trim().is_empty() {
            let done = Box::pin(self.send_plain((None, None), text)).await?;
            self.tell_owed(&told(&done.receipt)).await?;
        }
        if let Some(record) = &mut self.record {
            record.shown = end;
            record.saying = None;
            record.owed.clear();
        }
        self.write().await
    }

    /// Says what did not fit into the finished card.
    pub(super) async fn say_rest(&mut self, rest: &str) -> Result<(), LetGo> {
        if self
            .record
            .as_ref()
            .is_none_or(|record| record.chat.is_none())
        {
            let cause = Cause {
                code: DeadReason::Refused.as_str().to_owned(),
                message: "the card was cut: its text is too long, and its chat is not known"
                    .to_owned(),
                cure: Some(
                    "stream at most 20000 characters into a card of another maker".to_owned(),
                ),
            };
            return self.all_said((Outcome::Failed, Some(cause))).await;
        }
        self.say_text(format!("{LONGER}{rest}")).await
    }

    async fn say_text(&mut self, text: String) -> Result<(), LetGo> {
        let closing = self.aboard.iter().position(|piece| piece.ask.ends());
        let mut closing = closing.map(|at| self.aboard.swap_remove(at));
        let hold = closing.as_mut().and_then(|piece| piece.hold.take());
        let done = Box::pin(self.send_plain((closing.as_ref(), hold), text)).await?;
        self.all_said(told(&done.receipt)).await?;
        if let Some(piece) = closing {
            piece.grip.settle(done.dead).await;
        }
        Ok(())
    }

    /// Ends the record and tells those who were not told yet.
    async fn all_said(&mut self, end: (Outcome, Option<Cause>)) -> Result<(), LetGo> {
        self.tell_owed(&end).await?;
        self.tell_all(end).await?;
        if let Some(record) = &mut self.record {
            record.end();
        }
        self.write().await
    }

    /// Sends a text as an ordinary message of the chat and stores its receipt when a request asked
    /// for it. Repeating it finds the end of the first time.
    pub(super) async fn send_plain(
        &mut self,
        (piece, hold): (Option<&Piece>, Option<Hold>),
        text: String,
    ) -> Result<Box<Done>, LetGo> {
        let own = self.own_id();
        let request = match piece {
            Some(piece) => piece.ask.in_words(text),
            None => in_words(&Request::default(), text),
        };
        let published = self.published(piece, &request);
        let sender = &self.sender;
        let id = piece.map_or(&own, |piece| &piece.key.id);
        let mut matter = Matter {
            account: &sender.account,
            id,
            published: &published,
            subject: Some(&published.subject),
        };
        let derived = piece.is_none_or(|piece| piece.key.derived);
        let claim = match hold {
            Some(hold) => Claim::Mine(hold),
            None => sender.desk.claim(&matter, derived, &self.stop).await?,
        };
        let claim = match claim {
            // The key stood for another message before; the text is said all the same.
            Claim::Duplicate => {
                matter.id = &own;
                sender.desk.claim(&matter, true, &self.stop).await?
            }
            claim @ (Claim::Mine(_) | Claim::Ended(_)) => claim,
        };
        let done = match claim {
            Claim::Mine(hold) => {
                let sent = sender.send(&matter, hold, Ok(request), &self.stop);
                Box::pin(sent).await?.done()
            }
            Claim::Ended(done) => done,
            Claim::Duplicate => return Err(LetGo::Overtaken),
        };
        // Nobody asked for what a deadline says: it needs no receipt, unless it has to be kept.
        if piece.is_some() || done.dead.is_some() {
            sender.desk.close(&matter, &done).await?;
        }
        Ok(done)
    }

    /// The key of a message that no request asked for.
    fn own_id(&self) -> RequestId {
        let from = self.record.as_ref().map_or(0, |record| record.shown);
        #[expect(
            clippy::expect_used,
            reason = "a prefix and a hexadecimal number are never empty, long or control characters"
        )]
        RequestId::parse(&derived(&["message", &self.track, &from.to_string()]))
            .expect("a derived name is a legal id")
    }

    /// The request as somebody would have published it on the subject of the chat.
    fn published(&self, piece: Option<&Piece>, request: &Request) -> Published {
        let sender = &self.sender;
        let chat = self.record.as_ref().and_then(|record| record.chat.as_ref());
        let subject = chat.map(|chat| {
            let subjects = &sender.desk.subjects;
            subjects.outbound(&sender.account, chat.kind(), &chat.id)
        });
        let payload = serde_json::to_vec(request).unwrap_or_default().into();
        match piece {
            Some(piece) => {
                let published = piece.grip.published();
                let typed = |name: &str| name.eq_ignore_ascii_case(header::CONTENT_TYPE);
                let mut headers = published.headers.clone();
                headers.retain(|(name, _)| !typed(name));
                Published {
                    subject: subject.unwrap_or_else(|| published.subject.clone()),
                    headers,
                    payload,
                    publication: published.publication,
                }
            }
            None => Published {
                subject: subject.unwrap_or_default(),
                headers: Vec::new(),
                payload,
                publication: self.first_publication(),
            },
        }
    }

    /// Stands for the publication of what nobody published; the same in every life.
    fn first_publication(&self) -> Publication {
        let record = self.record.as_ref();
        Publication {
            seq: record.and_then(|record| record.opener).unwrap_or_default(),
            at: record.map_or_else(Timestamp::now, |record| record.opened_at),
        }
    }

    /// Writes the receipts that waited for the message.
    async fn tell_owed(&self, end: &(Outcome, Option<Cause>)) -> Result<(), LetGo> {
        let record = self.record.as_ref();
        let chat = record.and_then(|record| record.chat.as_ref());
        let chat = chat.map(|chat| {
            let (account, subjects) = (&self.sender.account, &self.sender.desk.subjects);
            subjects.outbound(account, chat.kind(), &chat.id)
        });
        let owed = record.map(|record| record.owed.clone());
        for owed in owed.unwrap_or_default() {
            let subject = owed.subject.or_else(|| chat.clone());
            let published = Published {
                subject: subject.clone().unwrap_or_default(),
                headers: vec![(header::SOURCE_TIME.into(), owed.asked.to_string())],
                payload: Vec::new().into(),
                publication: owed.publication,
            };
            let matter = Matter {
                account: &self.sender.account,
                id: &owed.id,
                published: &published,
                subject: subject.as_deref(),
            };
            let mut done = matter.ended(Ended {
                outcome: end.0,
                progress: Progress::default(),
                unsent_users: Vec::new(),
                cause: end.1.clone(),
            });
            // The text lies in the dead letter of the message when it has one.
            done.dead = None;
            self.sender.desk.tell(&done.receipt);
            Box::pin(self.sender.desk.close(&matter, &done)).await?;
        }
        Ok(())
    }
}

/// How the message ended, for those whose text it says.
fn told(receipt: &Receipt) -> (Outcome, Option<Cause>) {
    let cause = receipt.code.clone().map(|code| Cause {
        code,
        message: receipt.message.clone().unwrap_or_default(),
        cure: receipt.cure.clone(),
    });
    (receipt.outcome, cause)
}

fn nothing() -> Cause {
    let refusal = Refusal::new(
        DeadReason::Malformed,
        "nothing was streamed: give at least one piece a text",
    );
    Cause {
        code: refusal.reason.as_str().to_owned(),
        message: refusal.detail,
        cure: None,
    }
}
