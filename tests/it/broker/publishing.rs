//! What is published is stored once and in order, whatever happens to the server.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use nats_dingtalk::broker::{BrokerError, Outgoing, Publisher};
use nats_dingtalk::message::Timestamp;
use tokio::time::{Instant, timeout};

use crate::support::nats::Nats;
use crate::support::sections;
use crate::support::wait::PATIENCE;

fn message(number: u64) -> Outgoing {
    Outgoing {
        subject: format!("dingtalk.inbound.sales.group.cid{}", number % 7),
        headers: vec![("Nats-Msg-Id".into(), format!("app:msg{number}"))],
        payload: Bytes::from(number.to_string()),
    }
}

/// Sequence numbers as they were published, in stream order.
async fn stored(server: &Nats) -> Vec<u64> {
    let jetstream = server.jetstream().await;
    let mut stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    if count == 0 {
        return Vec::new();
    }
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config {
            ack_policy: async_nats::jetstream::consumer::AckPolicy::None,
            ..Default::default()
        })
        .await
        .unwrap();
    let messages = consumer.messages().await.unwrap();
    messages
        .take(usize::try_from(count).unwrap())
        .map(|message| {
            std::str::from_utf8(&message.unwrap().payload)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .collect()
        .await
}

async fn settle_all(publisher: &mut Publisher) -> Vec<u64> {
    let mut tokens = Vec::new();
    while publisher.in_flight() > 0 {
        let settled = timeout(PATIENCE, publisher.settled()).await.unwrap();
        settled.result.unwrap();
        tokens.push(settled.token);
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_survives_two_kills_of_the_server_without_loss_repeat_or_disorder() {
    const TOTAL: u64 = 30_000;
    let mut server = Nats::start().await;
    let broker = server.broker().await;
    let mut publisher = broker.publisher(256);
    let (mut next, mut acked, mut kills) = (0, 0, 0);
    let mut down_since: Option<Instant> = None;
    while acked < TOTAL {
        while publisher.has_room() && next < TOTAL {
            publisher.publish(next, message(next)).await;
            next += 1;
        }
        if let Ok(settled) = timeout(Duration::from_millis(50), publisher.settled()).await {
            settled.result.unwrap();
            acked += 1;
        }
        if kills < 2 && acked >= (kills + 1) * TOTAL / 3 && down_since.is_none() {
            server.kill();
            kills += 1;
            down_since = Some(Instant::now());
        }
        if down_since.is_some_and(|since| since.elapsed() > Duration::from_millis(700)) {
            server.restart().await;
            down_since = None;
        }
    }
    assert_eq!(kills, 2);
    let stored = stored(&server).await;
    assert_eq!(
        stored.len(),
        usize::try_from(TOTAL).unwrap(),
        "stored == sent"
    );
    let in_order: Vec<u64> = (0..TOTAL).collect();
    assert!(
        stored == in_order,
        "the order of the stream is the order of publishing"
    );
}

#[tokio::test]
async fn a_server_that_freezes_for_longer_than_the_deadline_costs_neither_loss_nor_order() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let mut publisher = broker.publisher(64);
    publisher.publish(0, message(0)).await;
    assert_eq!(settle_all(&mut publisher).await, [0]);
    server.signal("STOP");
    for number in 1..=64 {
        publisher.publish(number, message(number)).await;
    }
    let frozen = timeout(Duration::from_secs(7), publisher.settled()).await;
    server.signal("CONT");
    assert!(frozen.is_err(), "a frozen server acknowledges nothing");
    assert_eq!(
        settle_all(&mut publisher).await,
        (1..=64).collect::<Vec<_>>()
    );
    assert_eq!(stored(&server).await, (0..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_published_while_the_broker_is_away_is_stored_in_order_when_it_comes() {
    let mut server = Nats::start().await;
    server.broker().await;
    server.kill();
    let broker = server.unprepared(&sections::nats()).await;
    let mut publisher = broker.publisher(64);
    for number in 0..64 {
        let publishing = publisher.publish(number, message(number));
        timeout(Duration::from_millis(500), publishing)
            .await
            .unwrap();
    }
    assert!(!publisher.has_room());
    let early = timeout(Duration::from_millis(300), publisher.settled()).await;
    assert!(early.is_err(), "nothing settles without a broker");
    server.restart().await;
    let tokens = settle_all(&mut publisher).await;
    assert_eq!(tokens, (0..64).collect::<Vec<_>>());
    assert_eq!(stored(&server).await, tokens);
}

#[tokio::test]
async fn a_message_that_was_stored_before_is_settled_as_a_duplicate() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let first = broker.store(&message(1)).await.unwrap();
    assert!(!first.duplicate);
    let mut publisher = broker.publisher(8);
    publisher.publish(1, message(1)).await;
    let settled = timeout(PATIENCE, publisher.settled()).await.unwrap();
    let stored = settled.result.unwrap();
    assert_eq!((stored.sequence, stored.duplicate), (first.sequence, true));
}

#[tokio::test]
async fn a_full_stream_and_a_message_that_is_too_large_are_refused_and_the_rest_goes_on() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let jetstream = server.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_messages = 2;
    jetstream.update_stream(config).await.unwrap();
    let mut publisher = broker.publisher(8);
    for number in 0..3 {
        let mut request = message(number);
        request.subject = "dingtalk.outbound.sales.user.manager1".into();
        publisher.publish(number, request).await;
    }
    let mut large = message(3);
    large.payload = vec![b'x'; broker.max_payload() + 1].into();
    publisher.publish(3, large).await;
    publisher.publish(4, message(4)).await;
    let mut refused = Vec::new();
    while publisher.in_flight() > 0 {
        let settled = timeout(PATIENCE, publisher.settled()).await.unwrap();
        if let Err(BrokerError::Refused { code, .. }) = settled.result {
            refused.push((settled.token, code));
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, [(2, 10077), (3, 0)]);
    assert_eq!(stored(&server).await, [4]);
}

#[tokio::test]
async fn a_forgotten_message_is_given_back_and_settles_no_more() {
    let mut server = Nats::start().await;
    server.broker().await;
    server.kill();
    let broker = server.unprepared(&sections::nats()).await;
    let mut publisher = broker.publisher(8);
    for number in 0..3 {
        publisher.publish(number, message(number)).await;
    }
    assert_eq!(publisher.forget(1).unwrap(), message(1));
    assert!(publisher.forget(1).is_none());
    server.restart().await;
    assert_eq!(settle_all(&mut publisher).await, [0, 2]);
    assert_eq!(stored(&server).await, [0, 2]);
}

#[tokio::test]
async fn a_subject_that_no_stream_takes_is_kept_until_one_does() {
    let server = Nats::start().await;
    let broker = server.unprepared(&sections::nats()).await;
    let mut publisher = broker.publisher(8);
    for number in 0..5 {
        publisher.publish(number, message(number)).await;
    }
    let early = timeout(Duration::from_millis(500), publisher.settled()).await;
    assert!(early.is_err(), "nothing settles without a stream");
    broker.prepare().await.unwrap();
    assert_eq!(settle_all(&mut publisher).await, [0, 1, 2, 3, 4]);
    assert_eq!(stored(&server).await, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn store_once_leaves_a_subject_that_holds_a_message_alone() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let receipt = |id: &str, body: &'static str| Outgoing {
        subject: "dingtalk.receipt.sales.order-42".into(),
        headers: vec![("Nats-Msg-Id".into(), id.into())],
        payload: Bytes::from_static(body.as_bytes()),
    };
    assert!(
        broker
            .store_once(&receipt("a", "sent"))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        broker
            .store_once(&receipt("b", "failed"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_ids_of_recent_messages_are_found_by_subject_and_time() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let before = Timestamp::now();
    for number in 0..2100 {
        if number < 14 || number % 7 == 3 {
            broker.store(&message(number)).await.unwrap();
        }
    }
    let subjects: HashSet<String> = (0..1200)
        .map(|number| format!("dingtalk.inbound.sales.group.cid{number}"))
        .filter(|subject| !subject.ends_with("cid5"))
        .collect();
    let ids = broker.ids_since(&subjects, before).await.unwrap();
    assert!(ids.contains("app:msg1") && ids.contains("app:msg2096"));
    assert!(!ids.contains("app:msg5") && !ids.contains("app:msg12"));
    assert_eq!(ids.len(), 12 + 298);
    let later = Timestamp::now().after(Duration::from_secs(60));
    assert!(broker.ids_since(&subjects, later).await.unwrap().is_empty());
    assert!(
        broker
            .ids_since(&HashSet::new(), before)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_ids_of_dead_letters_and_gated_messages_are_found_in_their_own_streams() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let before = Timestamp::now();
    let subjects = [
        "inbound.sales.group.cid1",
        "gated.sales.group.cid1",
        "dead.inbound.sales",
    ]
    .map(|rest| format!("dingtalk.{rest}"));
    for (number, subject) in (0..).zip(&subjects) {
        let message = Outgoing {
            subject: subject.clone(),
            ..message(number)
        };
        broker.store(&message).await.unwrap();
    }
    let asked: HashSet<String> = subjects.into_iter().collect();
    let ids = broker.ids_since(&asked, before).await.unwrap();
    assert_eq!(ids.len(), 3);
}
