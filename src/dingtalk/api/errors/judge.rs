//! From an answer, or the want of one, to what the caller can do (oapi.md, section 9.6). It decides
//! by the table of codes; it neither sends nor waits.

use std::time::Duration;

use time::{Date, Month, OffsetDateTime, UtcOffset};

use super::super::answer::{Answer, Body, Words};
use super::super::failure::{ApiError, ErrorClass};
use super::codes::{self, Rule};
use crate::dingtalk::json::Members;
use crate::message::Timestamp;
use crate::telemetry::ApiOutcome;

/// How long DingTalk bans an address that called too often (oapi.md, section 9.4).
pub(in crate::dingtalk::api) const BAN: Duration = Duration::from_secs(300);
/// How long an account is held when only a person can help.
pub(super) const HOLD: Duration = Duration::from_secs(300);
/// Wait after an answer that says nothing but "later".
const LATER: Duration = Duration::from_secs(2);
/// Wait after a call that never reached DingTalk.
const RECONNECT: Duration = Duration::from_secs(1);
/// Shortest punishment for too many calls a second (oapi.md, section 9.2).
const PENALTY: Duration = Duration::from_secs(1);
/// First mute of a webhook that was used too often (oapi.md, section 9.6).
pub(in crate::dingtalk::api) const MUTE: Duration = Duration::from_secs(60);
/// Longest wait that a `Retry-After` header may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What was called: the same code means different things to different calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dingtalk::api) enum Call {
    /// An access token: nothing was sent, whatever happened.
    Token,
    /// `oToMessages/batchSend` or `groupMessages/send`.
    Robot,
    /// A session webhook.
    Webhook,
}

/// A failed call, with what the pace and the token have to learn from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dingtalk::api) struct Refusal {
    /// For the caller; not scrubbed yet.
    pub(in crate::dingtalk::api) error: ApiError,
    /// For the bridge's own state.
    pub(in crate::dingtalk::api) lesson: Lesson,
}

/// What a refusal teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dingtalk::api) enum Lesson {
    /// Nothing.
    None,
    /// One chat or receiver is too busy: the pace of the others stays.
    Later,
    /// The access token is not valid any more.
    Token,
    /// The pace is too fast; nothing is taken for this long.
    TooFast(Duration),
    /// The webhooks of the robot are muted.
    Muted,
    /// Every call from this address is refused for this long.
    Banned(Duration),
}

impl Refusal {
    /// How the call counts.
    pub(in crate::dingtalk::api) fn outcome(&self) -> ApiOutcome {
        match (self.lesson, self.error.class) {
            (Lesson::Later | Lesson::TooFast(_) | Lesson::Muted | Lesson::Banned(_), _) => {
                ApiOutcome::Throttled
            }
            (_, ErrorClass::RetryAfter(_)) => ApiOutcome::Failed,
            (_, ErrorClass::Ambiguous) => ApiOutcome::Ambiguous,
            (_, ErrorClass::Permanent | ErrorClass::WebhookGone | ErrorClass::Park(_)) => {
                ApiOutcome::Refused
            }
        }
    }
}

/// A call that got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dingtalk::api) enum Lost {
    /// It did not leave: no connection.
    Unsent(String),
    /// It may have left, and no answer came in time.
    Late,
    /// It may have left, and the connection broke.
    Broken(String),
    /// It could not even be written down (an illegal URL or header).
    Unwritable(String),
}

/// Tells a success from a refusal: the members of the answer, or what the refusal means.
///
/// # Errors
/// The refusal.
pub(in crate::dingtalk::api) fn judge<'a>(
    call: Call,
    answer: &'a Answer,
    now: Timestamp,
) -> Result<Members<'a>, Refusal> {
    let court = Court { call, answer, now };
    match answer.read() {
        Body::Banned => Err(court.by_rule(Rule::Ban, Words::default(), "ip-banned")),
        Body::Object(members) if !answer.succeeded() => Err(court.by_code(Words::of(&members))),
        Body::Object(members) => match complaint(call, &members) {
            Complaint::None => Ok(members),
            Complaint::Words(words) => Err(court.by_code(words)),
            Complaint::Unclear => Err(court.unclear()),
        },
        Body::Empty | Body::Unreadable if answer.succeeded() => Err(court.unclear()),
        // A page with a status below 500 is a firewall that let nothing through.
        Body::Html if answer.succeeded() || (400..500).contains(&answer.status) => {
            Err(court.by_rule(Rule::Ban, Words::default(), "not-json"))
        }
        Body::Html | Body::Empty | Body::Unreadable => Err(court.by_status(Words::default())),
    }
}

