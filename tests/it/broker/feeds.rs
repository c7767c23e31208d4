//! Requests come in order to one bridge at a time, whatever happens to it or to the server.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use nats_dingtalk::broker::{Broker, Feed, Incoming, Outgoing};
use nats_dingtalk::message::AccountName;
use tokio::time::{Instant, timeout};

use crate::support::nats::Nats;
use crate::support::sections;
use crate::support::wait::{self, PATIENCE};

fn sales() -> AccountName {
    AccountName::parse("sales").unwrap()
}

async fn request(broker: &Broker, number: u64) {
    let message = Outgoing {
        subject: format!("dingtalk.outbound.sales.user.u{}", number % 5),
        headers: vec![("Nats-Msg-Id".into(), format!("r{number}"))],
        payload: Bytes::from(number.to_string()),
    };
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = broker.store(&message).await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

async fn next(feed: &mut Feed) -> Incoming {
    timeout(PATIENCE, feed.next()).await.expect("a request")
}

fn number(incoming: &Incoming) -> u64 {
    std::str::from_utf8(&incoming.payload)
        .unwrap()
        .parse()
        .unwrap()
}

async fn left(server: &Nats) -> u64 {
    let jetstream = server.jetstream().await;
    let mut stream = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    stream.info().await.unwrap().state.messages
}

#[tokio::test]
async fn requests_come_whole_and_in_order_and_are_gone_when_done() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    for number in 0..20 {
        request(&broker, number).await;
    }
    let mut feed = broker.requests(&sales());
    for expected in 0..20 {
        let incoming = next(&mut feed).await;
        assert_eq!(number(&incoming), expected);
        assert_eq!(
            incoming.subject,
            format!("dingtalk.outbound.sales.user.u{}", expected % 5)
        );
        let id = ("Nats-Msg-Id".into(), format!("r{expected}"));
        assert_eq!(incoming.headers, [id]);
        assert_eq!((incoming.sequence, incoming.delivered), (expected + 1, 1));
        incoming.progress().await;
        incoming.done().await.unwrap();
    }
    assert_eq!(left(&server).await, 0);
}

#[tokio::test]
async fn a_rejected_request_is_gone_and_its_reason_is_in_the_advisory() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    request(&broker, 0).await;
    let mut feed = broker.requests(&sales());
    let incoming = next(&mut feed).await;
    incoming.reject("malformed: no\r\ncontent").await.unwrap();
    assert_eq!(left(&server).await, 0);
    let jetstream = server.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_ADVISORY").await.unwrap();
    wait::until_true("the advisory", || async {
        let message = stream.get_raw_message(1).await;
        message.is_ok_and(|message| {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            text.contains("malformed: nocontent")
        })
    })
    .await;
}

#[tokio::test]
async fn what_is_dropped_comes_again_and_what_is_held_does_not() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    request(&broker, 0).await;
    request(&broker, 1).await;
    let mut feed = broker.requests(&sales());
    let held = next(&mut feed).await;
    drop(next(&mut feed).await);
    let again = next(&mut feed).await;
    assert_eq!((number(&again), again.delivered), (1, 2));
    let more = timeout(Duration::from_secs(6), feed.next()).await;
    assert!(more.is_err(), "what is held is not given out twice");
    held.done().await.unwrap();
    again.done().await.unwrap();
    assert_eq!(left(&server).await, 0);
}

#[tokio::test]
async fn a_successor_gets_what_its_predecessor_held_first_and_in_order() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    for number in 0..60 {
        request(&broker, number).await;
    }
    let mut first = broker.requests(&sales());
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(next(&mut first).await);
    }
    for done in held.drain(..10) {
        done.done().await.unwrap();
    }
    let successor = server.unprepared(&sections::nats()).await;
    let mut second = successor.requests(&sales());
    let early = timeout(Duration::from_millis(1500), second.next()).await;
    assert!(early.is_err(), "only one bridge is pinned");
    // The process is gone: no answer, no goodbye.
    drop(held);
    drop(first);
    drop(broker);
    let died = Instant::now();
    for expected in 10..60 {
        let incoming = next(&mut second).await;
        assert_eq!(number(&incoming), expected);
        incoming.done().await.unwrap();
    }
    assert!(
        died.elapsed() < Duration::from_secs(12),
        "{:?}",
        died.elapsed()
    );
    assert_eq!(left(&server).await, 0);
}

