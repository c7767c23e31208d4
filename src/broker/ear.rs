//! Hearing messages as they are published, without a stream in between. What is published while the
//! broker is away is not heard: whoever listens looks into the stream as well.

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;

use super::Broker;
use super::error::BrokerError;

/// Messages on one subject from now on.
#[derive(Debug)]
pub struct Ear {
    subscriber: Subscriber,
}

impl Broker {
    /// Begins to listen on `subject`, which may hold wildcards.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn listen(&self, subject: String) -> Result<Ear, BrokerError> {
        self.hub.ready().await?;
        let client = self.hub.client();
        let away = |error: &dyn std::fmt::Display| BrokerError::Away(error.to_string());
        let subscriber = client.subscribe(subject).await.map_err(|e| away(&e))?;
        // Only then does the broker know of it.
        client.flush().await.map_err(|e| away(&e))?;
        Ok(Ear { subscriber })
    }
}

impl Ear {
    /// The body of the next message; pending for ever once the connection is closed. Cancel-safe.
    pub async fn next(&mut self) -> Bytes {
        match self.subscriber.next().await {
            Some(message) => message.payload,
            None => std::future::pending().await,
        }
    }
}