/// What a call without an answer means.
pub(in crate::dingtalk::api) fn lost(call: Call, lost: &Lost) -> Refusal {
    let (code, class, message) = match lost {
        Lost::Unsent(detail) => (
            "connect",
            ErrorClass::RetryAfter(RECONNECT),
            format!("no connection to DingTalk: {detail}"),
        ),
        Lost::Late => (
            "timeout",
            ErrorClass::Ambiguous,
            "no answer in time".to_owned(),
        ),
        Lost::Broken(detail) => (
            "broken",
            ErrorClass::Ambiguous,
            format!("the connection broke before the answer: {detail}"),
        ),
        Lost::Unwritable(detail) => (
            "request",
            ErrorClass::Permanent,
            format!("the request cannot be written: {detail}"),
        ),
    };
    let error = ApiError {
        class: tempered(call, class),
        code: code.to_owned(),
        message,
        cure: None,
    };
    Refusal {
        error,
        lesson: Lesson::None,
    }
}

/// What a token answer without a token means: something else than DingTalk answered.
pub(in crate::dingtalk::api) fn without_token() -> Refusal {
    let error = ApiError {
        class: ErrorClass::RetryAfter(LATER),
        code: "unreadable".to_owned(),
        message: "the answer has a success status and no access token".to_owned(),
        cure: Some(codes::HOST.to_owned()),
    };
    Refusal {
        error,
        lesson: Lesson::None,
    }
}

/// A body that was rendered for another path: a fault of the bridge, never sent.
pub(in crate::dingtalk::api) fn mismatch() -> ApiError {
    ApiError {
        class: ErrorClass::Permanent,
        code: "shipment".to_owned(),
        message: "the body was rendered for another path than the recipient's".to_owned(),
        cure: None,
    }
}

enum Complaint {
    None,
    Words(Words),
    /// A success status without what a success says.
    Unclear,
}

/// A refusal inside HTTP 200 (oapi.md, section 9.6, point 2).
fn complaint(call: Call, members: &Members<'_>) -> Complaint {
    let refused = Complaint::Words(Words::of(members));
    match (members.value("errcode"), members.integer("errcode")) {
        (Some(_), Some(0)) => return Complaint::None,
        (Some(_), Some(_)) => return refused,
        (Some(_), None) => return Complaint::Unclear,
        (None, _) => {}
    }
    if members.boolean("success") == Some(false) {
        return refused;
    }
    let told = members.value("success").is_some() || members.value("processQueryKey").is_some();
    match call {
        _ if members.filled("code").is_some() && !told => refused,
        Call::Webhook if !told => Complaint::Unclear,
        Call::Webhook | Call::Robot | Call::Token => Complaint::None,
    }
}

/// One answer before the table.
struct Court<'a> {
    call: Call,
    answer: &'a Answer,
    now: Timestamp,
}

