//! The plan of one request: what it asks, the session webhook of its chat, and the shipment of each
//! part on the path that is right at the moment.

use tokio_util::sync::CancellationToken;

use crate::dingtalk::api::{Recipient, Shipment, ShipmentBody, render_robot, render_webhook};
use crate::dingtalk::payload::SessionWebhook;
use crate::message::{Content, DeadReason, OutboundAddress, Request, SessionEntry, Timestamp, Via};

use super::bound;
use super::desk::{Desk, LetGo, Patience};
use super::ledger::Progress;
use super::media::{Done, Freight, Task};
use super::receipt::Matter;
use super::resolve::{self, Audience, Job, Refusal};
use super::robot;
use super::route::{Path, Webhook, Wish};
use super::settings::Settings;
use super::webhooks;

/// What is to be done for one request.
#[derive(Debug)]
pub(super) struct Plan {
    /// The request, checked.
    pub(super) job: Job,
    wish: Wish,
    session: Option<SessionEntry>,
    freight: Option<Freight>,
    rendered: Option<(Via, Vec<ShipmentBody>)>,
}

/// One attempt: one part on one path.
#[derive(Debug)]
pub(super) struct Leg {
    /// Path.
    pub(super) via: Via,
    /// Messages that the request becomes on this path.
    pub(super) parts: usize,
    /// This part.
    pub(super) shipment: Shipment,
}

impl Leg {
    /// Whether DingTalk shows it once, however often it is sent.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.shipment.recipient, Recipient::CustomRobot { .. })
    }

    /// The users that are addressed; none for a group or a session.
    pub(super) fn users(&self) -> &[String] {
        match &self.shipment.recipient {
            Recipient::Users(users) => users,
            Recipient::Group(_) | Recipient::Webhook(_) | Recipient::CustomRobot { .. } => &[],
        }
    }
}

