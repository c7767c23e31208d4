//! The newest word on a key of the object store: what is under it, and how another word takes its
//! place. It touches no chunk.

use std::collections::HashMap;

use async_nats::jetstream::object_store::ObjectInfo;
use time::OffsetDateTime;

use super::super::error::BrokerError;
use super::super::register;
use super::{Description, MediaObject, MediaStore, SHA256, away, plain};
use crate::message::Timestamp;

/// Metadata: file name.
const NAME: &str = "name";
/// Metadata: media type.
const MIME: &str = "mime";
/// Header that makes a message the only one of its subject.
const ROLLUP: (&str, &str) = ("Nats-Rollup", "sub");

impl MediaStore {
    /// The object under `key`, if there is one, and the revision of the newest word on it; 0 when there
    /// is none. Links, which the bridge does not make, are nothing to it.
    pub(super) async fn look(&self, key: &str) -> Result<(Option<ObjectInfo>, u64), BrokerError> {
        let subject = self.meta_subject(key);
        let newest = register::read(&self.hub, &self.stream(), &subject).await?;
        let Some(newest) = newest else {
            return Ok((None, 0));
        };
        let info: ObjectInfo = serde_json::from_slice(&newest.payload).map_err(away)?;
        let is_link = |info: &ObjectInfo| {
            let options = info.options.as_ref();
            options.is_some_and(|options| options.link.is_some())
        };
        let found = Some(info).filter(|info| !info.deleted && !is_link(info));
        Ok((found, newest.revision))
    }

    /// Makes `info` the newest word on its key, after the revision `after` only where one is given; its
    /// own revision. After [`BrokerError::Away`] it may have become that all the same.
    pub(super) async fn say(
        &self,
        info: &ObjectInfo,
        after: Option<u64>,
    ) -> Result<u64, BrokerError> {
        let text = serde_json::to_vec(info).map_err(away)?;
        let extra = vec![(ROLLUP.0, ROLLUP.1.to_owned())];
        let meta = plain(self.meta_subject(&info.name), text.into());
        match after {
            Some(revision) => register::replace(&self.hub, &meta, revision, extra).await,
            None => Ok(self.hub.store(&meta, &extra).await?.sequence),
        }
    }

    /// The word that nothing is under `key`, where `upload` was to be.
    pub(super) fn nothing(&self, key: &str, upload: &str) -> ObjectInfo {
        ObjectInfo {
            name: key.to_owned(),
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: None,
            bucket: self.bucket(),
            nuid: upload.to_owned(),
            size: 0,
            chunks: 0,
            modified: Some(instant(Timestamp::now())),
            digest: None,
            deleted: true,
        }
    }
}

pub(super) fn metadata(description: Description) -> HashMap<String, String> {
    let known = [(NAME, description.name), (MIME, description.mime)];
    let known = known.into_iter();
    known
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

pub(super) fn described(info: ObjectInfo) -> MediaObject {
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
            .map(|digest| digest.trim_start_matches(SHA256).to_owned())
            .unwrap_or_default(),
        stored_at: info.modified.map(|at| {
            let millis = at.unix_timestamp_nanos() / 1_000_000;
            Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
        }),
    }
}

pub(super) fn instant(at: Timestamp) -> OffsetDateTime {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
