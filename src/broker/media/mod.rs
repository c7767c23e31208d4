//! The object store of media: what came in, and what is to go out. It knows keys, names and bytes,
//! streams both ways and holds no object whole.
//!
//! Written on the JetStream subjects of an object store (`$O.<bucket>.…`, ADR-20): the client library
//! leaves the chunks of a body that failed behind, and reads without a limit to what is under way.

mod word;

use std::io;
use std::sync::Arc;

use async_nats::jetstream::object_store::{ObjectInfo, ObjectOptions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::BrokerError;
use super::hub::Hub;
use super::media_reader::MediaReader;
use super::objects::CHUNK;
use super::outgoing::Outgoing;
use crate::message::Timestamp;
use word::{described, instant, metadata};

/// Name of the bucket, after the prefix.
pub(super) const BUCKET: &str = "MEDIA";
/// What stands before a digest.
const SHA256: &str = "SHA-256=";

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

/// Why a body was not stored.
#[derive(Debug, Error)]
pub enum MediaError {
    /// It could not be read to its end.
    #[error(transparent)]
    Body(#[from] io::Error),
    /// The broker did not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl MediaStore {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// A name for the chunks of one body that is about to be stored, never used before.
    pub fn new_upload() -> String {
        format!("{:032x}", fastrand::u128(..))
    }

    /// Stores what `body` yields under `key`, replacing what was there only when all of it is stored.
    /// When it fails nothing is left behind, unless the broker did not answer. Memory does not grow
    /// with the body.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn put(
        &self,
        key: &str,
        description: Description,
        body: impl AsyncRead + Unpin + Send,
    ) -> Result<MediaObject, MediaError> {
        let upload = Self::new_upload();
        self.put_as(&upload, key, description, body).await
    }

    /// The same under a name that the caller remembers, so that whoever finds it unfinished can
    /// [sweep](Self::sweep) it: a process that is killed leaves chunks that nothing names.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn put_as(
        &self,
        upload: &str,
        key: &str,
        description: Description,
        body: impl AsyncRead + Unpin + Send,
    ) -> Result<MediaObject, MediaError> {
        let info = self.write(upload, key, description, body).await?;
        // What cannot be looked at now stays until its time is over.
        let (before, _) = self.look(key).await.unwrap_or_default();
        let stored = self.conclude(info, None).await?;
        if let Some(before) = before.filter(|before| before.nuid != upload) {
            // Nothing names them any more; a reader in the middle is told so.
            let _ = self.sweep(&before.nuid).await;
        }
        Ok(stored)
    }

    /// The same for one of several that may try, where [`MediaStore::place`] found nothing: it fails when
    /// there is another word on the key than that `revision`. So a try that was [settled](Self::settle)
    /// stores nothing any more, however late its last message comes.
    ///
    /// # Errors
    /// [`MediaError`], with [`BrokerError::Conflict`] for that other word.
    pub async fn put_at(
        &self,
        upload: &str,
        (key, revision): (&str, u64),
        description: Description,
        body: impl AsyncRead + Unpin + Send,
    ) -> Result<MediaObject, MediaError> {
        let info = self.write(upload, key, description, body).await?;
        self.conclude(info, Some(revision)).await
    }

    /// Ends a try of [`MediaStore::put_at`], whoever made it: either it has stored its object by now and
    /// keeps it, or it never will and its chunks are gone. What is there then, as
    /// [`MediaStore::place`] says it.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when the key changed meanwhile, [`BrokerError::Away`].
    pub async fn settle(
        &self,
        key: &str,
        upload: &str,
    ) -> Result<(Option<MediaObject>, u64), BrokerError> {
        let (info, mut revision) = self.look(key).await?;
        if info.is_none() {
            // The try waits for an older revision, so from here on it comes too late.
            let nothing = self.nothing(key, upload);
            revision = self.say(&nothing, Some(revision)).await?;
        }
        if info.as_ref().is_none_or(|info| info.nuid != upload) {
            // Chunks have an age as well, should the broker be away now.
            let _ = self.sweep(upload).await;
        }
        Ok((info.map(described), revision))
    }

    /// Removes the chunks of a body that was not stored to its end, and will not be.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn sweep(&self, upload: &str) -> Result<(), BrokerError> {
        let purge = json!({ "filter": self.chunk_subject(upload) });
        let subject = format!("STREAM.PURGE.{}", self.stream());
        self.hub
            .ask::<_, serde_json::Value>(subject, &purge)
            .await?;
        Ok(())
    }

    /// What is stored under `key`; `None` when nothing is.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn find(&self, key: &str) -> Result<Option<MediaObject>, BrokerError> {
        Ok(self.place(key).await?.0)
    }

    /// The same, and the revision of the newest word on `key`, for [`MediaStore::put_at`].
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn place(&self, key: &str) -> Result<(Option<MediaObject>, u64), BrokerError> {
        let (info, revision) = self.look(key).await?;
        Ok((info.map(described), revision))
    }

    /// Opens the object under `key`; `None` when there is none.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn open(&self, key: &str) -> Result<Option<(MediaObject, MediaReader)>, BrokerError> {
        let (Some(info), _) = self.look(key).await? else {
            return Ok(None);
        };
        let chunks = self.chunk_subject(&info.nuid);
        let digest = info.digest.clone().unwrap_or_default();
        let object = described(info);
        let reader = MediaReader::new(
            Arc::clone(&self.hub),
            (self.stream(), chunks),
            object.size,
            digest,
        );
        Ok(Some((object, reader)))
    }

    /// Removes what is stored under `key`; that nothing is there is no error.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn remove(&self, key: &str) -> Result<(), BrokerError> {
        let (Some(info), _) = self.look(key).await? else {
            return Ok(());
        };
        let upload = info.nuid.clone();
        let gone = ObjectInfo {
            size: 0,
            chunks: 0,
            digest: None,
            deleted: true,
            ..info
        };
        self.say(&gone, None).await?;
        self.sweep(&upload).await
    }

    /// Every object, in no order that means anything.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn list(&self) -> Result<Vec<MediaObject>, BrokerError> {
        self.hub.ready().await?;
        let store = self.hub.jetstream().get_object_store(self.bucket()).await;
        let mut objects = store.map_err(away)?.list().await.map_err(away)?;
        let mut found = Vec::new();
        while let Some(info) = objects.next().await {
            found.push(described(info.map_err(away)?));
        }
        Ok(found)
    }

    /// Writes a body in chunks; the word that will name them. Of a body that fails nothing is left.
    async fn write(
        &self,
        upload: &str,
        key: &str,
        description: Description,
        body: impl AsyncRead + Unpin + Send,
    ) -> Result<ObjectInfo, MediaError> {
        let written = self.chunked(upload, key, description, body).await;
        if written.is_err() {
            // The broker may be away, which is why chunks have an age as well.
            let _ = self.sweep(upload).await;
        }
        written
    }

    async fn chunked(
        &self,
        upload: &str,
        key: &str,
        description: Description,
        mut body: impl AsyncRead + Unpin + Send,
    ) -> Result<ObjectInfo, MediaError> {
        let limit = CHUNK.min(self.hub.client().max_payload());
        let subject = self.chunk_subject(upload);
        let mut hasher = Sha256::new();
        let (mut chunks, mut size) = (0, 0);
        loop {
            let chunk = filled(&mut body, limit).await?;
            if chunk.is_empty() {
                break;
            }
            hasher.update(&chunk);
            chunks += 1;
            size += chunk.len();
            self.hub.store(&plain(subject.clone(), chunk), &[]).await?;
        }
        Ok(ObjectInfo {
            name: key.to_owned(),
            description: None,
            metadata: metadata(description),
            headers: None,
            options: Some(ObjectOptions {
                link: None,
                max_chunk_size: Some(limit),
            }),
            bucket: self.bucket(),
            nuid: upload.to_owned(),
            size,
            chunks,
            modified: Some(instant(Timestamp::now())),
            digest: Some(format!("{SHA256}{}", URL_SAFE.encode(hasher.finalize()))),
            deleted: false,
        })
    }

    /// Makes a body that is written the object of its key.
    async fn conclude(
        &self,
        info: ObjectInfo,
        after: Option<u64>,
    ) -> Result<MediaObject, MediaError> {
        match self.say(&info, after).await {
            Ok(_) => Ok(described(info)),
            Err(error) => {
                // Without an answer it may be the object all the same, and then it needs its chunks.
                if !matches!(error, BrokerError::Away(_)) {
                    let _ = self.sweep(&info.nuid).await;
                }
                Err(error.into())
            }
        }
    }

    fn bucket(&self) -> String {
        self.hub.names.of(BUCKET)
    }

    fn stream(&self) -> String {
        format!("OBJ_{}", self.bucket())
    }

    fn chunk_subject(&self, upload: &str) -> String {
        format!("$O.{}.C.{upload}", self.bucket())
    }

    fn meta_subject(&self, key: &str) -> String {
        format!("$O.{}.M.{}", self.bucket(), URL_SAFE.encode(key))
    }
}

