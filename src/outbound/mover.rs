//! Moves requests from the bare subjects to the canonical subject of their chat, in the order in
//! which they were published. What names no chat that can be told is refused here.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::broker::{Broker, Headers, Incoming, Outgoing};
use crate::message::{
    AccountName, DeadReason, OutboundAddress, Request, RequestId, Subjects, header,
};
use crate::telemetry::{Health, Metrics, PartState};

use super::claim::Claim;
use super::desk::{Desk, LetGo, Patience};
use super::destination::{Astray, Destination};
use super::held::{acknowledge, published};
use super::receipt::{Matter, NOBODY, Published};
use super::resolve::{self, Form, Key, Refusal};
use super::scheduled::{self, Early, Waiting};
use super::served::Served;
use super::timings::Timings;

/// The part of the health board that stands for outbound as a whole.
const PART: &str = "outbound";
/// Acknowledgements of moved requests under way at once.
const ACKS: usize = 256;

/// What the mover is made of.
#[derive(Debug)]
pub struct MoverParts {
    /// Broker.
    pub broker: Broker,
    /// Subjects of the installation.
    pub subjects: Subjects,
    /// Accounts of this bridge.
    pub served: Served,
    /// Metrics.
    pub metrics: Metrics,
    /// Health board; the mover reports part `outbound`.
    pub health: Health,
    /// Waits.
    pub timings: Timings,
}

/// The mover of one bridge.
#[derive(Debug)]
pub struct Mover {
    pub(super) desk: Desk,
    pub(super) served: Served,
    health: Health,
}

impl Mover {
    /// Puts the mover together.
    pub fn new(parts: MoverParts) -> Self {
        let MoverParts {
            broker,
            subjects,
            served,
            metrics,
            health,
            timings,
        } = parts;
        Self {
            desk: Desk::new(&broker, subjects, metrics, timings),
            served,
            health,
        }
    }

    /// Moves requests until `stop`, one after the other, so that their order stands.
    pub async fn run(self, stop: CancellationToken) {
        self.health.part(PART, PartState::Up);
        // Either ends with the token alone.
        tokio::join!(self.route(&stop), self.desk.move_due(&stop));
        let stopping = PartState::Down("stopping".to_owned());
        self.health.part(PART, stopping);
    }

    async fn route(&self, stop: &CancellationToken) {
        let mut feed = self.desk.broker.bare_requests();
        let mut acks = FuturesUnordered::new();
        loop {
            let incoming = tokio::select! {
                incoming = feed.next(), if acks.len() < ACKS => incoming,
                Some(()) = acks.next() => continue,
                () = stop.cancelled() => break,
            };
            let Ok(dead) = self.forward(&incoming, stop).await else {
                debug!(
                    nats.sequence = incoming.sequence,
                    "bare request let go, it is delivered again"
                );
                continue;
            };
            acks.push(async move { acknowledge(&incoming, dead).await });
        }
        while acks.next().await.is_some() {}
        feed.close().await;
    }

    /// Moves one request, or refuses it; what it has to be terminated with in that case.
    async fn forward(
        &self,
        incoming: &Incoming,
        stop: &CancellationToken,
    ) -> Result<Option<DeadReason>, LetGo> {
        let published = published(incoming);
        let sequence = published.publication.seq;
        let reading = resolve::read(&published.headers, &published.payload, sequence, Form::Bare);
        let early = reading
            .request
            .clone()
            .ok()
            .filter(|request| request.not_before.is_some());
        let astray = match self.destination(&published, reading.request, stop).await? {
            Ok(destination) => {
                let (published, id) = (&published, &reading.key.id);
                let early = match early {
                    None => Early::GoesOn,
                    Some(request) => {
                        let waiting = self.postponed((published, id), &destination, request, stop);
                        waiting.await?
                    }
                };
                let refusal = match early {
                    Early::Waits => None,
                    Early::Refused(refusal) => Some(refusal),
                    Early::GoesOn => self.pass_on((published, id), &destination, stop).await?,
                };
                let Some(refusal) = refusal else {
                    return Ok(None);
                };
                Astray {
                    account: Some(destination.account),
                    refusal,
                }
            }
            Err(astray) => astray,
        };
        self.refuse(&published, &reading.key, astray, stop).await
    }

