//! The object store of media: whole or not at all, and as every NATS client knows it.

use std::io;

use async_nats::jetstream::object_store::ObjectStore;
use bytes::Bytes;
use futures_util::stream;
use nats_dingtalk::broker::{Description, MediaError, MediaStore};
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

use crate::support::nats::Nats;

const CHUNK: usize = 128 * 1024;

fn named(name: &str) -> Description {
    Description {
        name: Some(name.to_owned()),
        mime: Some("text/plain".to_owned()),
    }
}

fn noise(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

async fn stock(nats: &Nats) -> ObjectStore {
    let jetstream = nats.jetstream().await;
    jetstream.get_object_store("DINGTALK_MEDIA").await.unwrap()
}

/// Messages of the bucket: chunks and the words on objects.
async fn held(nats: &Nats) -> u64 {
    let jetstream = nats.jetstream().await;
    let stream = jetstream.get_stream("OBJ_DINGTALK_MEDIA").await.unwrap();
    stream.get_info().await.unwrap().state.messages
}

async fn whole(media: &MediaStore, key: &str) -> io::Result<Vec<u8>> {
    let (_, mut reader) = media.open(key).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_for_the_bridge_and_for_every_other_client() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    for (key, size) in [
        ("sales/ding:msg/+==/1", 3 * CHUNK + 5),
        ("exact", 2 * CHUNK),
        ("empty", 0),
    ] {
        let bytes = noise(size);
        let put = media
            .put(key, named("钉.txt"), bytes.as_slice())
            .await
            .unwrap();
        assert_eq!((put.key.as_str(), put.size), (key, size as u64));
        let found = media.find(key).await.unwrap().unwrap();
        assert_eq!(found, put);
        assert_eq!(found.description, named("钉.txt"));
        assert_eq!(whole(&media, key).await.unwrap(), bytes);
        if size > 0 {
            let mut theirs = Vec::new();
            let mut object = stock(&nats).await.get(key).await.unwrap();
            object.read_to_end(&mut theirs).await.unwrap();
            assert_eq!(theirs, bytes);
        }
    }
    let bytes = noise(CHUNK + 1);
    let theirs = stock(&nats).await;
    theirs.put("theirs", &mut bytes.as_slice()).await.unwrap();
    assert_eq!(whole(&media, "theirs").await.unwrap(), bytes);
    assert_eq!(media.list().await.unwrap().len(), 4);
    theirs.delete("theirs").await.unwrap();
    assert!(media.find("theirs").await.unwrap().is_none());
    assert!(media.open("theirs").await.unwrap().is_none());
    assert!(media.find("never").await.unwrap().is_none());
}

#[tokio::test]
async fn a_body_that_fails_leaves_neither_an_object_nor_a_chunk() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    let broken = |size| {
        let pieces = [
            Ok(Bytes::from(noise(size))),
            Err(io::Error::other("the host went away")),
        ];
        StreamReader::new(stream::iter(pieces))
    };
    for size in [10, CHUNK, 3 * CHUNK + 10] {
        let error = media.put("k", named("a"), broken(size)).await.unwrap_err();
        assert!(matches!(error, MediaError::Body(_)), "{error}");
        assert!(media.find("k").await.unwrap().is_none());
        assert_eq!(held(&nats).await, 0);
    }
    let kept = noise(CHUNK + 7);
    media.put("k", named("a"), kept.as_slice()).await.unwrap();
    let before = held(&nats).await;
    media
        .put("k", named("b"), broken(2 * CHUNK))
        .await
        .unwrap_err();
    assert_eq!(held(&nats).await, before);
    assert_eq!(whole(&media, "k").await.unwrap(), kept);
}

#[tokio::test]
async fn an_object_that_replaces_another_leaves_nothing_of_it() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    media
        .put("k", named("a"), noise(5 * CHUNK).as_slice())
        .await
        .unwrap();
    let (_, mut reading) = media.open("k").await.unwrap().unwrap();
    let mut first = vec![0; CHUNK];
    reading.read_exact(&mut first).await.unwrap();
    media.put("k", named("b"), &b"new"[..]).await.unwrap();
    assert_eq!(held(&nats).await, 2);
    assert_eq!(whole(&media, "k").await.unwrap(), b"new");
    // Who was in the middle of the old one is told, and not given half of it as the whole.
    let mut rest = Vec::new();
    let error = reading.read_to_end(&mut rest).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
}

#[tokio::test]
async fn chunks_of_an_upload_that_was_killed_can_be_swept() {
    let nats = Nats::start().await;
    let media = nats.broker().await.media();
    media.put("other", named("a"), &b"stays"[..]).await.unwrap();
    let upload = MediaStore::new_upload();
    let pieces = stream::iter([Ok::<_, io::Error>(Bytes::from(noise(2 * CHUNK)))]);
    let endless = StreamReader::new(futures_util::StreamExt::chain(pieces, stream::pending()));
    let putting = media.put_as(&upload, "k", named("a"), endless);
    let stopped = tokio::select! {
        _ = putting => false,
        () = crate::support::wait::until_true("two chunks", async || held(&nats).await == 4) => true,
    };
    assert!(stopped);
    media.sweep(&upload).await.unwrap();
    assert_eq!(held(&nats).await, 2);
    assert_eq!(whole(&media, "other").await.unwrap(), b"stays");
}
