//! Bodies that are too large for a message. It knows keys and bytes.

use std::io::Cursor;

use async_nats::jetstream::object_store::{GetErrorKind, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::error::BrokerError;
use super::hub::Hub;

/// Name of the bucket, after the prefix.
pub(super) const BUCKET: &str = "OBJECTS";

/// Bytes of one message of an object, where the server takes that much (nats.md, section 3).
pub(super) const CHUNK: usize = 128 * 1024;

/// Stores `body` under `key`, replacing what was there. The whole body is in memory, so every
/// chunk is a full one (nats.md, section 3).
pub(super) async fn put(hub: &Hub, key: &str, body: Bytes) -> Result<(), BrokerError> {
    let store = store(hub).await?;
    let mut reader = Cursor::new(body);
    let object = ObjectMetadata {
        name: key.to_owned(),
        chunk_size: Some(CHUNK.min(hub.client().max_payload())),
        ..ObjectMetadata::default()
    };
    let put = store.put(object, &mut reader).await;
    put.map(drop)
        .map_err(|error| BrokerError::Away(error.to_string()))
}

/// Reads `key`.
pub(super) async fn read(hub: &Hub, key: &str) -> Result<Option<Bytes>, BrokerError> {
    let store = store(hub).await?;
    let mut object = match store.get(key).await {
        Ok(object) => object,
        Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BrokerError::Away(error.to_string())),
    };
    let mut body = Vec::with_capacity(object.info.size);
    let read = object.read_to_end(&mut body).await;
    read.map_err(|error| BrokerError::Away(error.to_string()))?;
    Ok(Some(body.into()))
}

async fn store(hub: &Hub) -> Result<ObjectStore, BrokerError> {
    hub.ready().await?;
    let name = hub.names.of(BUCKET);
    let store = hub.jetstream().get_object_store(name).await;
    store.map_err(|error| BrokerError::Away(error.to_string()))
}
