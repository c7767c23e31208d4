//! Who the bridge is at the broker, and what the health board says about it.

use std::time::Duration;

use bytes::Bytes;
use nats_dingtalk::broker::{Broker, Outgoing};
use nats_dingtalk::config::{self, NatsAuth};
use nats_dingtalk::message::Secret;
use nats_dingtalk::telemetry::{Health, Metrics, PartState};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::nats::Nats;
use crate::support::sections;
use crate::support::wait::{self, PATIENCE};

fn user(password: &str) -> NatsAuth {
    NatsAuth::User {
        user: "bridge".into(),
        password: Secret::new(password),
    }
}

async fn connect(section: &config::Nats, url: &str, health: &Health) -> Broker {
    Broker::connect(section, url, Metrics::new(), health.clone())
        .await
        .unwrap()
}

fn state(health: &Health) -> PartState {
    health.snapshot().parts.get("broker").unwrap().clone()
}

#[tokio::test]
async fn user_and_password_from_the_section_or_the_url_let_every_connection_in() {
    let server = Nats::start_guarded("bridge", "s3cr3t").await;
    let mut known = sections::nats();
    known.auth = user("s3cr3t");
    let in_url = server.url().replace("//", "//bridge:s3cr3t@");
    for (section, url) in [(known, server.url()), (sections::nats(), in_url)] {
        let health = Health::new(&["broker"]);
        let broker = connect(&section, &url, &health).await;
        timeout(PATIENCE, broker.prepare()).await.unwrap().unwrap();
        assert!(broker.connected());
        assert_eq!(state(&health), PartState::Up);
        let mut publisher = broker.publisher(4);
        let message = Outgoing {
            subject: "dingtalk.inbound.sales.group.a".into(),
            headers: vec![("Nats-Msg-Id".into(), "a".into())],
            payload: Bytes::new(),
        };
        publisher.publish(0, message).await;
        let settled = timeout(PATIENCE, publisher.settled()).await.unwrap();
        settled.result.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_stands_on_the_health_board_and_is_not_told() {
    let server = Nats::start_guarded("bridge", "s3cr3t").await;
    let mut wrong = sections::nats();
    wrong.auth = user("wr0ng");
    let health = Health::new(&["broker"]);
    let begun = Instant::now();
    let broker = connect(&wrong, &server.url(), &health).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    wait::until_true("the board to name the refusal", || async {
        matches!(state(&health), PartState::Down(why) if why.contains("authorization"))
    })
    .await;
    assert!(!format!("{:?} {broker:?}", health.snapshot()).contains("wr0ng"));
    assert!(!broker.connected());
}

#[tokio::test]
async fn a_broker_that_is_missing_comes_and_goes_is_followed_by_the_health_board() {
    let mut server = Nats::absent();
    let health = Health::new(&["broker"]);
    let broker = connect(&sections::nats(), &server.url(), &health).await;
    let stop = CancellationToken::new();
    let watching = broker.watch(stop.clone());
    let story = async {
        let down = || async { matches!(state(&health), PartState::Down(_)) };
        wait::until_true("the board to say down", down).await;
        server.restart().await;
        wait::until_true("the board to say up", || async {
            state(&health) == PartState::Up
        })
        .await;
        server.kill();
        wait::until_true("the board to say down again", down).await;
        stop.cancel();
    };
    tokio::join!(watching, story);
    timeout(Duration::from_secs(10), broker.close())
        .await
        .unwrap();
}
