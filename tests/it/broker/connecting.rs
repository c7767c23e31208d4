//! Who the bridge is at the broker, and what the health board says about it.

use std::time::Duration;

use bytes::Bytes;
use nats_dingtalk::broker::{Broker, Outgoing};
use nats_dingtalk::config::{Nats, NatsAuth};
use nats_dingtalk::message::Secret;
use nats_dingtalk::telemetry::{Health, Metrics, PartState};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::nats::{PATIENCE, Server, section, until};

fn user(password: &str) -> NatsAuth {
    NatsAuth::User {
        user: "bridge".into(),
        password: Secret::new(password),
    }
}

async fn connect(section: &Nats, url: &str, health: &Health) -> Broker {
    Broker::connect(section, url, Metrics::new(), health.clone())
        .await
        .unwrap()
}

fn state(health: &Health) -> PartState {
    health.snapshot().parts.get("broker").unwrap().clone()
}

#[tokio::test]
async fn user_and_password_from_the_section_or_the_url_let_every_connection_in() {
    let server = Server::with(&["--user", "bridge", "--pass", "s3cr3t"]);
    let mut known = section();
    known.auth = user("s3cr3t");
    let in_url = server.url().replace("//", "//bridge:s3cr3t@");
    for (section, url) in [(known, server.url()), (section(), in_url)] {
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
async fn a_wrong_password_and_a_missing_broker_stand_on_the_health_board_without_the_password() {
    let mut server = Server::with(&["--user", "bridge", "--pass", "s3cr3t"]);
    let mut wrong = section();
    wrong.auth = user("wr0ng");
    let health = Health::new(&["broker"]);
    let begun = Instant::now();
    let broker = connect(&wrong, &server.url(), &health).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    until("the board names the refusal", || async {
        matches!(state(&health), PartState::Down(why) if why.contains("authorization"))
    })
    .await;
    assert!(!format!("{:?} {broker:?}", health.snapshot()).contains("wr0ng"));
    assert!(!broker.connected());
    server.kill();

    let away = section();
    let broker = connect(&away, &server.url(), &health).await;
    let stop = CancellationToken::new();
    let watching = broker.watch(stop.clone());
    let story = async {
        let down = || async { matches!(state(&health), PartState::Down(_)) };
        until("the board says down", down).await;
        server.restart_with(&[]);
        until("the board says up", || async {
            state(&health) == PartState::Up
        })
        .await;
        server.kill();
        until("the board says down again", down).await;
        stop.cancel();
    };
    tokio::join!(watching, story);
    timeout(Duration::from_secs(10), broker.close())
        .await
        .unwrap();
}
