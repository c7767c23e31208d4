//! Accounts that are a custom robot: one group, reached by a webhook, in words only, and under a key
//! that makes a repetition harmless (oapi.md, section 4.3). Pure.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::dingtalk::api::{ShipmentBody, render_webhook};
use crate::message::{Content, DeadReason, Kind, Target, Via};

use super::receipt::Matter;
use super::resolve::{Job, Refusal};

/// Id of the one chat of a custom robot, whose group has no id that the robot knows.
pub(super) const CHAT: &str = "robot";
/// Where a post says what people read.
const WORDS: [&str; 7] = [
    "/text/content",
    "/markdown/title",
    "/markdown/text",
    "/link/title",
    "/link/text",
    "/actionCard/title",
    "/actionCard/text",
];
/// Bytes of the digest that becomes `msgUuid`.
const KEY: usize = 16;
/// Tries in a row that may go without an answer; then the request is in doubt after all.
pub(super) const ANSWERLESS: u32 = 5;

/// Refuses what a custom robot cannot send.
pub(super) fn check(job: &Job, keywords: &[String]) -> Result<(), Refusal> {
    let refused = |reason, detail: String| Err(Refusal::new(reason, detail));
    if job.kind != Kind::Group || job.chat != CHAT {
        return refused(
            DeadReason::Target,
            format!(
                "a custom robot speaks in its own group only; publish to <prefix>.outbound.<account> without `to`, or to <prefix>.outbound.<account>.group.{CHAT}"
            ),
        );
    }
    if matches!(job.via, Some(Via::Openapi | Via::Card)) || job.reply_to.is_some() {
        return refused(
            DeadReason::Target,
            "a custom robot has its webhook only and answers nobody; leave `via` and `reply_to` out"
                .to_owned(),
        );
    }
    match &job.content {
        Content::Text(_) | Content::Markdown(_) | Content::Link(_) | Content::ActionCard(_) => {}
        Content::Media(..) | Content::Card(_) | Content::Stream(_) | Content::Raw(_) => {
            return refused(
                DeadReason::Malformed,
                "a custom robot sends text, markdown, link and action_card only".to_owned(),
            );
        }
    }
    let Some(posts) = render_webhook(&job.content, &job.mention) else {
        return refused(
            DeadReason::Malformed,
            "the request mentions more than the 50 people of one message, or title, buttons and mentions leave no room for the text of its action card; mention fewer people, or shorten the URLs of the buttons".to_owned(),
        );
    };
    if keywords.is_empty() {
        return Ok(());
    }
    // DingTalk looks at each post by itself: a part without a keyword would end the message in its
    // middle.
    match posts.iter().position(|post| !says_one(post, keywords)) {
        Some(part) => refused(
            DeadReason::Refused,
            unspoken(part + 1, posts.len(), keywords),
        ),
        None => Ok(()),
    }
}

/// Whether a post says one of `keywords`.
fn says_one(post: &ShipmentBody, keywords: &[String]) -> bool {
    let ShipmentBody::Webhook(body) = post else {
        return false;
    };
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return false;
    };
    let mut words = WORDS
        .iter()
        .filter_map(|place| body.pointer(place)?.as_str());
    words.any(|words| {
        keywords
            .iter()
            .any(|keyword| words.contains(keyword.as_str()))
    })
}

/// The refusal of a message whose part `part` says no keyword.
fn unspoken(part: usize, parts: usize, keywords: &[String]) -> String {
    let keywords = keywords.join(", ");
    match parts {
        1 => format!(
            "the message contains none of the keywords of its robot, so DingTalk would refuse it; add one of: {keywords}"
        ),
        _ => format!(
            "part {part} of {parts} contains none of the keywords of its robot, so DingTalk would refuse it and the rest; put one into the title of a markdown or action_card, which every part carries, or publish shorter messages with one each: {keywords}"
        ),
    }
}

/// The target of a request to a custom robot that names none.
pub(super) fn target() -> Target {
    Target::Group(CHAT.to_owned())
}

/// The idempotency key of one part: the same for every try, in every life of a bridge.
pub(super) fn msg_uuid(matter: &Matter<'_>, part: usize) -> String {
    let mut hasher = Sha256::new();
    for piece in [matter.account.as_str(), matter.id.as_str()] {
        hasher.update(piece.len().to_be_bytes());
        hasher.update(piece.as_bytes());
    }
    hasher.update(part.to_be_bytes());
    let mut text = String::with_capacity(KEY * 2);
    for byte in hasher.finalize().iter().take(KEY) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::message::{AccountName, RequestId, Timestamp};

    use super::super::ledger::Publication;
    use super::super::receipt::Published;
    use super::*;

    #[test]
    fn every_part_has_one_key_whatever_the_try() {
        let published = Published {
            subject: String::new(),
            headers: Vec::new(),
            payload: bytes::Bytes::new(),
            publication: Publication {
                seq: 1,
                at: Timestamp::from_millis(1),
            },
        };
        let account = AccountName::parse("alerts").unwrap();
        let uuid = |id: &str, part| {
            let id = RequestId::parse(id).unwrap();
            let matter = Matter {
                account: &account,
                id: &id,
                published: &published,
                subject: None,
            };
            msg_uuid(&matter, part)
        };
        assert_eq!(uuid("a", 0), uuid("a", 0));
        assert_eq!(uuid("a", 0).len(), 32);
        assert_ne!(uuid("a", 0), uuid("a", 1));
        assert_ne!(uuid("a", 0), uuid("b", 0));
    }
}