/// The next `size` bytes of a body, fewer at its end only: each chunk is one message, and a network
/// body comes in small pieces (nats.md, section 3).
async fn filled(body: &mut (impl AsyncRead + Unpin), size: usize) -> io::Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(size);
    let mut rest = body.take(u64::try_from(size).unwrap_or(u64::MAX));
    while rest.limit() > 0 && rest.read_buf(&mut chunk).await? > 0 {}
    Ok(chunk.freeze())
}

fn plain(subject: String, payload: Bytes) -> Outgoing {
    Outgoing {
        subject,
        headers: Vec::new(),
        payload,
    }
}

fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio_util::io::StreamReader;

    use super::*;

    #[tokio::test]
    async fn small_reads_become_full_chunks_and_nothing_is_lost() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        let pieces: Vec<io::Result<Bytes>> = bytes
            .chunks(7)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let mut body = StreamReader::new(futures_util::stream::iter(pieces));
        let mut sizes = Vec::new();
        let mut got = Vec::new();
        loop {
            let chunk = filled(&mut body, 256).await.unwrap();
            if chunk.is_empty() {
                break;
            }
            sizes.push(chunk.len());
            got.extend_from_slice(&chunk);
        }
        assert_eq!(sizes, [256, 256, 256, 232]);
        assert_eq!(got, bytes);
    }

    #[tokio::test]
    async fn a_body_that_breaks_in_the_middle_of_a_chunk_yields_no_chunk() {
        let pieces = [
            Ok(Bytes::from_static(b"abc")),
            Err(io::Error::other("broken")),
        ];
        let mut body = StreamReader::new(futures_util::stream::iter(pieces));
        assert!(filled(&mut body, 256).await.is_err());
    }
}
