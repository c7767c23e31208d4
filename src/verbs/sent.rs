//! Which messages `recall` and `read_status` are about: named by keys and chat, or by the request that
//! sent them, whose receipt names the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::denial::Denial;
use super::desk::Desk;
use crate::dingtalk::api::{Api, SentTo};
use crate::message::{
    AccountName, Kind, OutboundAddress, Outcome, Part, Receipt, SentQuestion, Subjects, Via,
};

/// Most keys of one question.
const MAX_KEYS: usize = 200;

/// Messages that were sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// Account that sent them.
    pub(super) account: AccountName,
    /// The Open API as this account.
    pub(super) api: Arc<Api>,
    /// Chat that they were sent to.
    pub(super) chat: (Kind, String),
    /// DingTalk's keys of them.
    pub(super) keys: Vec<String>,
    /// Messages of the request that have no key, and why.
    pub(super) keyless: BTreeMap<String, String>,
}

impl Sent {
    /// The chat as the Open API needs it.
    pub(super) fn to(&self) -> SentTo<'_> {
        match &self.chat {
            (Kind::Group, id) => SentTo::Group(id),
            (Kind::User | Kind::Card | Kind::Event | Kind::Other, _) => SentTo::Users,
        }
    }
}

/// What a receipt says about the messages of its request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Keys {
    keys: Vec<String>,
    keyless: BTreeMap<String, String>,
}

impl Desk {
    /// Finds the messages that a question names.
    pub(super) async fn sent(&self, question: SentQuestion) -> Result<Sent, Denial> {
        let account = self.account(question.account)?;
        let api = self.api(&account)?;
        let mut keys = question.keys;
        keys.extend(question.process_query_key);
        let (chat, found) = match (question.id, question.chat) {
            (Some(id), _) if keys.is_empty() => {
                let subject = self.subjects.receipt(&account, &id);
                let receipt = self.receipt(&subject).await?.ok_or_else(|| {
                    Denial::new(404, "receipt", format!("no receipt of `{id}` is kept")).cure(
                        "correct `account` or `id`; of an older request give `keys` and `chat`",
                    )
                })?;
                let found = keys_of(&receipt)?;
                let Some(chat) = question_chat(&self.subjects, &receipt) else {
                    return Err(unknown_chat());
                };
                (chat, found)
            }
            (None, Some(chat)) if !keys.is_empty() => {
                chat.check()?;
                let found = Keys {
                    keys,
                    ..Keys::default()
                };
                ((chat.kind, chat.id), found)
            }
            (None, None) if !keys.is_empty() => return Err(unknown_chat()),
            _ => {
                return Err(Denial::malformed("give either `id`, or `chat` with `keys`"));
            }
        };
        if found.keys.len() > MAX_KEYS {
            let count = found.keys.len();
            return Err(Denial::malformed(format!(
                "{count} keys; at most {MAX_KEYS} at a time"
            )));
        }
        Ok(Sent {
            account,
            api,
            chat,
            keys: found.keys,
            keyless: found.keyless,
        })
    }
}

fn unknown_chat() -> Denial {
    Denial::new(
        409,
        "chat",
        "it is not known which chat the messages were sent to",
    )
    .cure("give `chat` with `keys`: group:<openConversationId> or user:<staffId>")
}

/// The chat that a receipt names.
fn question_chat(subjects: &Subjects, receipt: &Receipt) -> Option<(Kind, String)> {
    match subjects.parse_outbound(receipt.subject.as_deref()?).ok()? {
        OutboundAddress::Canonical {
            kind: kind @ (Kind::Group | Kind::User),
            id,
            ..
        } => Some((kind, id)),
        OutboundAddress::Canonical { .. } | OutboundAddress::Account(_) | OutboundAddress::Bare => {
            None
        }
    }
}

/// The keys that a receipt names: of a card its carrierId stands for the key.
fn keys_of(receipt: &Receipt) -> Result<Keys, Denial> {
    let only = [Part {
        outcome: receipt.outcome,
        via: receipt.via,
        process_query_key: receipt.process_query_key.clone(),
    }];
    let parts: &[Part] = match receipt.parts.as_slice() {
        [] => &only,
        parts => parts,
    };
    let mut found = Keys::default();
    for (at, part) in parts.iter().enumerate() {
        match (&part.process_query_key, part.outcome) {
            (Some(key), _) => found.keys.push(key.clone()),
            (None, Outcome::Sent | Outcome::Uncertain) => {
                let why = match part.via {
                    Some(Via::Webhook) => WEBHOOK,
                    _ => "DingTalk named no key of it",
                };
                found
                    .keyless
                    .insert(format!("part {}", at + 1), why.to_owned());
            }
            (None, Outcome::Failed | Outcome::Expired) => {}
        }
    }
    if !found.keys.is_empty() {
        return Ok(found);
    }
    if receipt.via == Some(Via::Webhook) && !found.keyless.is_empty() {
        return Err(Denial::new(409, "webhook", WEBHOOK)
            .cure("messages that may have to be taken back are sent with `via`: `openapi`"));
    }
    let outcome = format!("{:?}", receipt.outcome).to_ascii_lowercase();
    Err(Denial::new(
        409,
        "unsent",
        format!("the request ended as {outcome}, and no message of it is known"),
    ))
}

/// Why there is nothing to be done about a message (oapi.md, section 4.1).
const WEBHOOK: &str = "it went through a session webhook, which names no key: it can neither be recalled nor followed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{RequestId, Timestamp};

    fn receipt(via: Via, key: Option<&str>, parts: Vec<Part>) -> Receipt {
        Receipt {
            id: RequestId::parse("x").unwrap(),
            account: AccountName::parse("sales").unwrap(),
            subject: Some("dingtalk.outbound.sales.group.cidA==".to_owned()),
            outcome: Outcome::Sent,
            via: Some(via),
            process_query_key: key.map(str::to_owned),
            code: None,
            message: None,
            cure: None,
            refused_users: Vec::new(),
            uncertain_users: Vec::new(),
            unsent_users: Vec::new(),
            out_track_id: None,
            parts,
            attempts: 1,
            requested_at: Timestamp::from_millis(1),
            finished_at: Timestamp::from_millis(2),
            cost: 1,
        }
    }

    #[test]
    fn every_part_of_a_request_is_meant_and_those_without_a_key_are_named() {
        let part = |via, key: Option<&str>| Part {
            outcome: Outcome::Sent,
            via: Some(via),
            process_query_key: key.map(str::to_owned),
        };
        let parts = vec![part(Via::Webhook, None), part(Via::Openapi, Some("k2"))];
        let found = keys_of(&receipt(Via::Openapi, Some("k2"), parts)).unwrap();
        assert_eq!(found.keys, ["k2"]);
        assert!(found.keyless["part 1"].contains("webhook"));
        let card = keys_of(&receipt(Via::Card, Some("carrier"), Vec::new())).unwrap();
        assert_eq!(card.keys, ["carrier"]);
        let webhook = keys_of(&receipt(Via::Webhook, None, Vec::new())).unwrap_err();
        assert_eq!(
            (webhook.status, webhook.failure.code.as_str()),
            (409, "webhook")
        );
        let subjects = Subjects::new("dingtalk").unwrap();
        let chat = question_chat(&subjects, &receipt(Via::Card, None, Vec::new()));
        assert_eq!(chat, Some((Kind::Group, "cidA==".to_owned())));
    }
}
