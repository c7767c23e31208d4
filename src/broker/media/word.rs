//! The newest word on a key of the object store: what is under it, and how another word takes its
//! place. It touches no chunk.

use std::collections::HashMap;

use async_nats::StatusCode;
use async_nats::client::Request;
use async_nats::jetstream::object_store::ObjectInfo;
use time::OffsetDateTime;

use super::super::EXPECTED_SUBJECT_SEQUENCE;
use super::super::error::BrokerError;
use super::super::hub::REQUEST_TIMEOUT;
use super::{Description, MediaObject, MediaStore, SHA256, away, plain};
use crate::message::Timestamp;

/// Metadata: file name.
const NAME: &str = "name";
/// Metadata: media type.
const MIME: &str = "mime";
/// Header that makes a message the only one of its subject.
const ROLLUP: (&str, &str) = ("Nats-Rollup", "sub");
/// Header with the revision of what was read.
const SEQUENCE: &str = "Nats-Sequence";

impl MediaStore {
    /// The object under `key`, if there is one, and the revision of the newest word on it; 0 when there
    /// is none. Links, which the bridge does not make, are nothing to it.
    pub(super) async fn look(&self, key: &str) -> Result<(Option<ObjectInfo>, u64), BrokerError> {
        self.hub.ready().await?;
        let subject = self.meta_subject(key);
        let api = format!("$JS.API.DIRECT.GET.{}.{subject}", self.stream());
        let request = Request::new().timeout(Some(REQUEST_TIMEOUT));
        let reply = self.hub.client().send_request(api, request).await?;
        match reply.status {
            None => {}
            Some(StatusCode::NOT_FOUND) => return Ok((None, 0)),
            Some(status) => return Err(BrokerError::Away(format!("direct get answers {status}"))),
        }
        let headers = reply.headers.as_ref();
        let revision = headers.and_then(|headers| headers.get(SEQUENCE));
        let revision = revision.and_then(|revision| revision.as_str().parse::<u64>().ok());
        let revision = revision.ok_or_else(|| away("a word on an object without revision"))?;
        let info: ObjectInfo = serde_json::from_slice(&reply.payload).map_err(away)?;
        let is_link = |info: &ObjectInfo| {
            let options = info.options.as_ref();
            options.is_some_and(|options| options.link.is_some())
        };
        let found = Some(info).filter(|info| !info.deleted && !is_link(info));
        Ok((found, revision))
    }

    /// Makes `info` the newest word on its key, after the revision `after` only where one is given; its
    /// own revision. After [`BrokerError::Away`] it may have become that all the same.
    pub(super) async fn say(
        &self,
        info: &ObjectInfo,
        after: Option<u64>,
    ) -> Result<u64, BrokerError> {
        let text = serde_json::to_vec(info).map_err(away)?;
        let mut extra = vec![(ROLLUP.0, ROLLUP.1.to_owned())];
        if let Some(revision) = after {
            extra.push((EXPECTED_SUBJECT_SEQUENCE, revision.to_string()));
        }
        let meta = plain(self.meta_subject(&info.name), text.into());
        match self.hub.store(&meta, &extra).await {
            Err(error) if error.is_wrong_sequence() => Err(BrokerError::Conflict),
            Err(error) => Err(error),
            Ok(stored) => Ok(stored.sequence),
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
