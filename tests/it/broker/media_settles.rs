//! Tries to store media whose end nobody can tell: once settled, each has stored its object whole, or
//! never will.

use async_nats::jetstream::Context;
use futures_util::StreamExt;
use nats_dingtalk::broker::{BrokerError, Description, MediaError, MediaObject, MediaStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::nats::Nats;
use crate::support::wait;

const CHUNK: usize = 128 * 1024;

fn noise(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// Chunks of any body in the store.
async fn chunks(jetstream: &Context) -> usize {
    let stream = jetstream.get_stream("OBJ_DINGTALK_MEDIA").await.unwrap();
    let info = stream.info_with_subjects("$O.DINGTALK_MEDIA.C.>");
    let mut subjects = info.await.unwrap();
    let mut count = 0;
    while let Some(Ok((_, chunks))) = subjects.next().await {
        count += chunks;
    }
    count
}

async fn whole(media: &MediaStore, key: &str) -> Vec<u8> {
    let (_, mut reader) = media.open(key).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// A try that found nothing under the key.
async fn put(media: &MediaStore, bytes: &[u8]) -> Result<MediaObject, MediaError> {
    let upload = MediaStore::new_upload();
    let at = ("k", 0);
    media
        .put_at(&upload, at, Description::default(), bytes)
        .await
}

fn conflicts(put: &Result<MediaObject, MediaError>) -> bool {
    matches!(put, Err(MediaError::Broker(BrokerError::Conflict)))
}

#[tokio::test]
async fn a_try_that_stored_its_object_keeps_every_chunk_when_it_is_settled() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    let bytes = noise(2 * CHUNK + 5);
    let upload = MediaStore::new_upload();
    let (found, at) = media.place("k").await.unwrap();
    assert_eq!((found, at), (None, 0));
    let put = media.put_at(&upload, ("k", at), Description::default(), bytes.as_slice());
    let put = put.await.unwrap();
    let (settled, _) = media.settle("k", &upload).await.unwrap();
    assert_eq!(settled.as_ref(), Some(&put));
    // One that left nothing behind takes nothing with it.
    let (settled, _) = media.settle("k", "another").await.unwrap();
    assert_eq!(settled, Some(put));
    assert_eq!(whole(&media, "k").await, bytes);
}

#[tokio::test]
async fn a_try_that_was_settled_in_its_middle_stores_nothing_however_late_it_ends() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    let jetstream = nats.jetstream().await;
    let upload = MediaStore::new_upload();
    let (mut host, body) = tokio::io::duplex(CHUNK);
    let trying = media.put_at(&upload, ("k", 0), Description::default(), body);
    let settling = async {
        host.write_all(&noise(CHUNK)).await.unwrap();
        wait::until_true("a chunk", async || chunks(&jetstream).await == 1).await;
        let settled = media.settle("k", &upload).await.unwrap();
        assert_eq!(chunks(&jetstream).await, 0);
        // What is left of the body comes now, and its end.
        host.write_all(&noise(10)).await.unwrap();
        drop(host);
        settled
    };
    let (put, (found, at)) = tokio::join!(trying, settling);
    assert!(conflicts(&put), "{put:?}");
    assert_eq!(found, None);
    assert!(media.find("k").await.unwrap().is_none());
    assert_eq!(chunks(&jetstream).await, 0);
    let bytes = noise(CHUNK + 1);
    let upload = MediaStore::new_upload();
    let next = media.put_at(&upload, ("k", at), Description::default(), bytes.as_slice());
    next.await.unwrap();
    assert_eq!(whole(&media, "k").await, bytes);
}

#[tokio::test]
async fn the_slower_of_two_tries_is_refused_and_the_object_of_the_other_stays_whole() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    let jetstream = nats.jetstream().await;
    let (first, second) = (noise(CHUNK + 3), noise(3 * CHUNK));
    put(&media, &first).await.unwrap();
    let refused = put(&media, &second).await;
    assert!(conflicts(&refused), "{refused:?}");
    assert_eq!(whole(&media, "k").await, first);
    assert_eq!(chunks(&jetstream).await, 2);
}
