//! The buckets: compare-and-set, lives, keys of any text.

use std::time::Duration;

use bytes::Bytes;
use nats_dingtalk::broker::{BrokerError, Bucket};
use nats_dingtalk::message::Timestamp;

use crate::support::nats::Nats;
use crate::support::wait;

#[tokio::test]
async fn a_key_is_created_once_and_replaced_only_at_its_revision() {
    let server = Nats::start().await;
    let ledger = server.broker().await.bucket(Bucket::Ledger);
    for key in ["sales/order+42%:==", "", "键", "a.b*c>d e"] {
        assert_eq!(ledger.read(key).await.unwrap(), None);
        let first = ledger.create(key, Bytes::from_static(b"1")).await.unwrap();
        let again = ledger.create(key, Bytes::from_static(b"2")).await;
        assert!(matches!(again, Err(BrokerError::Conflict)));
        let entry = ledger.read(key).await.unwrap().unwrap();
        assert_eq!((entry.value.as_ref(), entry.revision), (&b"1"[..], first));
        let second = ledger
            .update(key, Bytes::from_static(b"3"), first)
            .await
            .unwrap();
        assert!(second > first);
        let stale = ledger.update(key, Bytes::from_static(b"4"), first).await;
        assert!(matches!(stale, Err(BrokerError::Conflict)));
        let entry = ledger.read(key).await.unwrap().unwrap();
        assert_eq!((entry.value.as_ref(), entry.revision), (&b"3"[..], second));
    }
}

#[tokio::test]
async fn a_value_vanishes_when_its_time_is_over_and_its_key_can_be_created_again() {
    let server = Nats::start().await;
    let webhooks = server.broker().await.bucket(Bucket::Webhooks);
    let soon = Timestamp::now().after(Duration::from_millis(1200));
    webhooks
        .put_until("chat", Bytes::from_static(b"old"), soon)
        .await
        .unwrap();
    let entry = webhooks.read("chat").await.unwrap().unwrap();
    assert_eq!(entry.value, "old");
    wait::until_true("the value to be gone", || async {
        webhooks.read("chat").await.unwrap().is_none()
    })
    .await;
    webhooks
        .create("chat", Bytes::from_static(b"new"))
        .await
        .unwrap();
    let past = Timestamp::from_millis(0);
    webhooks
        .put_until("chat", Bytes::from_static(b"past"), past)
        .await
        .unwrap();
    wait::until_true("the late value to be gone", || async {
        webhooks.read("chat").await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
async fn a_key_that_another_client_deleted_can_be_created_again() {
    let server = Nats::start().await;
    let ledger = server.broker().await.bucket(Bucket::Ledger);
    ledger.create("a", Bytes::from_static(b"1")).await.unwrap();
    let jetstream = server.jetstream().await;
    let store = jetstream.get_key_value("DINGTALK_LEDGER").await.unwrap();
    store.delete("YQ").await.unwrap();
    assert_eq!(ledger.read("a").await.unwrap(), None);
    ledger.create("a", Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(store.get("YQ").await.unwrap().unwrap(), "2");
}