impl Court<'_> {
    fn by_code(&self, words: Words) -> Refusal {
        match codes::rule(self.call, &words.code) {
            Some((rule, cure)) => {
                let cure = cure.map(str::to_owned);
                self.refusal(self.by_circumstance(rule), words, cure)
            }
            None => self.by_status(words),
        }
    }

    /// The status speaks over a code that only says "busy" or "too fast".
    fn by_circumstance(&self, rule: Rule) -> Rule {
        match (rule, self.answer.status) {
            (Rule::Busy, 500 | 502 | 504) => Rule::Ambiguous,
            (Rule::Busy | Rule::Fault | Rule::Later(_), 429) => Rule::Qps,
            (Rule::Fault, 408 | 503) => Rule::Busy,
            (Rule::Fault, _) => Rule::Ambiguous,
            // Whatever the words, 401 is about the token first (oapi.md, section 1.4).
            (Rule::Permanent, 401) => Rule::Token,
            _ => rule,
        }
    }

    /// What an answer without a known code means (oapi.md, section 9.6, point 3).
    fn by_status(&self, words: Words) -> Refusal {
        let (rule, cure) = match self.answer.status {
            401 => (Rule::Token, None),
            408 | 425 | 503 => (Rule::Busy, None),
            429 => (Rule::Qps, None),
            // A redirect would carry the token elsewhere, so none is followed.
            300..=399 => (Rule::Hold, Some(codes::REDIRECTED)),
            407 => (Rule::Hold, Some(codes::PROXY)),
            404 | 410 if self.call == Call::Webhook => (Rule::Session, None),
            404 | 405 if words.code.is_empty() => (Rule::Permanent, Some(codes::HOST)),
            403 if words.code.is_empty() => (Rule::Permanent, Some(codes::FORBIDDEN)),
            // A gateway or a fault inside: whether the message went out cannot be told.
            500..=599 => (Rule::Ambiguous, None),
            _ => (Rule::Permanent, None),
        };
        self.refusal(rule, words, cure.map(str::to_owned))
    }

    fn by_rule(&self, rule: Rule, words: Words, code: &str) -> Refusal {
        let words = Words {
            code: code.to_owned(),
            ..words
        };
        self.refusal(rule, words, None)
    }

    /// A success status with a body that says nothing: it may have been sent.
    fn unclear(&self) -> Refusal {
        let words = Words {
            code: "unreadable".to_owned(),
            message: "the answer has a success status and no result".to_owned(),
            scopes: Vec::new(),
        };
        self.refusal(Rule::Ambiguous, words, None)
    }

    fn refusal(&self, rule: Rule, words: Words, cure: Option<String>) -> Refusal {
        let (class, lesson) = self.sentence(rule);
        let cure = match rule {
            Rule::Permission => Some(codes::permission_cure(&words.scopes)),
            Rule::Ban => Some(codes::BANNED.to_owned()),
            _ => cure,
        };
        let status = self.answer.status;
        let code = if words.code.is_empty() {
            format!("http-{status}")
        } else {
            words.code
        };
        let message = match (words.message.is_empty(), rule) {
            (false, _) => words.message,
            (true, Rule::Ban) => format!("HTTP {status}: the address of this host is banned"),
            (true, _) => format!("HTTP {status} without words"),
        };
        Refusal {
            error: ApiError {
                class: tempered(self.call, class),
                code,
                message,
                cure,
            },
            lesson,
        }
    }

    fn sentence(&self, rule: Rule) -> (ErrorClass, Lesson) {
        let asked = self.answer.retry_after.map(|wait| wait.min(LONGEST_WAIT));
        let later = |least: Duration| least.max(asked.unwrap_or_default());
        let plain = |class| (class, Lesson::None);
        match rule {
            Rule::Permanent | Rule::Permission => plain(ErrorClass::Permanent),
            Rule::Ambiguous | Rule::Fault => plain(ErrorClass::Ambiguous),
            Rule::Busy => plain(ErrorClass::RetryAfter(later(LATER))),
            Rule::Later(seconds) => {
                let wait = later(Duration::from_secs(seconds));
                (ErrorClass::RetryAfter(wait), Lesson::Later)
            }
            Rule::Hold => plain(ErrorClass::Park(HOLD)),
            Rule::Month => plain(ErrorClass::Park(until_next_month(self.now))),
            Rule::Qps => too_fast(later(PENALTY)),
            Rule::Qpm => too_fast(later(until_next_minute(self.now))),
            Rule::Mute => (ErrorClass::RetryAfter(MUTE), Lesson::Muted),
            Rule::Ban => (ErrorClass::RetryAfter(BAN), Lesson::Banned(BAN)),
            // A webhook has no token of ours; the session in it is what is not valid.
            Rule::Token | Rule::Session if self.call == Call::Webhook => {
                plain(ErrorClass::WebhookGone)
            }
            Rule::Token => (ErrorClass::Park(HOLD), Lesson::Token),
            Rule::Session => plain(ErrorClass::Permanent),
        }
    }
}

fn too_fast(wait: Duration) -> (ErrorClass, Lesson) {
    (ErrorClass::RetryAfter(wait), Lesson::TooFast(wait))
}

/// A token call sends nothing and carries no message: it is never ambiguous, and a refusal for good
/// concerns the account.
fn tempered(call: Call, class: ErrorClass) -> ErrorClass {
    match (call, class) {
        (Call::Token, ErrorClass::Ambiguous) => ErrorClass::RetryAfter(LATER),
        (Call::Token, ErrorClass::Permanent | ErrorClass::WebhookGone) => ErrorClass::Park(HOLD),
        _ => class,
    }
}

/// Time until per-minute counters start again.
fn until_next_minute(now: Timestamp) -> Duration {
    let past = now.as_millis().rem_euclid(60_000);
    Duration::from_millis(u64::try_from(60_000 - past).unwrap_or(60_000))
}

/// Time until monthly quotas start again: midnight of the first in Shanghai, which has no summer time.
pub(super) fn until_next_month(now: Timestamp) -> Duration {
    const DAY: Duration = Duration::from_secs(86_400);
    let turn = || {
        let shanghai = UtcOffset::from_hms(8, 0, 0).ok()?;
        let seconds = now.as_millis().div_euclid(1000);
        let here = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let here = here.to_offset(shanghai);
        let (year, month) = match here.month() {
            Month::December => (here.year() + 1, Month::January),
            month => (here.year(), month.next()),
        };
        let first = Date::from_calendar_date(year, month, 1).ok()?;
        let first = first.midnight().assume_offset(shanghai);
        Some(Timestamp::from_millis(first.unix_timestamp() * 1000))
    };
    turn().map_or(DAY, |turn| turn.since(now))
}
