//! Streams are created when missing, respected when changed, refused when unfit.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use bytes::Bytes;
use nats_dingtalk::broker::Outgoing;

use crate::support::nats::Nats;
use crate::support::sections;

const STREAMS: [&str; 10] = [
    "DINGTALK_INBOUND",
    "DINGTALK_GATED",
    "DINGTALK_OUTBOUND",
    "DINGTALK_RECEIPT",
    "DINGTALK_DEAD",
    "DINGTALK_STATUS",
    "DINGTALK_ADVISORY",
    "KV_DINGTALK_WEBHOOKS",
    "KV_DINGTALK_LEDGER",
    "OBJ_DINGTALK_OBJECTS",
];

#[tokio::test]
async fn every_stream_is_created_once_by_bridges_that_start_together() {
    let server = Nats::start().await;
    let (one, two) = (
        server.unprepared(&sections::nats()).await,
        server.unprepared(&sections::nats()).await,
    );
    let (first, second) = tokio::join!(one.prepare(), two.prepare());
    first.unwrap();
    second.unwrap();
    one.prepare().await.unwrap();
    let jetstream = server.jetstream().await;
    for name in STREAMS {
        let stream = jetstream.get_stream(name).await.unwrap();
        let config = &stream.cached_info().config;
        assert_eq!(config.storage, StorageType::File, "{name}");
        assert!(config.allow_direct, "{name}");
    }
    let outbound = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    let config = &outbound.cached_info().config;
    assert_eq!(config.retention, RetentionPolicy::WorkQueue);
    assert_eq!(config.discard, DiscardPolicy::New);
    assert_eq!(config.max_age, Duration::ZERO);
}

#[tokio::test]
async fn a_stream_that_an_operator_limited_is_respected_and_an_unfit_one_is_refused() {
    let server = Nats::start().await;
    server.broker().await;
    let jetstream = server.jetstream().await;
    let inbound = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let mut config = inbound.cached_info().config.clone();
    config.max_bytes = 1 << 30;
    config.max_age = Duration::from_secs(3600);
    jetstream.update_stream(config.clone()).await.unwrap();
    server.broker().await;

    config.duplicate_window = Duration::from_secs(60);
    jetstream.update_stream(config).await.unwrap();
    let broker = server.unprepared(&sections::nats()).await;
    let error = broker.prepare().await.unwrap_err().to_string();
    assert!(error.contains("DINGTALK_INBOUND"), "{error}");
    assert!(error.contains("--dupe-window=1800s"), "{error}");
}

#[tokio::test]
async fn a_stream_in_memory_and_subjects_of_another_stream_are_refused() {
    let server = Nats::start().await;
    let jetstream = server.jetstream().await;
    let config = Config {
        name: "DINGTALK_INBOUND".into(),
        subjects: vec!["dingtalk.inbound.>".into()],
        storage: StorageType::Memory,
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let broker = server.unprepared(&sections::nats()).await;
    let error = broker.prepare().await.unwrap_err().to_string();
    assert!(error.contains("storage is memory"), "{error}");

    jetstream.delete_stream("DINGTALK_INBOUND").await.unwrap();
    let config = Config {
        name: "MINE".into(),
        subjects: vec!["dingtalk.>".into()],
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let error = broker.prepare().await.unwrap_err().to_string();
    assert!(
        error.contains("DINGTALK_INBOUND cannot be created"),
        "{error}"
    );

    let mut replicated = sections::nats();
    replicated.replicas = 3;
    jetstream.delete_stream("MINE").await.unwrap();
    let broker = server.unprepared(&replicated).await;
    let error = broker.prepare().await.unwrap_err().to_string();
    assert!(error.contains("nats.replicas"), "{error}");
}

#[tokio::test]
async fn a_large_body_goes_through_the_object_store_whole() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let body: Bytes = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let key = "dingabc:msg+X/==";
    broker.put_object(key, body.clone()).await.unwrap();
    assert_eq!(broker.read_object(key).await.unwrap().unwrap(), body);
    assert!(broker.read_object("other").await.unwrap().is_none());
}

#[tokio::test]
async fn requests_that_nobody_takes_are_found_and_removed() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    for (number, subject) in [
        "dingtalk.outbound",
        "dingtalk.outbound.ghost",
        "dingtalk.outbound.ghost.user.a",
        "dingtalk.outbound.ghost.user.a",
        "dingtalk.outbound.sales.user.b",
        "dingtalk.outbound.sales.user.b.c",
    ]
    .into_iter()
    .enumerate()
    {
        let message = Outgoing {
            subject: subject.into(),
            headers: vec![("Nats-Msg-Id".into(), number.to_string())],
            payload: Bytes::from_static(b"hello"),
        };
        broker.store(&message).await.unwrap();
    }
    let sales = nats_dingtalk::message::AccountName::parse("sales").unwrap();
    let mut feed = broker.requests(&sales);
    let first = feed.next().await;
    assert_eq!(first.subject, "dingtalk.outbound.sales.user.b");
    let strays = broker.unserved(100).await.unwrap();
    let mut found: Vec<_> = strays
        .iter()
        .map(|stray| (stray.sequence, stray.subject.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            (3, "dingtalk.outbound.ghost.user.a"),
            (4, "dingtalk.outbound.ghost.user.a"),
            (6, "dingtalk.outbound.sales.user.b.c"),
        ]
    );
    let stray = strays.iter().find(|stray| stray.sequence == 3).unwrap();
    assert_eq!(stray.payload, "hello");
    assert_eq!(stray.headers, [("Nats-Msg-Id".into(), "2".to_owned())]);
    assert_eq!(broker.unserved(1).await.unwrap().len(), 1);
    // One that is gone already is no error.
    for stray in strays.iter().chain(&strays) {
        broker.remove_request(stray).await.unwrap();
    }
    assert!(broker.unserved(100).await.unwrap().is_empty());
}
