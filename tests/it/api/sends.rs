//! Sends to people and groups.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use nats_dingtalk::config;
use nats_dingtalk::dingtalk::api::{
    Api, ErrorClass, Http, Recipient, Shipment, ShipmentBody, render_robot,
};
use nats_dingtalk::message::{
    AccountName, ActionButton, ActionCard, Content, Layout, Link, Markdown,
};
use nats_dingtalk::sim::{Fault, Sim, SimApp, SimOptions};
use nats_dingtalk::telemetry::Metrics;

use super::ship;
use crate::support::sections;

const BATCH: &str = "/v1.0/robot/oToMessages/batchSend";
const GROUP: &str = "/v1.0/robot/groupMessages/send";

async fn sim() -> Sim {
    let options = SimOptions {
        apps: vec![SimApp::new("dingapp", "s3cr3t")],
        users: Some(vec!["manager1".to_owned()]),
        ..SimOptions::default()
    };
    Sim::start(options).await.unwrap()
}

fn api(sim: &Sim, rate: u32, secret: &str) -> Api {
    let dingtalk = sections::dingtalk(sim, Duration::from_secs(1));
    let account = config::Account {
        rate: NonZeroU32::new(rate).unwrap(),
        ..sections::account("dingapp", secret)
    };
    let name = AccountName::parse("sales").unwrap();
    let http = Http::new(&dingtalk).unwrap();
    Api::new(http, &dingtalk, name, &account, Metrics::new())
}

fn to_user(user: &str, body: ShipmentBody) -> Shipment {
    Shipment {
        recipient: Recipient::Users(vec![user.to_owned()]),
        body,
    }
}

fn hello(user: &str) -> Shipment {
    to_user(
        user,
        render_robot(&Content::Text("hello".to_owned())).remove(0),
    )
}

#[tokio::test]
async fn every_rendered_form_is_accepted_by_users_and_groups() {
    let sim = sim().await;
    let api = api(&sim, 20, "s3cr3t");
    let card = |buttons: u32, layout| {
        Content::ActionCard(ActionCard {
            title: "t".to_owned(),
            text: "x".to_owned(),
            buttons: (0..buttons)
                .map(|number| ActionButton {
                    title: number.to_string(),
                    url: "https://x.example".to_owned(),
                })
                .collect(),
            layout,
        })
    };
    let mut contents = vec![
        Content::Text("字\"\\\n".repeat(4000)),
        Content::Markdown(Markdown {
            title: None,
            text: format!("```rust\n{}```", "let x = \"字\";\n".repeat(400)),
        }),
        Content::Link(Link {
            title: "t".to_owned(),
            text: "x".to_owned(),
            message_url: "https://x.example".to_owned(),
            pic_url: None,
        }),
        card(2, Layout::Horizontal),
    ];
    contents.extend((1..=5).map(|buttons| card(buttons, Layout::Vertical)));
    let mut sent = 0;
    for body in contents.iter().flat_map(render_robot) {
        let group = Shipment {
            recipient: Recipient::Group("cidA+/b==".to_owned()),
            body: body.clone(),
        };
        for shipment in [to_user("manager1", body), group] {
            let accepted = ship(&api, &shipment).await.unwrap();
            assert!(accepted.process_query_key.is_some());
            assert!(accepted.refused_users.is_empty());
            sent += 1;
        }
    }
    assert_eq!(sim.delivered().len(), sent);
}

#[tokio::test]
async fn an_unknown_user_is_refused_inside_the_acceptance_and_a_wrong_secret_parks() {
    let sim = sim().await;
    let accepted = ship(&api(&sim, 20, "s3cr3t"), &hello("nobody"))
        .await
        .unwrap();
    assert_eq!(accepted.refused_users, ["nobody"]);
    let error = ship(&api(&sim, 20, "wrong"), &hello("manager1"))
        .await
        .unwrap_err();
    assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
    assert!(error.cure.is_some());
}

#[tokio::test]
async fn a_call_that_may_have_been_applied_is_never_called_unsent() {
    let sim = sim().await;
    let api = api(&sim, 20, "s3cr3t");
    let (path, times) = (BATCH.to_owned(), Some(1));
    let faults = [
        Fault::ApplyThenHold {
            path: path.clone(),
            times,
        },
        Fault::ApplyThenCut {
            path: path.clone(),
            times,
        },
        Fault::ApplyThenFail {
            path: path.clone(),
            times,
            status: 500,
        },
        Fault::ApplyThenFail {
            path: path.clone(),
            times,
            status: 504,
        },
        Fault::CutCall {
            path: path.clone(),
            times,
        },
        Fault::Hold { path, times },
    ];
    for fault in faults {
        let shown = format!("{fault:?}");
        sim.inject(fault).await.unwrap();
        let error = ship(&api, &hello("manager1")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Ambiguous, "{shown}: {error:?}");
    }
    ship(&api, &hello("manager1")).await.unwrap();
}

#[tokio::test]
async fn the_default_pace_is_never_refused_and_a_wrong_one_is_learned() {
    let sim = sim().await;
    let right = api(&sim, 20, "s3cr3t");
    let start = Instant::now();
    for _ in 0..50 {
        ship(&right, &hello("manager1")).await.unwrap();
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );

    let wrong = api(&sim, 60, "s3cr3t");
    let group = Shipment {
        recipient: Recipient::Group("cidA+/b==".to_owned()),
        ..hello("manager1")
    };
    let (mut sent, mut refused) = (0, 0);
    while sent < 60 {
        match ship(&wrong, &group).await {
            Ok(_) => sent += 1,
            Err(error) => {
                assert!(
                    matches!(error.class, ErrorClass::RetryAfter(_)),
                    "{error:?}"
                );
                refused += 1;
            }
        }
    }
    assert!((1..30).contains(&refused), "{refused}");
    assert_eq!(sim.calls_of(GROUP).len(), sent + refused);
}