impl Plan {
    /// Checks the request against its subject and looks up the session that it needs.
    pub(super) async fn make(
        (desk, settings): (&Desk, &Settings),
        matter: &Matter<'_>,
        request: &Request,
        stop: &CancellationToken,
    ) -> Result<Result<Self, Refusal>, LetGo> {
        let checked = desk
            .subjects
            .parse_outbound(&matter.published.subject)
            .map_err(|error| Refusal::new(DeadReason::Target, error.to_string()))
            .and_then(|address: OutboundAddress| resolve::check(&address, request, settings))
            .and_then(|job| fits_a_receipt(job, desk.broker.max_payload()));
        let job = match checked {
            Ok(job) => job,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let wish = Wish::of(&job);
        let session = match session(desk, matter, (&job, wish), stop).await? {
            Ok(session) => session,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = bound::same(desk, matter.account, (&job, request), stop).await? {
            return Ok(Err(refusal));
        }
        if session.is_none() && job.audience == Audience::Outsider {
            return Ok(Err(resolve::refused_conversation(&job.chat)));
        }
        Ok(Ok(Self {
            wish,
            session,
            freight: Freight::of(&job.content),
            job,
            rendered: None,
        }))
    }

    /// Whether the path that is right now carries media: otherwise its refusal comes before uploads.
    pub(super) fn carries_media(&mut self) -> bool {
        if self.freight.is_none() || self.job.audience == Audience::Outsider {
            return false;
        }
        let webhook = self.webhook();
        self.wish.path(webhook) == Path::OpenApi
    }

    /// What has to be done for the media of the request before a call can name them.
    pub(super) fn task(&self) -> Option<Task<'_>> {
        self.freight.as_ref()?.task()
    }

    /// Notes what was done for the media.
    pub(super) fn note(&mut self, done: Done) {
        if let Some(freight) = &mut self.freight {
            freight.note(done);
            self.rendered = None;
        }
    }

    /// Gives up the media ids that DingTalk does not know any more, once; the keys that the cache has
    /// them under.
    pub(super) fn renew_media(&mut self) -> Vec<String> {
        self.rendered = None;
        let freight = self.freight.as_mut();
        freight.map(Freight::renew).unwrap_or_default()
    }

    /// The next attempt, on the path that is right now.
    pub(super) fn leg(&mut self, matter: &Matter<'_>, progress: &Progress) -> Result<Leg, Refusal> {
        let via = self.via()?;
        let recipient = self.recipient(via, matter, progress)?;
        if !self.goes_on(via, progress) {
            return Err(Refusal::new(
                DeadReason::Refused,
                "the path changed between two parts, and the new one would cut the rest elsewhere",
            ));
        }
        let bodies = self.bodies(via);
        let parts = bodies.len();
        let Some(body) = bodies.get(progress.part).cloned() else {
            let why = match &self.job.content {
                Content::ActionCard(_) => {
                    "title and buttons of the action card leave under 2000 bytes for its text; shorten the URLs of the buttons, or the text"
                }
                _ => "the content leaves nothing to send",
            };
            return Err(Refusal::new(DeadReason::Malformed, why));
        };
        Ok(Leg {
            via,
            parts,
            shipment: Shipment { recipient, body },
        })
    }

    fn via(&mut self) -> Result<Via, Refusal> {
        if self.job.audience == Audience::OwnGroup {
            return Ok(Via::Webhook);
        }
        let webhook = self.webhook();
        match self.wish.path(webhook) {
            Path::OpenApi => Ok(Via::Openapi),
            Path::Webhook => Ok(Via::Webhook),
            Path::Nowhere(why) => Err(Refusal::new(DeadReason::Target, why)),
        }
    }

    /// Takes the webhook out of the plan: DingTalk says that it is of no use.
    pub(super) fn forget_webhook(&mut self) {
        self.session = None;
    }

    fn webhook(&mut self) -> Webhook {
        let now = Timestamp::now();
        match &self.session {
            Some(session) if self.wish.wants_webhook() && webhooks::usable(session, now) => {
                if self.bodies(Via::Webhook).is_empty() {
                    Webhook::Unfit
                } else {
                    Webhook::Alive
                }
            }
            _ => Webhook::Missing,
        }
    }

    fn recipient(
        &self,
        via: Via,
        matter: &Matter<'_>,
        progress: &Progress,
    ) -> Result<Recipient, Refusal> {
        if via == Via::Webhook
            && let Some(session) = &self.session
        {
            return Ok(Recipient::Webhook(SessionWebhook {
                url: session.url.clone(),
                expires_at: session.expires_at,
            }));
        }
        match &self.job.audience {
            Audience::Group(id) => Ok(Recipient::Group(id.clone())),
            Audience::Users(_) => Ok(Recipient::Users(progress.users(&self.job.audience))),
            Audience::Outsider => Err(resolve::refused_conversation(&self.job.chat)),
            Audience::OwnGroup => Ok(Recipient::CustomRobot {
                msg_uuid: robot::msg_uuid(matter, progress.part),
            }),
        }
    }

    /// Whether the parts that were sent are cut on `via` as they were on their own path, so that the
    /// next one neither repeats nor leaves out anything.
    fn goes_on(&mut self, via: Via, progress: &Progress) -> bool {
        match progress.via {
            _ if progress.part == 0 => true,
            Some(before) if before != via => {
                let sent = self.bodies(before).to_vec();
                let bodies = self.bodies(via);
                let sent = sent.iter().take(progress.part);
                bodies.len() > progress.part && sent.zip(bodies).all(|(a, b)| same_text(a, b))
            }
            _ => self.bodies(via).len() == progress.parts,
        }
    }

    /// What the content becomes on a path; nothing when the path does not carry it.
    fn bodies(&mut self, via: Via) -> &[ShipmentBody] {
        if self.rendered.as_ref().is_none_or(|(path, _)| *path != via) {
            let bodies = match via {
                Via::Webhook => {
                    render_webhook(&self.job.content, &self.job.mention).unwrap_or_default()
                }
                Via::Openapi | Via::Card => match &self.freight {
                    Some(freight) => render_robot(&freight.content()),
                    None => render_robot(&self.job.content),
                },
            };
            self.rendered = Some((via, bodies));
        }
        self.rendered.as_ref().map_or(&[], |(_, bodies)| bodies)
    }
}

/// Refuses a list whose receipt might be larger than the broker takes: every user may be named.
fn fits_a_receipt(job: Job, most: usize) -> Result<Job, Refusal> {
    if !job.audience.is_list() || job.audience.receipt_bytes() <= most {
        return Ok(job);
    }
    Err(Refusal::new(
        DeadReason::TooLarge,
        format!(
            "a receipt that names all {} users may be larger than the {most} bytes that the broker takes; publish the list in pieces",
            job.audience.users().len()
        ),
    ))
}

/// Whether two renderings say the same, mentions aside.
fn same_text(a: &ShipmentBody, b: &ShipmentBody) -> bool {
    let words = |body: &ShipmentBody| {
        text(body).map(|text| {
            let words = text
                .split_whitespace()
                .filter(|word| !word.starts_with('@'));
            words.map(str::to_owned).collect::<Vec<_>>()
        })
    };
    words(a).is_some_and(|of_a| words(b) == Some(of_a))
}

/// What a rendered text or markdown says.
fn text(body: &ShipmentBody) -> Option<String> {
    let (json, places) = match body {
        ShipmentBody::Robot { msg_param, .. } => (msg_param, ["/content", "/text"]),
        ShipmentBody::Webhook(body) => (body, ["/text/content", "/markdown/text"]),
    };
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let found = places.iter().find_map(|place| value.pointer(place))?;
    found.as_str().map(str::to_owned)
}

/// The session that a job needs, if it is kept: of the message that it answers, else the newest of
/// the chat.
async fn session(
    desk: &Desk,
    matter: &Matter<'_>,
    (job, wish): (&Job, Wish),
    stop: &CancellationToken,
) -> Result<Result<Option<SessionEntry>, Refusal>, LetGo> {
    let patience = Patience::Until(stop);
    let mut session = None;
    if let Some(inbound) = &job.reply_to {
        let step = || desk.webhooks.of_message(inbound);
        session = desk.insist(patience, "session lookup", step).await?;
    }
    if let Some(session) = &session
        && let Err(refusal) = resolve::same_session(matter.account, job, session)
    {
        return Ok(Err(refusal));
    }
    let now = Timestamp::now();
    let usable = session
        .as_ref()
        .is_some_and(|session| webhooks::usable(session, now));
    if wish.wants_webhook() && !usable {
        let step = || desk.webhooks.of_chat(matter.account, job.kind, &job.chat);
        let newest = desk.insist(patience, "session lookup", step).await?;
        session = newest.or(session);
    }
    Ok(Ok(session))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Publication;
    use super::super::receipt::Published;
    use super::*;
    use crate::message::{AccountName, Kind, Mentions, RequestId, Secret};

    fn leg(plan: &mut Plan, progress: &Progress) -> Result<Leg, Refusal> {
        let published = Published {
            subject: String::new(),
            headers: Vec::new(),
            payload: bytes::Bytes::new(),
            publication: Publication {
                seq: 1,
                at: Timestamp::from_millis(1),
            },
        };
        let matter = Matter {
            account: &AccountName::parse("sales").unwrap(),
            id: &RequestId::parse("r").unwrap(),
            published: &published,
            subject: None,
        };
        plan.leg(&matter, progress)
    }

    fn plan(content: Content, mention: Mentions) -> Plan {
        let job = Job {
            kind: Kind::Group,
            chat: "cidA==".into(),
            audience: Audience::Group("cidA==".into()),
            content,
            mention,
            via: None,
            reply_to: Some("d:m".into()),
            expires_at: None,
            priority: crate::message::Priority::Normal,
        };
        Plan {
            wish: Wish::of(&job),
            freight: Freight::of(&job.content),
            job,
            session: Some(SessionEntry {
                url: Secret::new("https://oapi.dingtalk.com/robot/sendBySession?session=x"),
                expires_at: Timestamp::now().after(std::time::Duration::from_secs(3600)),
                account: AccountName::parse("sales").unwrap(),
                kind: Kind::Group,
                chat: "cidA==".into(),
                conversation: None,
            }),
            rendered: None,
        }
    }

    #[test]
    fn a_webhook_that_ends_between_two_parts_is_followed_where_it_stopped() {
        let text: String = (0..2000)
            .map(|n| format!("line {n} of a long text\n\n"))
            .collect();
        let mention = Mentions {
            users: vec!["u1".into()],
            ..Mentions::default()
        };
        let mut plan = plan(Content::Text(text), mention);
        let first = leg(&mut plan, &Progress::default()).unwrap();
        assert_eq!(first.via, Via::Webhook);
        assert!(first.parts > 2);
        let progress = Progress {
            part: 1,
            parts: first.parts,
            via: Some(Via::Webhook),
            ..Progress::default()
        };
        plan.forget_webhook();
        let sent = plan.bodies(Via::Webhook).to_vec();
        let robot = plan.bodies(Via::Openapi).to_vec();
        let leg = leg(&mut plan, &progress);
        if same_text(&sent[0], &robot[0]) {
            assert_eq!(leg.unwrap().shipment.body, robot[1]);
        } else {
            assert!(leg.is_err(), "nothing is repeated or left out");
        }
    }

    #[test]
    fn a_content_that_no_webhook_carries_goes_by_the_open_api() {
        let raw = crate::message::RawMessage {
            msg_key: "sampleText".into(),
            msg_param: serde_json::json!({"content": "a"}),
        };
        let mut plan = plan(Content::Raw(raw), Mentions::default());
        let leg = leg(&mut plan, &Progress::default()).unwrap();
        assert_eq!((leg.via, leg.parts), (Via::Openapi, 1));
        assert_eq!(leg.shipment.recipient, Recipient::Group("cidA==".into()));
    }

    #[test]
    fn users_who_were_refused_get_no_further_part_and_the_rest_comes_first() {
        let mut plan = plan(Content::Text("a".into()), Mentions::default());
        plan.job.audience = Audience::Users(vec!["a".into(), "b".into(), "c".into()]);
        plan.wish = Wish::of(&plan.job);
        let mut progress = Progress {
            refused_users: vec!["b".into()],
            ..Progress::default()
        };
        assert_eq!(leg(&mut plan, &progress).unwrap().users(), ["a", "c"]);
        progress.rest = Some(vec!["c".into()]);
        assert_eq!(leg(&mut plan, &progress).unwrap().users(), ["c"]);
    }
}
