//! The bytes of one object, read a few chunks at a time and checked against its digest. It knows no
//! key.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy, pull};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::hub::{Hub, REQUEST_TIMEOUT};

/// Chunks asked for at a time: the most that is in memory of an object.
const AHEAD: usize = 4;
/// Life of the consumer after the last pull: a slow reader may take so long for what it has.
const IDLE: Duration = Duration::from_secs(300);

/// The bytes of an object, as they come. The last read fails when they are not those that were stored.
pub struct MediaReader {
    inner: Pin<Box<dyn AsyncRead + Send>>,
}

impl fmt::Debug for MediaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaReader").finish_non_exhaustive()
    }
}

impl AsyncRead for MediaReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_read(context, buffer)
    }
}

impl MediaReader {
    /// Reads the chunks on a subject of a stream.
    pub(super) fn new(
        hub: Arc<Hub>,
        (stream, subject): (String, String),
        size: u64,
        digest: String,
    ) -> Self {
        let reading = Reading {
            hub,
            stream,
            subject,
            digest,
            left: size,
            consumer: None,
            ahead: VecDeque::new(),
            hasher: Sha256::new(),
        };
        let chunks = try_unfold(reading, |mut reading| async move {
            let chunk = reading.next().await?;
            Ok::<_, io::Error>(chunk.map(|chunk| (chunk, reading)))
        });
        Self {
            inner: Box::pin(StreamReader::new(Box::pin(chunks))),
        }
    }
}

/// How far an object has been read.
struct Reading {
    hub: Arc<Hub>,
    stream: String,
    subject: String,
    digest: String,
    left: u64,
    consumer: Option<Consumer<pull::Config>>,
    ahead: VecDeque<Bytes>,
    hasher: Sha256,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            self.close().await;
            return self.check().map(|()| None);
        }
        if self.ahead.is_empty() {
            self.fetch().await?;
        }
        let Some(chunk) = self.ahead.pop_front() else {
            let text = "the object was replaced, or its time was over, while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        };
        let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(size).ok_or_else(unlike)?;
        self.hasher.update(&chunk);
        Ok(Some(chunk))
    }

    fn check(&mut self) -> io::Result<()> {
        let digest = std::mem::take(&mut self.hasher).finalize();
        let found = format!("SHA-256={}", URL_SAFE.encode(digest));
        if self.digest.is_empty() || self.digest == found {
            return Ok(());
        }
        Err(unlike())
    }

    async fn fetch(&mut self) -> io::Result<()> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.open().await?,
        };
        let fetching = consumer.fetch().max_messages(AHEAD).messages();
        let mut batch = fetching.await.map_err(io::Error::other)?;
        while let Some(message) = timeout(REQUEST_TIMEOUT, batch.next()).await? {
            let message = message.map_err(io::Error::other)?;
            self.ahead.push_back(message.message.payload);
        }
        self.consumer = Some(consumer);
        Ok(())
    }

    async fn open(&self) -> io::Result<Consumer<pull::Config>> {
        self.hub.consuming_ready().await.map_err(io::Error::other)?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            filter_subject: self.subject.clone(),
            replay_policy: ReplayPolicy::Instant,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: IDLE,
            ..pull::Config::default()
        };
        let context = self.hub.consuming();
        let created = context.create_consumer_on_stream(config, &self.stream);
        created.await.map_err(io::Error::other)
    }

    async fn close(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            let name = &consumer.cached_info().name;
            let context = self.hub.consuming();
            // It would end by itself later.
            let _ = context
                .delete_consumer_from_stream(name, &self.stream)
                .await;
        }
    }
}

fn unlike() -> io::Error {
    let text = "the bytes of the object are not those that were stored";
    io::Error::new(io::ErrorKind::InvalidData, text)
}
