//! What every verb needs: the broker, the account that is meant, reading a question and writing an
//! answer; and which verb is done where.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::brief::Brief;
use super::denial::Denial;
use super::waiters::Waiters;
use crate::broker::{Broker, Bucket, Headers, KeyValue, Question};
use crate::dingtalk::api::{Api, Apis};
use crate::message::{AccountName, MessageRead, SessionEntry, Subjects, Verb};
use crate::telemetry::Standings;

/// One of the hands that work on questions, given back by whoever only waits from then on; none at a
/// stop, when everything that came is still answered.
pub(super) type Hand<'a> = Option<SemaphorePermit<'a>>;

/// What the verbs share.
#[derive(Debug)]
pub(super) struct Desk {
    /// Broker.
    pub(super) broker: Broker,
    /// Subjects of the installation.
    pub(super) subjects: Subjects,
    /// How the accounts stand against their quota.
    pub(super) standings: Standings,
    /// Chats by session.
    pub(super) bindings: KeyValue,
    /// What DingTalk need not be asked again.
    pub(super) cache: KeyValue,
    /// Who read what, a moment ago.
    pub(super) reads: Brief<MessageRead>,
    /// Who waits for receipts.
    pub(super) waiters: Waiters,
    sessions: KeyValue,
    apis: Apis,
}

impl Desk {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            broker,
            apis,
            standings,
            subjects,
            replica: _,
            clients: _,
        } = parts;
        Self {
            bindings: broker.bucket(Bucket::Bindings),
            cache: broker.bucket(Bucket::Cache),
            sessions: broker.bucket(Bucket::Webhooks),
            reads: Brief::default(),
            waiters: Waiters::default(),
            broker,
            subjects,
            standings,
            apis,
        }
    }

    /// Does a verb.
    pub(super) async fn answer(
        &self,
        verb: Verb,
        question: &Question,
        hand: Hand<'_>,
        stop: &CancellationToken,
    ) -> Result<Bytes, Denial> {
        let asked = &question.payload;
        match verb {
            Verb::Send => write(&self.send(question, hand, stop).await?),
            Verb::Cancel => write(&self.cancel(read(asked)?, hand, stop).await?),
            Verb::Recall => write(&self.recall(read(asked)?).await?),
            Verb::ReadStatus => write(&self.read_status(read(asked)?).await?),
            Verb::React => write(&self.react(read(asked)?).await?),
            Verb::Unreact => write(&self.unreact(read(asked)?).await?),
            Verb::MediaUrl => write(&self.media_url(read(asked)?).await?),
            Verb::Chat => write(&self.chat(read(asked)?).await?),
            Verb::UserByUnionId => write(&self.user_by_union_id(read(asked)?).await?),
            Verb::Bind => write(&self.bind(read(asked)?).await?),
            Verb::Binding => write(&self.binding(read(asked)?).await?),
            Verb::Unbind => write(&self.unbind(read(asked)?).await?),
        }
    }

    /// The account that is meant: the named one, else the only one.
    pub(super) fn account(&self, named: Option<AccountName>) -> Result<AccountName, Denial> {
        named.or_else(|| self.apis.only()).ok_or_else(|| {
            Denial::new(
                400,
                "account",
                "several accounts are served, or none, and the question names none",
            )
            .cure("add `account`, the name in the configuration")
        })
    }

    /// The Open API as an account.
    pub(super) fn api(&self, account: &AccountName) -> Result<Arc<Api>, Denial> {
        self.apis.find(account).ok_or_else(|| {
            Denial::new(404, "account", format!("account `{account}` has no Open API here: it is unknown, paused, or a webhook alone"))
                .cure("correct `account`, or the configuration")
        })
    }

    /// What is kept of the session under a key of [`SessionEntry`].
    pub(super) async fn session(&self, key: &str) -> Result<Option<SessionEntry>, Denial> {
        let entry = self.sessions.read(key).await?;
        Ok(entry.and_then(|entry| SessionEntry::decode(&entry.value)))
    }
}

/// Reads a question.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Denial> {
    serde_json::from_slice(payload).map_err(|error| Denial::malformed(error.to_string()))
}

/// The first header called `name`, in any case of letters.
pub(super) fn header_value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let mut named = headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.as_str())
}

fn write<T: Serialize>(answer: &T) -> Result<Bytes, Denial> {
    let body = serde_json::to_vec(answer);
    let body = body.map_err(|error| Denial::new(500, "reply", error.to_string()))?;
    Ok(body.into())
}