    /// Moves a request to the subject of its chat; why it cannot be moved, if so.
    async fn pass_on(
        &self,
        (published, id): (&Published, &RequestId),
        to: &Destination,
        stop: &CancellationToken,
    ) -> Result<Option<Refusal>, LetGo> {
        let moved = self.moved(published, id, to);
        if moved.size() > self.desk.broker.max_payload() {
            return Ok(Some(Refusal::new(
                DeadReason::TooLarge,
                "with its headers the request is larger than the broker takes; publish it to its canonical subject or make it smaller",
            )));
        }
        let step = || self.desk.broker.store(&moved);
        let patience = Patience::Until(stop);
        self.desk.insist(patience, "moved request", step).await?;
        let sequence = published.publication.seq;
        debug!(nats.sequence = sequence, nats.subject = %moved.subject, "request moved");
        Ok(None)
    }

    /// Hands a request over to wait when it is early. One for an account that nobody
    /// serves is told so now.
    async fn postponed(
        &self,
        (published, id): (&Published, &RequestId),
        to: &Destination,
        request: Request,
        stop: &CancellationToken,
    ) -> Result<Early, LetGo> {
        let address = OutboundAddress::Canonical {
            account: to.account.clone(),
            kind: to.kind,
            id: to.chat.clone(),
        };
        let at = scheduled::wanted(&address, &request, &Headers::new());
        let Some(at) = at.filter(|_| self.served.has(&to.account)) else {
            return Ok(Early::GoesOn);
        };
        let waiting = Waiting {
            published,
            account: &to.account,
            id,
            subject: self.desk.subjects.outbound(&to.account, to.kind, &to.chat),
            at,
        };
        self.desk.postpone(&waiting, stop).await
    }

    fn moved(&self, published: &Published, id: &RequestId, to: &Destination) -> Outgoing {
        let own = [
            header::MSG_ID,
            header::REQUEST_ID,
            header::ACCOUNT,
            header::CHAT,
            header::SOURCE_SUBJECT,
            header::SOURCE_SEQUENCE,
            header::SOURCE_TIME,
            header::NOT_BEFORE,
        ];
        let kept = |name: &str| {
            !own.iter().any(|own| own.eq_ignore_ascii_case(name))
                // Expectations of the publisher were about the bare subject.
                && !name.to_ascii_lowercase().starts_with("nats-")
        };
        let mut headers: Headers = published
            .headers
            .iter()
            .filter(|(name, _)| kept(name))
            .cloned()
            .collect();
        let publication = published.publication;
        let mut add = |name: &'static str, value: String| headers.push((name.into(), value));
        // The original's `Nats-Msg-Id` stands for the bare message in the same stream.
        add(
            header::MSG_ID,
            format!("nats-dingtalk.move:{}:{}", publication.seq, publication.at),
        );
        add(header::REQUEST_ID, id.as_str().to_owned());
        add(header::ACCOUNT, to.account.as_str().to_owned());
        add(header::SOURCE_SUBJECT, published.subject.clone());
        add(header::SOURCE_SEQUENCE, publication.seq.to_string());
        add(header::SOURCE_TIME, publication.at.to_string());
        Outgoing {
            subject: self.desk.subjects.outbound(&to.account, to.kind, &to.chat),
            headers,
            payload: published.payload.clone(),
        }
    }

    async fn refuse(
        &self,
        published: &Published,
        key: &Key,
        astray: Astray,
        stop: &CancellationToken,
    ) -> Result<Option<DeadReason>, LetGo> {
        let account = match astray.account.or_else(|| self.served.only()) {
            Some(account) => account,
            None => nobody(),
        };
        let matter = Matter {
            account: &account,
            id: &key.id,
            published,
            subject: None,
        };
        refuse(&self.desk, &matter, (key, &astray.refusal), stop).await
    }
}

/// Ends a request that no pipeline takes: ledger, dead letter, receipt. Returns why it is dead;
/// nothing when its key belongs to another publication.
pub(super) async fn refuse(
    desk: &Desk,
    matter: &Matter<'_>,
    (key, refusal): (&Key, &Refusal),
    stop: &CancellationToken,
) -> Result<Option<DeadReason>, LetGo> {
    let done = match desk.claim(matter, key.derived, stop).await? {
        Claim::Duplicate => {
            desk.metrics.request_duplicate(matter.account);
            info!(dingtalk.account = %matter.account, request.id = %matter.id, "request was published before");
            return Ok(None);
        }
        Claim::Ended(done) => done,
        Claim::Mine(hold) => {
            let done = matter.refused(refusal, hold.progress.clone());
            desk.finish(&hold, done).await?.done()
        }
    };
    desk.close(matter, &done).await?;
    Ok(done.dead)
}

/// Stands for the account of a request that names none.
pub(super) fn nobody() -> AccountName {
    #[expect(clippy::expect_used, reason = "an underscore is a legal account name")]
    AccountName::parse(NOBODY).expect("a legal account name")
}
