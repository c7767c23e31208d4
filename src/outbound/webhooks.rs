//! Reading the session webhooks that the inbound side keeps in the broker.

use crate::broker::{Broker, BrokerError, Bucket, KeyValue};
use crate::message::{AccountName, Kind, SessionEntry, Timestamp};

/// How long before its end a webhook is left alone (oapi.md, section 4.1).
const MARGIN: std::time::Duration = std::time::Duration::from_secs(60);

/// The bucket of session webhooks.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    bucket: KeyValue,
}

impl Webhooks {
    pub(super) fn new(broker: &Broker) -> Self {
        Self {
            bucket: broker.bucket(Bucket::Webhooks),
        }
    }

    /// The session of one inbound message; expired ones still tell its chat.
    pub(super) async fn of_message(&self, id: &str) -> Result<Option<SessionEntry>, BrokerError> {
        self.read(&SessionEntry::message_key(id)).await
    }

    /// The newest session of a chat.
    pub(super) async fn of_chat(
        &self,
        account: &AccountName,
        kind: Kind,
        chat: &str,
    ) -> Result<Option<SessionEntry>, BrokerError> {
        self.read(&SessionEntry::chat_key(account, kind, chat))
            .await
    }

    async fn read(&self, key: &str) -> Result<Option<SessionEntry>, BrokerError> {
        let entry = self.bucket.read(key).await?;
        Ok(entry.and_then(|entry| SessionEntry::decode(&entry.value)))
    }
}

/// Whether a message can still be sent through the webhook of `session`.
pub(super) fn usable(session: &SessionEntry, now: Timestamp) -> bool {
    session.expires_at.since(now) > MARGIN
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::message::Secret;

    use super::*;

    #[test]
    fn a_webhook_is_left_alone_a_minute_before_its_end() {
        let now = Timestamp::from_millis(1_000_000);
        let session = |left: u64| SessionEntry {
            url: Secret::new("https://x"),
            expires_at: now.after(Duration::from_secs(left)),
            account: AccountName::parse("a").unwrap(),
            kind: Kind::Group,
            chat: "c".into(),
            conversation: None,
        };
        assert!(usable(&session(61), now));
        assert!(!usable(&session(60), now));
        assert!(!usable(&session(0), now));
    }
}