#[tokio::test]
async fn a_feed_that_is_closed_hands_over_at_once() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    request(&broker, 0).await;
    let mut first = broker.requests(&sales());
    next(&mut first).await.done().await.unwrap();
    let mut second = broker.requests(&sales());
    let early = timeout(Duration::from_millis(500), second.next()).await;
    assert!(early.is_err());
    first.close().await;
    let closed = Instant::now();
    request(&broker, 1).await;
    assert_eq!(number(&next(&mut second).await), 1);
    assert!(
        closed.elapsed() < Duration::from_secs(3),
        "{:?}",
        closed.elapsed()
    );
}

#[tokio::test]
async fn a_feed_survives_the_kill_of_the_server_and_the_loss_of_its_consumer() {
    let mut server = Nats::start().await;
    let broker = server.broker().await;
    let mut feed = broker.requests(&sales());
    let mut seen = HashSet::new();
    for number in 0..10 {
        request(&broker, number).await;
    }
    for _ in 0..5 {
        let incoming = next(&mut feed).await;
        seen.insert(number(&incoming));
        incoming.done().await.unwrap();
    }
    server.kill();
    let dead = timeout(Duration::from_millis(500), feed.next()).await;
    drop(dead);
    server.restart().await;
    for number in 10..20 {
        request(&broker, number).await;
    }
    while seen.len() < 20 {
        let incoming = next(&mut feed).await;
        // What the restarting server does not confirm is delivered again.
        if incoming.done().await.is_ok() {
            seen.insert(number(&incoming));
        }
    }
    let jetstream = server.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    stream.delete_consumer("account-sales").await.unwrap();
    request(&broker, 20).await;
    assert_eq!(number(&next(&mut feed).await), 20);
}

#[tokio::test]
async fn bare_requests_come_in_order_and_canonical_ones_do_not_come_there() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    for (number, subject) in ["", ".sales", ".sales.user.a", ".other", ""]
        .into_iter()
        .enumerate()
    {
        let message = Outgoing {
            subject: format!("dingtalk.outbound{subject}"),
            headers: vec![("Nats-Msg-Id".into(), number.to_string())],
            payload: Bytes::from(number.to_string()),
        };
        broker.store(&message).await.unwrap();
    }
    let mut feed = broker.bare_requests();
    for expected in [0, 1, 3, 4] {
        let incoming = next(&mut feed).await;
        assert_eq!(number(&incoming), expected);
        incoming.done().await.unwrap();
    }
    assert_eq!(left(&server).await, 1);
}

#[tokio::test]
async fn a_retired_account_loses_its_consumer_unless_another_bridge_pulls() {
    let server = Nats::start().await;
    let broker = server.broker().await;
    request(&broker, 0).await;
    let mut feed = broker.requests(&sales());
    next(&mut feed).await.done().await.unwrap();
    let other = server.unprepared(&sections::nats()).await;
    let pulling = async {
        let mut feed = other.requests(&sales());
        feed.next().await
    };
    let retiring = async {
        // The other bridge has its pull in place.
        tokio::time::sleep(Duration::from_millis(500)).await;
        feed.close().await;
        broker.retire(&sales()).await.unwrap();
        request(&broker, 1).await;
    };
    let (incoming, ()) = tokio::join!(pulling, retiring);
    assert_eq!(number(&incoming), 1);
    incoming.done().await.unwrap();
    drop(incoming);
    broker.retire(&sales()).await.unwrap();
    broker.retire(&sales()).await.unwrap();
    request(&broker, 2).await;
    assert_eq!(broker.unserved(10).await.unwrap().len(), 1);
}
