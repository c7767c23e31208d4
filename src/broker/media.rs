//! The object store of media: what came in, and what is to go out. It knows keys, names and bytes,
//! streams both ways and holds no object whole.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::jetstream::object_store::{
    GetErrorKind, InfoErrorKind, Object, ObjectInfo, ObjectMetadata, ObjectStore,
};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, ReadBuf};

use super::error::BrokerError;
use super::filler::Filler;
use super::hub::Hub;
use super::objects::CHUNK;
use crate::message::Timestamp;

/// Name of the bucket, after the prefix.
pub(super) const BUCKET: &str = "MEDIA";
/// Metadata: file name.
const NAME: &str = "name";
/// Metadata: media type.
const MIME: &str = "mime";

/// The object store of media; cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaStore {
    hub: Arc<Hub>,
}

/// What is known of an object beside its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// File name.
    pub name: Option<String>,
    /// Media type.
    pub mime: Option<String>,
}

/// An object that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaObject {
    /// Key.
    pub key: String,
    /// What is known of it.
    pub description: Description,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes, base64url, as NATS writes it.
    pub digest: String,
    /// When it was stored.
    pub stored_at: Option<Timestamp>,
}

/// The bytes of an object, as they come.
pub struct MediaReader {
    object: Object,
}

impl std::fmt::Debug for MediaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaReader").finish_non_exhaustive()
    }
}

impl AsyncRead for MediaReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.object).poll_read(context, buffer)
    }
}

impl MediaStore {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Stores what `body` yields under `key`, replacing what was there. Nothing is stored when `body`
    /// fails. Memory does not grow with the body.
    ///
    /// # Errors
    /// [`BrokerError::Away`], also when `body` fails: its own error is the text.
    pub async fn put(
        &self,
        key: &str,
        description: Description,
        body: impl AsyncRead + Unpin + Send,
    ) -> Result<MediaObject, BrokerError> {
        let store = self.store().await?;
        let mut metadata = HashMap::new();
        let known = [(NAME, description.name), (MIME, description.mime)];
        for (name, value) in known {
            metadata.extend(value.map(|value| (name.to_owned(), value)));
        }
        let object = ObjectMetadata {
            name: key.to_owned(),
            chunk_size: Some(CHUNK.min(self.hub.client().max_payload())),
            metadata,
            ..ObjectMetadata::default()
        };
        let mut body = Filler::new(body, CHUNK);
        let stored = store.put(object, &mut body).await;
        stored.map(described).map_err(away)
    }

    /// What is stored under `key`; `None` when nothing is.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn find(&self, key: &str) -> Result<Option<MediaObject>, BrokerError> {
        match self.store().await?.info(key).await {
            Ok(info) if info.deleted => Ok(None),
            Ok(info) => Ok(Some(described(info))),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    /// Opens the object under `key`; `None` when there is none.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn open(&self, key: &str) -> Result<Option<(MediaObject, MediaReader)>, BrokerError> {
        match self.store().await?.get(key).await {
            Ok(object) => Ok(Some((
                described(object.info.clone()),
                MediaReader { object },
            ))),
            Err(error) if error.kind() == GetErrorKind::NotFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    /// Every object, in no order that means anything.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn list(&self) -> Result<Vec<MediaObject>, BrokerError> {
        let store = self.store().await?;
        let mut objects = store.list().await.map_err(away)?;
        let mut found = Vec::new();
        while let Some(info) = objects.next().await {
            found.push(described(info.map_err(away)?));
        }
        Ok(found)
    }

    async fn store(&self) -> Result<ObjectStore, BrokerError> {
        self.hub.ready().await?;
        let name = self.hub.names.of(BUCKET);
        let store = self.hub.jetstream().get_object_store(name).await;
        store.map_err(away)
    }
}

fn described(info: ObjectInfo) -> MediaObject {
    let mut metadata = info.metadata;
    MediaObject {
        key: info.name,
        description: Description {
            name: metadata.remove(NAME),
            mime: metadata.remove(MIME),
        },
        size: u64::try_from(info.size).unwrap_or(u64::MAX),
        digest: info
            .digest
            .map(|digest| digest.trim_start_matches("SHA-256=").to_owned())
            .unwrap_or_default(),
        stored_at: info.modified.map(|at| {
            let millis = at.unix_timestamp_nanos() / 1_000_000;
            Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
        }),
    }
}

fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}
