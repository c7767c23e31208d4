//! From an answer, or the want of one, to what the caller can do (oapi.md, section 9.6). It decides
//! by the table of codes; it neither sends nor waits.

use std::time::Duration;

use super::super::answer::{Answer, Body, Words};
use super::super::failure::{ApiError, ErrorClass};
use super::calendar::{until_next_minute, until_next_month};
use super::codes::{self, Rule};
use super::complaint::{Complaint, complaint};
use super::refusal::{Call, HOLD, LATER, Lesson, Refusal};
use crate::dingtalk::json::Members;
use crate::message::Timestamp;

/// How long DingTalk bans an address that called too often (oapi.md, section 9.4).
pub(in crate::dingtalk::api) const BAN: Duration = Duration::from_secs(300);
/// Shortest punishment for too many calls a second (oapi.md, section 9.2).
const PENALTY: Duration = Duration::from_secs(1);
/// First mute of a webhook that was used too often (oapi.md, section 9.6).
pub(in crate::dingtalk::api) const MUTE: Duration = Duration::from_secs(60);
/// Longest wait that a `Retry-After` header may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

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
        Body::Html if answer.status == 413 => Err(court.by_status(Words::default())),
        // A page with another status below 500 is a firewall that let nothing through.
        Body::Html if answer.succeeded() || (400..500).contains(&answer.status) => {
            Err(court.by_rule(Rule::Ban, Words::default(), "not-json"))
        }
        Body::Html | Body::Empty | Body::Unreadable => Err(court.by_status(Words::default())),
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
        match codes::rule(self.call, &words) {
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
            Rule::Permission => Some(codes::permission_cure(self.call, &words.scopes)),
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
        let error = ApiError {
            class,
            code,
            message,
            cure,
        };
        Refusal::new(self.call, error, lesson)
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
            Rule::Month => plain(ErrorClass::Quota(until_next_month(self.now))),
            Rule::Qps => too_fast(later(PENALTY)),
            Rule::Qpm => too_fast(later(until_next_minute(self.now))),
            Rule::Mute => (ErrorClass::RetryAfter(MUTE), Lesson::Muted),
            Rule::Ban => (ErrorClass::RetryAfter(BAN), Lesson::Banned(BAN)),
            // A webhook has no token of ours; the session in it is what is not valid.
            Rule::Token | Rule::Session if self.call == Call::Webhook => {
                plain(ErrorClass::WebhookGone)
            }
            // Without its token a custom robot's account says nothing at all.
            Rule::Token | Rule::Session if self.call == Call::CustomRobot => {
                plain(ErrorClass::Park(HOLD))
            }
            Rule::Token => (ErrorClass::Park(HOLD), Lesson::Token),
            Rule::Session => plain(ErrorClass::Permanent),
        }
    }
}

fn too_fast(wait: Duration) -> (ErrorClass, Lesson) {
    (ErrorClass::RetryAfter(wait), Lesson::TooFast(wait))
}
