//! From subject, headers and payload to a checked job, or to a refusal with its reason. Pure: what
//! has to be looked up is looked up by the caller.

use super::scheduled;
use crate::broker::Headers;
use crate::message::{
    AccountName, Content, DeadReason, Kind, Markdown, Mentions, OutboundAddress, Priority, Request,
    RequestError, RequestId, SessionEntry, Target, Timestamp, USER_SEPARATOR, Via, header,
};

use super::settings::Settings;
use super::{media, recipients, robot};

/// Longest piece of a foreign text in a refusal, in characters.
const QUOTED: usize = 120;

/// Why a request is given up before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Class, for the dead letter and as code of the receipt.
    pub(super) reason: DeadReason,
    /// The same in words, with the cure.
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(reason: DeadReason, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { reason, detail }
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let reason = match &error {
            RequestError::Malformed(_) | RequestError::Content(_) | RequestError::Invalid(_) => {
                DeadReason::Malformed
            }
            RequestError::Target { .. } => DeadReason::Target,
        };
        Self::new(reason, error.to_string())
    }
}

/// Whether a payload may be a text as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// On a canonical subject: the target is known, so the payload may be the text itself.
    Canonical,
    /// On a bare subject: only JSON can name the target.
    Bare,
}

/// The idempotency key of a request, which exists even when nothing else can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The key.
    pub(super) id: RequestId,
    /// Whether the bridge made it from the stream sequence, because the caller gave none.
    pub(super) derived: bool,
}

/// What was published, as far as it can be read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Idempotency key.
    pub(super) key: Key,
    /// The request, or why it is none.
    pub(super) request: Result<Request, Refusal>,
}

/// A request that can be sent as far as its own words tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    /// Group or user.
    pub(super) kind: Kind,
    /// Exact id of the chat, as in the subject.
    pub(super) chat: String,
    /// Who gets it.
    pub(super) audience: Audience,
    /// What.
    pub(super) content: Content,
    /// Who is mentioned.
    pub(super) mention: Mentions,
    /// Path that was asked for.
    pub(super) via: Option<Via>,
    /// Inbound message that it answers.
    pub(super) reply_to: Option<String>,
    /// When it is no longer worth sending.
    pub(super) expires_at: Option<Timestamp>,
    /// How urgent it is.
    pub(super) priority: Priority,
}

/// Who gets a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Audience {
    /// One to 5000 distinct staffIds.
    Users(Vec<String>),
    /// An openConversationId.
    Group(String),
    /// A 1:1 chat that is known by its conversation only: a session webhook alone reaches it.
    Outsider,
    /// The one group of a custom robot.
    OwnGroup,
}

/// Reads idempotency key and request.
pub(super) fn read(headers: &Headers, payload: &[u8], sequence: u64, form: Form) -> Reading {
    let request = parse(headers, payload, form);
    let own = match &request {
        Ok(request) => request.id.clone(),
        Err(_) => stated_id(payload),
    };
    Reading {
        key: key(own, headers, sequence),
        request,
    }
}

fn key(own: Option<RequestId>, headers: &Headers, sequence: u64) -> Key {
    // The mover needs a `Nats-Msg-Id` of its own: the original's stands for the bare message in the
    // same stream. Its request id therefore comes first.
    let named = |name| header_value(headers, name).and_then(|id| RequestId::parse(id).ok());
    let given = own
        .or_else(|| named(header::REQUEST_ID))
        .or_else(|| named(header::MSG_ID));
    match given {
        Some(id) => Key { id, derived: false },
        None => Key {
            id: sequence_id(sequence),
            derived: true,
        },
    }
}

fn sequence_id(sequence: u64) -> RequestId {
    #[expect(
        clippy::expect_used,
        reason = "`seq-` and digits are never empty, long or control characters"
    )]
    RequestId::parse(&format!("seq-{sequence}")).expect("a sequence makes a legal id")
}

