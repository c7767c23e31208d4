//! The verbs of `<prefix>.api.>`: questions and small deeds over NATS request/reply, as a micro
//! service that `nats micro` discovers. It answers; what is sent goes through the outbound stream
//! like everything else.
//!
//! ```text
//! nats micro info dingtalk
//! nats request dingtalk.api.send '{"to":"user:manager1","text":"hello"}'
//! nats request dingtalk.api.recall '{"id":"order-42-paid"}'
//! ```
//!
//! Whoever may publish on `<prefix>.api.>` speaks for every account of the bridge: permissions of NATS
//! on these subjects are the only lock.

mod bindings;
mod brief;
mod chat;
mod denial;
mod desk;
mod media;
mod people;
mod reactions;
mod recall;
mod receipts;
mod send;
mod sent;
mod waiters;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::broker::{Broker, BrokerError, EndpointPlan, Question, ServicePlan, Switchboard};
use crate::dingtalk::api::Apis;
use crate::message::{MAX_TIMEOUT_MS, Subjects, Verb};
use crate::telemetry::Standings;

use denial::Denial;
use desk::{Desk, Hand};

/// Name under which the service is found.
const NAME: &str = "dingtalk";
/// Questions that are worked on at once; more wait. Those that only wait for a receipt have places of
/// their own ([`waiters`]).
const CONCURRENT: usize = 64;
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The same where a receipt is waited for.
const RECEIPT_DEADLINE: Duration = Duration::from_millis(MAX_TIMEOUT_MS + 10_000);
/// How long answers that are under way at a stop may take.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause before the service is announced again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What the verbs are made of.
#[derive(Debug)]
pub struct Parts {
    /// Broker.
    pub broker: Broker,
    /// The Open API of every account.
    pub apis: Apis,
    /// How the accounts stand against their quota.
    pub standings: Standings,
    /// Subjects of the installation.
    pub subjects: Subjects,
    /// Which replica this is.
    pub replica: String,
    /// Client ids of the accounts, which are announced as hashes.
    pub clients: Vec<String>,
}

/// The verbs of one bridge.
#[derive(Debug)]
pub struct Verbs {
    desk: Desk,
    /// A hand for each question that is worked on.
    hands: Semaphore,
    plan: ServicePlan,
}

impl Verbs {
    /// Puts the verbs together; nothing is announced before [`Verbs::run`].
    pub fn new(parts: Parts) -> Self {
        let plan = plan(&parts);
        Self {
            desk: Desk::new(parts),
            hands: Semaphore::new(CONCURRENT),
            plan,
        }
    }

    /// Answers until `stop`, then finishes what it took.
    pub async fn run(self, stop: CancellationToken) {
        let announcing = stop.run_until_cancelled(self.announce()).await;
        let Some(mut board) = announcing else {
            return;
        };
        info!(nats.service = NAME, "verbs are served");
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                (question, hand) = self.take(&mut board) => {
                    running.push(self.serve(question, hand, &stop));
                }
                Some(()) = running.next() => {}
                () = stop.cancelled() => break,
            }
        }
        for question in board.close().await {
            running.push(self.serve(question, None, &stop));
        }
        let finish = async { while running.next().await.is_some() {} };
        if timeout(DRAIN, finish).await.is_err() {
            warn!("answers of verbs were cut short");
        }
    }

    async fn announce(&self) -> Switchboard {
        loop {
            match self.desk.broker.serve(self.plan.clone()).await {
                Ok(board) => return board,
                Err(BrokerError::Away(reason)) => debug!(reason, "verbs are not announced yet"),
                Err(error) => warn!(%error, "verbs cannot be announced"),
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// The next question, once there is a hand for it. Cancel-safe: a hand that has no question yet is
    /// given back.
    async fn take(&self, board: &mut Switchboard) -> (Question, Hand<'_>) {
        // The semaphore is never closed.
        let hand = self.hands.acquire().await.ok();
        (board.next().await, hand)
    }

    async fn serve(&self, question: Question, hand: Hand<'_>, stop: &CancellationToken) {
        let Some(verb) = Verb::ALL.get(question.endpoint).copied() else {
            return;
        };
        let deadline = match verb {
            Verb::Send | Verb::Cancel => RECEIPT_DEADLINE,
            Verb::Recall
            | Verb::ReadStatus
            | Verb::React
            | Verb::Unreact
            | Verb::MediaUrl
            | Verb::Chat
            | Verb::UserByUnionId
            | Verb::Bind
            | Verb::Binding
            | Verb::Unbind => DEADLINE,
        };
        let answering = Box::pin(self.desk.answer(verb, &question, hand, stop));
        let answer = match timeout(deadline, answering).await {
            Ok(answer) => answer,
            Err(_) => Err(Denial::late(deadline)),
        };
        if let Err(denial) = &answer {
            debug!(verb = %verb, status = denial.status, dingtalk.code = denial.failure.code, "verb denied");
        }
        question
            .answer(answer.map_err(Denial::into_complaint))
            .await;
    }
}

fn plan(parts: &Parts) -> ServicePlan {
    let branch = parts.subjects.branch("api");
    let endpoint = |verb: Verb| EndpointPlan {
        name: verb.as_str().replace('.', "-"),
        subject: format!("{branch}.{verb}"),
        metadata: vec![
            ("summary", verb.summary().to_owned()),
            ("request_schema", verb.question_schema().to_string()),
            ("reply_schema", verb.answer_schema().to_string()),
        ],
    };
    let clients: Vec<String> = parts.clients.iter().map(|id| hashed(id)).collect();
    ServicePlan {
        name: NAME,
        description: "DingTalk on NATS: send, recall, react, look up, bind sessions to chats",
        metadata: vec![
            ("replica", parts.replica.clone()),
            ("clients", clients.join(",")),
        ],
        endpoints: Verb::ALL.into_iter().map(endpoint).collect(),
    }
}

/// A client id as it is announced: enough to notice a stranger on the same app, and no more.
fn hashed(client: &str) -> String {
    let digest = Sha256::digest(client.as_bytes());
    let bytes = digest.iter().take(4);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_announced_as_eight_digits_of_its_hash() {
        assert_eq!(hashed("abc"), "ba7816bf");
    }
}
