//! One publishing connection from its opening to its end: a socket, and the inbox on which its
//! PubAcks come. It knows no window.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_nats::client::PublishError;
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::error::BrokerError;
use super::hub::Hub;
use super::outgoing::Outgoing;

/// Commands and acknowledgements that a connection may hold, as a multiple of the window: a window
/// may be sent again before the answers to the first sending were read.
const CAPACITY_FACTOR: usize = 8;

/// A connection that is being made.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Open, BrokerError>> + Send>>;

/// An open connection. Dropping it closes it.
pub(super) struct Open {
    client: Client,
    acks: Subscriber,
    inbox: String,
    since: Instant,
}

impl Open {
    /// Connects to the server whose turn it is, for a window of the given size.
    pub(super) async fn open(
        hub: Arc<Hub>,
        attempt: usize,
        window: usize,
    ) -> Result<Self, BrokerError> {
        let server = hub.route.server(attempt, &hub.learned());
        let server = server.ok_or_else(|| BrokerError::Unfit("no server".to_owned()))?;
        let capacity = window * CAPACITY_FACTOR;
        let client = hub.route.single_life("publish", server, capacity).await?;
        let inbox = client.new_inbox();
        let acks = client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| BrokerError::Away(error.to_string()))?;
        Ok(Self {
            client,
            acks,
            inbox,
            since: Instant::now(),
        })
    }

    /// When it was opened.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Hands a message to the connection; its answer will carry `slot`. Cancel-safe: the connection
    /// takes it whole or not at all.
    pub(super) async fn send(
        &self,
        slot: u64,
        message: &Outgoing,
        headers: HeaderMap,
    ) -> Result<(), PublishError> {
        let reply = format!("{}.{slot}", self.inbox);
        let subject = message.subject.clone();
        let payload = message.payload.clone();
        self.client
            .publish_with_reply_and_headers(subject, reply, headers, payload)
            .await
    }

    /// The next answer; `None` when the connection has ended. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Option<Message> {
        self.acks.next().await
    }

    /// An answer that has come in already.
    pub(super) fn answer_now(&mut self) -> Option<Message> {
        self.acks.next().now_or_never().flatten()
    }
}

/// The slot that an answer carries.
pub(super) fn slot_of(answer: &Message) -> Option<u64> {
    answer.subject.rsplit_once('.')?.1.parse().ok()
}