/// The id that a payload states although it is no legal request.
fn stated_id(payload: &[u8]) -> Option<RequestId> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    RequestId::parse(value.get("id")?.as_str()?).ok()
}

/// The first header called `name`, in any case of letters.
pub(super) fn header_value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Whether the headers of a request could not be read, which refuses it.
pub(super) fn is_illegible(headers: &Headers) -> bool {
    header_value(headers, header::ILLEGIBLE).is_some()
}

fn parse(headers: &Headers, payload: &[u8], form: Form) -> Result<Request, Refusal> {
    if is_illegible(headers) {
        return Err(Refusal::new(
            DeadReason::Malformed,
            "the headers of the message are no NATS headers; publish it with a NATS client",
        ));
    }
    let media = header_value(headers, header::CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    let object = payload.trim_ascii_start().first() == Some(&b'{');
    let markdown = media.as_deref() == Some("text/markdown");
    let plain = markdown || media.as_deref() == Some("text/plain") || !object;
    match (form, plain) {
        (Form::Bare, _) if !object => Err(Refusal::new(
            DeadReason::Malformed,
            "a bare subject takes a JSON object that names its target; publish plain text to <prefix>.outbound.<account>.<group|user>.<id>",
        )),
        (Form::Bare, _) | (Form::Canonical, false) => Ok(Request::parse(payload)?),
        (Form::Canonical, true) => {
            let text = std::str::from_utf8(payload).map_err(|_| {
                Refusal::new(DeadReason::Malformed, "the text is not UTF-8; send UTF-8")
            })?;
            Ok(if markdown {
                Request {
                    markdown: Some(Markdown {
                        title: None,
                        text: text.to_owned(),
                    }),
                    ..Request::default()
                }
            } else {
                Request::plain(text)
            })
        }
    }
}

/// Checks a request against the canonical subject that it stands on. What the subject says wins: a
/// payload that names another account or chat is refused.
pub(super) fn check(
    address: &OutboundAddress,
    request: &Request,
    settings: &Settings,
) -> Result<Job, Refusal> {
    let OutboundAddress::Canonical { account, kind, id } = address else {
        return Err(Refusal::new(
            DeadReason::Target,
            "the subject names no chat; publish to <prefix>.outbound.<account>.<group|user>.<id>",
        ));
    };
    let content = request.content()?;
    if matches!(content, Content::Card(_) | Content::Stream(_)) {
        return Err(Refusal::new(
            DeadReason::Malformed,
            "a card is asked for on the subject of its chat, or on its own",
        ));
    }
    if let Content::Media(kind, attachment) = &content {
        media::check(*kind, attachment)?;
    }
    scheduled::check(request)?;
    if request.via == Some(Via::Card) {
        return Err(Refusal::new(
            DeadReason::Malformed,
            "a text does not go by card: leave `via` out, or ask for a `card`",
        ));
    }
    if request.mention.as_ref().is_some_and(|mention| mention.all) && !settings.mention_all {
        return Err(Refusal::new(
            DeadReason::Refused,
            format!(
                "account `{account}` may not mention everybody; set accounts.{account}.mention_all = true, or leave `mention.all` out"
            ),
        ));
    }
    same_account(account, request)?;
    let target = target(*kind, id, request.to.as_ref())?;
    same_target(&target, request.to.as_ref())?;
    let reply_to = match &request.to {
        Some(Target::ReplyTo(inbound)) => Some(inbound.clone()),
        _ => None,
    };
    let job = Job {
        kind: *kind,
        chat: id.clone(),
        audience: match &settings.custom_robot {
            Some(_) => Audience::OwnGroup,
            None => audience(target)?,
        },
        content,
        mention: request.mention.clone().unwrap_or_default(),
        via: request.via,
        reply_to,
        expires_at: request.expires_at,
        priority: request.priority.unwrap_or_default(),
    };
    if let Some(keywords) = &settings.custom_robot {
        robot::check(&job, keywords)?;
    }
    Ok(job)
}

pub(super) fn same_account(account: &AccountName, request: &Request) -> Result<(), Refusal> {
    match &request.account {
        Some(named) if named != account => Err(Refusal::new(
            DeadReason::Mismatch,
            format!("the payload names account `{named}`, the subject `{account}`"),
        )),
        _ => Ok(()),
    }
}

/// The target that a canonical subject names; the digest of a long list stands for the one in `to`,
/// which is compared with it afterwards.
fn target(kind: Kind, id: &str, to: Option<&Target>) -> Result<Target, Refusal> {
    match kind {
        Kind::Group => Ok(Target::Group(id.to_owned())),
        Kind::User if id.contains(USER_SEPARATOR) => recipients::list(id, to),
        Kind::User => Ok(Target::User(id.to_owned())),
        Kind::Card | Kind::Event | Kind::Other => Err(Refusal::new(
            DeadReason::Target,
            format!("sending to kind `{kind}` takes cards only; address a group or a user"),
        )),
    }
}

fn same_target(subject: &Target, payload: Option<&Target>) -> Result<(), Refusal> {
    let (Some(payload), Some((kind, id))) = (payload, subject.address()) else {
        return Ok(());
    };
    // A reply is compared with its session, which the caller looks up.
    match payload.address() {
        Some((named_kind, named)) if named_kind != kind || named != id => Err(Refusal::new(
            DeadReason::Mismatch,
            format!(
                "the payload names {named_kind} `{}`, the subject {kind} `{}`; leave `to` out",
                shortened(&named),
                shortened(&id)
            ),
        )),
        _ => Ok(()),
    }
}

fn audience(target: Target) -> Result<Audience, Refusal> {
    if is_conversation(&target) {
        return Ok(Audience::Outsider);
    }
    target.check()?;
    Ok(match target {
        Target::Group(id) => Audience::Group(id),
        Target::User(id) => Audience::Users(vec![id]),
        Target::Users(ids) => Audience::Users(recipients::once(&ids)),
        Target::ReplyTo(_) | Target::Session(_) => {
            return Err(Refusal::new(
                DeadReason::Target,
                "a reply or a session has to be looked up before it has a chat",
            ));
        }
    })
}

/// Whether a user target has the shape of a conversation id: an outsider's chat, or a mistake.
pub(super) fn is_conversation(target: &Target) -> bool {
    matches!(target, Target::User(id) if id.starts_with("cid") && target.check().is_err())
}

/// The refusal of a conversation id where a staffId belongs, when no session of it is known.
pub(super) fn refused_conversation(chat: &str) -> Refusal {
    match Target::User(chat.to_owned()).check() {
        Err(error) => error.into(),
        Ok(()) => Refusal::new(DeadReason::Target, "no session of this chat is known"),
    }
}

/// Refuses a reply whose session belongs to another account or chat than the subject names.
pub(super) fn same_session(
    account: &AccountName,
    job: &Job,
    session: &SessionEntry,
) -> Result<(), Refusal> {
    if session.account != *account {
        return Err(Refusal::new(
            DeadReason::Mismatch,
            format!(
                "the message in `reply_to` came to account `{}`, the subject names `{account}`",
                session.account
            ),
        ));
    }
    if session.kind != job.kind || session.chat != job.chat {
        return Err(Refusal::new(
            DeadReason::Mismatch,
            "the message in `reply_to` was said in another chat than the subject names",
        ));
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Secret, Subjects};

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned().into(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn job(id: &str, payload: &str) -> Result<Job, Refusal> {
        let reading = read(&Vec::new(), payload.as_bytes(), 1, Form::Canonical);
        let subjects = Subjects::new("dingtalk").unwrap();
        let address = subjects.parse_outbound(&format!("dingtalk.outbound.sales.{id}"));
        let settings = Settings {
            mention_all: false,
            card_template: None,
            card_key: "content".into(),
            custom_robot: None,
        };
        check(&address.unwrap(), &reading.request?, &settings)
    }

    fn refused(id: &str, payload: &str) -> DeadReason {
        job(id, payload).unwrap_err().reason
    }

    #[test]
    fn the_key_is_the_payloads_then_the_movers_then_the_publishers_then_the_sequence() {
        let all = headers(&[
            ("Nats-Msg-Id", "published"),
            ("dingtalk-request-id", "moved"),
        ]);
        let id = |headers: &Headers, payload: &[u8]| {
            let key = read(headers, payload, 9, Form::Canonical).key;
            (key.id.as_str().to_owned(), key.derived)
        };
        assert_eq!(id(&all, br#"{"id":"own","text":"a"}"#).0, "own");
        assert_eq!(id(&all, br#"{"text":"a"}"#).0, "moved");
        let published = headers(&[("Nats-Msg-Id", "published")]);
        assert_eq!(id(&published, b"a").0, "published");
        assert_eq!(id(&Vec::new(), b"a"), ("seq-9".to_owned(), true));
        // A request that is refused keeps the key that it states.
        assert_eq!(id(&all, br#"{"id":"own","txt":"a"}"#).0, "own");
        assert_eq!(id(&all, br#"{"id":"","text":"a"}"#).0, "moved");
    }

    #[test]
    fn what_does_not_begin_with_a_brace_is_text_on_a_canonical_subject_only() {
        let text = |headers: &Headers, payload: &str| {
            let reading = read(headers, payload.as_bytes(), 1, Form::Canonical);
            reading.request.unwrap().content().unwrap()
        };
        let none = Vec::new();
        assert_eq!(text(&none, "hello"), Content::Text("hello".into()));
        assert_eq!(text(&none, " {\"text\":\"a\"}"), Content::Text("a".into()));
        let plain = headers(&[("content-type", "text/plain; charset=utf-8")]);
        assert_eq!(text(&plain, "{x}"), Content::Text("{x}".into()));
        let markdown = headers(&[("Content-Type", "Text/Markdown")]);
        assert!(matches!(text(&markdown, "# a"), Content::Markdown(_)));
        for headers in [none, plain] {
            let bare = read(&headers, b"hello", 1, Form::Bare);
            assert_eq!(bare.request.unwrap_err().reason, DeadReason::Malformed);
        }
        assert_eq!(refused("user.u1", "  "), DeadReason::Malformed);
        let bytes = read(&Vec::new(), b"\xff\xfe", 1, Form::Canonical);
        assert_eq!(bytes.request.unwrap_err().reason, DeadReason::Malformed);
    }

    #[test]
    fn the_subject_wins_and_saying_the_same_is_fine() {
        for same in [
            r#"{"text":"a"}"#,
            r#"{"text":"a","to":"user:u1","account":"sales"}"#,
            r#"{"text":"a","to":{"reply_to":"ding:msg"}}"#,
        ] {
            assert_eq!(job("user.u1", same).unwrap().chat, "u1");
        }
        for other in [
            r#"{"text":"a","to":"user:u2"}"#,
            r#"{"text":"a","to":"group:u1"}"#,
            r#"{"text":"a","to":["user:u1","user:u2"]}"#,
            r#"{"text":"a","account":"ops"}"#,
        ] {
            assert_eq!(refused("user.u1", other), DeadReason::Mismatch, "{other}");
        }
    }

    #[test]
    fn several_users_stand_in_one_subject() {
        let twice = job("user.u1%2Cu2%2Cu1", r#"{"text":"a"}"#).unwrap();
        assert_eq!(
            twice.audience,
            Audience::Users(vec!["u1".into(), "u2".into()])
        );
        let many = vec!["u"; 21].join("%2C");
        assert_eq!(refused(&format!("user.{many}"), "a"), DeadReason::Target);
        let listed = r#"{"text":"a","to":["user:u1","user:u2"]}"#;
        assert!(job("user.u1%2Cu2", listed).is_ok());
    }

    #[test]
    fn a_long_list_stands_in_the_payload_and_gives_the_digest_in_the_subject() {
        let users = |count: usize| (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>();
        let body = |users: Vec<String>| {
            let to = Target::Users(users);
            serde_json::json!({"text": "a", "to": to}).to_string()
        };
        let target = Target::Users(users(30));
        let (_, id) = target.address().unwrap();
        let subject = format!("user.{}", id.replace(',', "%2C"));
        let sent = job(&subject, &body(users(30))).unwrap();
        assert_eq!(sent.audience, Audience::Users(users(30)));
        let lanes = recipients::addressees(&id, body(users(30)).as_bytes());
        assert_eq!(lanes, users(30));
        assert_eq!(refused(&subject, &body(users(31))), DeadReason::Mismatch);
        assert_eq!(refused(&subject, r#"{"text":"a"}"#), DeadReason::Mismatch);
        assert_eq!(refused(&subject, "a"), DeadReason::Mismatch);
        assert_eq!(recipients::addressees(&id, b"a"), [id.as_ref()]);
        assert_eq!(recipients::addressees("u1,u2", b"a"), ["u1", "u2"]);
    }

    #[test]
    fn everybody_is_mentioned_only_where_the_account_may() {
        let body = r#"{"text":"a","mention":{"all":true}}"#;
        let refusal = job("group.cidA==", body).unwrap_err();
        assert_eq!(refusal.reason, DeadReason::Refused);
        assert!(refusal.detail.contains("accounts.sales.mention_all"));
        assert!(job("group.cidA==", r#"{"text":"a","mention":{"users":["u1"]}}"#).is_ok());
    }

    #[test]
    fn what_cannot_be_addressed_is_refused_before_it_costs_a_call() {
        for id in [
            "card.track1",
            "event.user_add_org",
            "other.topic",
            "group.cid6KeB==:manager1",
            "user.%24:LWCP_v1:$abc",
            "user.u1%2Ccid6KeBBLoveMJOGXo==",
        ] {
            assert_eq!(refused(id, "a"), DeadReason::Target, "{id}");
        }
        let outsider = job("user.cid6KeBBLoveMJOGXo==", "a").unwrap();
        assert_eq!(outsider.audience, Audience::Outsider);
        let refusal = refused_conversation(&outsider.chat);
        assert_eq!(refusal.reason, DeadReason::Target);
    }

    #[test]
    fn what_is_not_served_yet_is_refused_clearly() {
        for payload in [
            r#"{"stream":"a","append":"b"}"#,
            r#"{"text":"a","via":"card"}"#,
        ] {
            let refusal = job("user.u1", payload).unwrap_err();
            assert_eq!(refusal.reason, DeadReason::Malformed);
            assert!(refusal.detail.contains("card"), "{}", refusal.detail);
        }
    }

    #[test]
    fn a_reply_belongs_to_the_chat_of_its_message() {
        let account = AccountName::parse("sales").unwrap();
        let reply = job("user.u1", r#"{"text":"a","to":{"reply_to":"d:m"}}"#).unwrap();
        let session = |account: &str, kind, chat: &str| SessionEntry {
            url: Secret::new("https://x"),
            expires_at: Timestamp::from_millis(0),
            account: AccountName::parse(account).unwrap(),
            kind,
            chat: chat.to_owned(),
            conversation: None,
        };
        assert!(same_session(&account, &reply, &session("sales", Kind::User, "u1")).is_ok());
        for other in [
            session("ops", Kind::User, "u1"),
            session("sales", Kind::Group, "u1"),
            session("sales", Kind::User, "u2"),
        ] {
            let refusal = same_session(&account, &reply, &other).unwrap_err();
            assert_eq!(refusal.reason, DeadReason::Mismatch);
        }
    }
}
