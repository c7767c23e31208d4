//! `send` and `cancel`: a request into the outbound stream, or off the schedule, and the receipt back.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::denial::Denial;
use super::desk::{Desk, Hand, header_value, read};
use crate::broker::{BrokerError, Outgoing, Question};
use crate::message::{
    AccountName, CancelQuestion, MAX_TIMEOUT_MS, Receipt, Request, RequestId, SessionEntry,
    TIMEOUT_MS, Target, header,
};

/// Key of the wait, beside those of an outbound request.
const TIMEOUT_KEY: &str = "timeout_ms";
/// How long the receipt of a request that was called off is waited for.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

impl Desk {
    /// Publishes the request under its id, or one that is made for it, and answers with its receipt.
    /// Asking again under the same id answers with the same receipt.
    pub(super) async fn send(
        &self,
        question: &Question,
        hand: Hand<'_>,
        stop: &CancellationToken,
    ) -> Result<Receipt, Denial> {
        let (mut request, patience) = wish(&question.payload)?;
        request.content()?;
        let Some(target) = &request.to else {
            return Err(Denial::malformed("`to` is missing: who gets it"));
        };
        target.check()?;
        if target.address().is_some() {
            // A reply or a session tells the account itself.
            request.account = Some(self.account(request.account.take())?);
        }
        // Keys are per account: the receipt of another one says nothing about this request.
        let account = match &request.account {
            Some(named) => Some(named.clone()),
            None => self.sender(target).await?,
        };
        let id = match request.id.take() {
            Some(id) => id,
            None => made_up()?,
        };
        request.id = Some(id.clone());
        let subject = self.receipt_subject(account.as_ref(), &id);
        let awaited = self.await_receipt(subject).await?;
        if let Some(receipt) = self.receipt(&awaited.subject).await? {
            return Ok(receipt);
        }
        let _place = self.waiters.enter(account.as_ref())?;
        self.publish(&request, question).await?;
        // From here on it only waits.
        drop(hand);
        drop(request);
        self.hear(awaited, patience, stop).await
    }

    /// The account that a reply or a session stands for. `None` when the message or the session is not
    /// known (any more): then it is not known either under which name the refusal will come.
    async fn sender(&self, target: &Target) -> Result<Option<AccountName>, Denial> {
        Ok(match target {
            Target::ReplyTo(inbound) => {
                let session = self.session(&SessionEntry::message_key(inbound)).await?;
                session.map(|session| session.account)
            }
            Target::Session(session) => {
                let bound = self.bound(session).await?;
                bound.map(|(binding, _)| binding.account)
            }
            Target::Group(_) | Target::User(_) | Target::Users(_) => None,
        })
    }

    async fn publish(&self, request: &Request, question: &Question) -> Result<(), Denial> {
        let mut subject = self.subjects.branch("outbound");
        if let Some(account) = &request.account {
            subject = format!("{subject}.{account}");
        }
        let body = serde_json::to_vec(request);
        let body = body.map_err(|error| Denial::malformed(error.to_string()))?;
        // The ledger knows the id; this one stands for the message alone.
        let key = format!("nats-dingtalk.api:{:032x}", fastrand::u128(..));
        let mut headers = vec![(header::MSG_ID.into(), key)];
        if let Some(trace) = header_value(&question.headers, header::TRACEPARENT) {
            headers.push((header::TRACEPARENT.into(), trace.to_owned()));
        }
        let message = Outgoing {
            subject,
            headers,
            payload: body.into(),
        };
        if message.size() > self.broker.max_payload() {
            return Err(Denial::new(
                413,
                "too-large",
                "the request is larger than the broker takes",
            )
            .cure("put what is large into the object store, and name its key"));
        }
        match self.broker.store(&message).await {
            Ok(_) => Ok(()),
            Err(error @ BrokerError::Away(_)) => Err(Denial::new(503, "broker", error.to_string())
                .cure("it may have been taken all the same: ask again under the same `id`")),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls off a request that waits for its time; its receipt says what came of it.
    pub(super) async fn cancel(
        &self,
        question: CancelQuestion,
        hand: Hand<'_>,
        stop: &CancellationToken,
    ) -> Result<Receipt, Denial> {
        let account = self.account(question.account)?;
        let subject = self.receipt_subject(Some(&account), &question.id);
        let awaited = self.await_receipt(subject).await?;
        let _place = self.waiters.enter(Some(&account))?;
        let mark = (header::CANCELLED, "true".to_owned());
        if !self.broker.call_out(&account, &question.id, mark).await? {
            let message = "no request waits for its time under this id";
            return Err(Denial::new(404, "not-waiting", message).cure(format!(
                "it ended, is being sent, or never was: look at {}",
                awaited.subject
            )));
        }
        drop(hand);
        self.hear(awaited, CANCEL_PATIENCE, stop).await
    }
}

/// The request, and how long its receipt is waited for.
fn wish(payload: &[u8]) -> Result<(Request, Duration), Denial> {
    let mut members: Map<String, Value> = read(payload)?;
    let patience = match members.remove(TIMEOUT_KEY) {
        None => TIMEOUT_MS,
        Some(value) => {
            let given = value
                .as_u64()
                .filter(|ms| (1..=MAX_TIMEOUT_MS).contains(ms));
            given.ok_or_else(|| {
                Denial::malformed(format!("`{TIMEOUT_KEY}` must be 1 to {MAX_TIMEOUT_MS}"))
            })?
        }
    };
    let request = serde_json::from_value(Value::Object(members));
    let request = request.map_err(|error| Denial::malformed(error.to_string()))?;
    Ok((request, Duration::from_millis(patience)))
}

fn made_up() -> Result<RequestId, Denial> {
    RequestId::parse(&format!("api-{:032x}", fastrand::u128(..)))
        .map_err(|error| Denial::new(500, "id", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_stands_beside_the_request_and_has_a_limit() {
        let body = br#"{"to":"user:u1","text":"a","timeout_ms":500}"#;
        let (request, patience) = wish(body).unwrap();
        assert_eq!(request.text.as_deref(), Some("a"));
        assert_eq!(patience, Duration::from_millis(500));
        let (_, patience) = wish(br#"{"text":"a"}"#).unwrap();
        assert_eq!(patience, Duration::from_secs(30));
        for bad in [
            &br#"{"text":"a","timeout_ms":60001}"#[..],
            br#"{"text":"a","timeout_ms":"5"}"#,
            br#"{"text":"a","txt":"b"}"#,
            b"hello",
        ] {
            assert_eq!(wish(bad).unwrap_err().status, 400);
        }
    }
}
