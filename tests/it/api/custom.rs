//! Custom robots: signed posts with an idempotency key, to one group.

use std::time::Duration;

use nats_dingtalk::dingtalk::api::{
    Api, CustomRobot, ErrorClass, Http, Recipient, Shipment, ShipmentBody, render_webhook,
};
use nats_dingtalk::message::{AccountName, Mentions, Priority, Secret};
use nats_dingtalk::sim::{CUSTOM_ROBOT_PATH, CustomRobot as SimRobot, Fault, Sim, SimOptions};
use nats_dingtalk::telemetry::Metrics;

use super::{billed, ship, soon, text, user};
use crate::sim::{GROUP, options, start};
use crate::support::sections;

async fn sim(keywords: &[&str]) -> Sim {
    start(SimOptions {
        custom_robots: vec![SimRobot {
            access_token: "CANARY-TOKEN".to_owned(),
            group: GROUP.to_owned(),
            secret: Some(Secret::new("SEC-CANARY")),
            keywords: keywords.iter().map(|&word| word.to_owned()).collect(),
        }],
        ..options()
    })
    .await
}

fn robot(sim: &Sim, token: &str, secret: &str) -> (Api, Metrics) {
    let dingtalk = sections::dingtalk(sim, Duration::from_secs(1));
    let url = format!("{}{CUSTOM_ROBOT_PATH}?access_token={token}", sim.oapi_url());
    let robot = CustomRobot {
        url: Secret::new(url),
        sign_secret: Some(Secret::new(secret)),
    };
    let metrics = Metrics::new();
    let name = AccountName::parse("sales").unwrap();
    let http = Http::new(&dingtalk).unwrap();
    let api = Api::custom_robot(http, &dingtalk, name, robot, metrics.clone());
    (api, metrics)
}

fn post(words: &str, msg_uuid: &str) -> Shipment {
    let bodies = render_webhook(&text(words), &Mentions::default());
    Shipment {
        recipient: Recipient::CustomRobot {
            msg_uuid: msg_uuid.to_owned(),
        },
        body: bodies.unwrap().remove(0),
    }
}

#[tokio::test]
async fn a_signed_post_reaches_the_group_and_its_key_shows_it_once() {
    let sim = sim(&[]).await;
    let (api, metrics) = robot(&sim, "CANARY-TOKEN", "SEC-CANARY");
    ship(&api, &post("hello", "uuid-1")).await.unwrap();
    let fault = Fault::ApplyThenHold {
        path: CUSTOM_ROBOT_PATH.to_owned(),
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    let lost = ship(&api, &post("again", "uuid-2")).await.unwrap_err();
    assert_eq!(lost.class, ErrorClass::Ambiguous);
    ship(&api, &post("again", "uuid-2")).await.unwrap();
    let delivered = sim.delivered();
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|sent| sent.to == [GROUP]));
    let text = metrics.encode();
    assert!(
        text.contains(r#"family="custom_robot",outcome="accepted"} 2"#),
        "{text}"
    );
    assert_eq!(billed(&metrics), 3);
}

#[tokio::test]
async fn a_stale_signature_is_made_once_more() {
    let sim = sim(&[]).await;
    let (api, _) = robot(&sim, "CANARY-TOKEN", "SEC-CANARY");
    let stale = |times| Fault::Reject {
        path: CUSTOM_ROBOT_PATH.to_owned(),
        status: 200,
        body: r#"{"errcode":310000,"errmsg":"invalid timestamp"}"#.to_owned(),
        times: Some(times),
    };
    sim.inject(stale(1)).await.unwrap();
    ship(&api, &post("hello", "uuid-1")).await.unwrap();
    sim.inject(stale(2)).await.unwrap();
    let error = ship(&api, &post("hello", "uuid-2")).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
    assert!(error.cure.unwrap().contains("clock"));
    assert_eq!(sim.calls_of(CUSTOM_ROBOT_PATH).len(), 4);
}

#[tokio::test]
async fn what_concerns_every_post_parks_and_what_concerns_one_does_not() {
    let sim = sim(&["alarm"]).await;
    let (api, _) = robot(&sim, "CANARY-TOKEN", "SEC-CANARY");
    let error = ship(&api, &post("hello", "u")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    ship(&api, &post("alarm", "u")).await.unwrap();
    for (token, secret) in [
        ("CANARY-TOKEN", "SEC-WRONG-CANARY"),
        ("WRONG-CANARY", "SEC-CANARY"),
    ] {
        let (api, _) = robot(&sim, token, secret);
        let error = ship(&api, &post("alarm", "u2")).await.unwrap_err();
        assert!(matches!(error.class, ErrorClass::Park(_)), "{error:?}");
        assert!(error.cure.is_some());
        let shown = format!("{error:?} {error} {api:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[tokio::test]
async fn a_mute_is_a_wait() {
    let sim = sim(&[]).await;
    let (api, _) = robot(&sim, "CANARY-TOKEN", "SEC-CANARY");
    for errcode in [130_101, 302_033, 410_100] {
        let (api, _) = robot(&sim, "CANARY-TOKEN", "SEC-CANARY");
        let fault = Fault::Reject {
            path: CUSTOM_ROBOT_PATH.to_owned(),
            status: 200,
            body: format!(r#"{{"errcode":{errcode},"errmsg":"send too fast"}}"#),
            times: Some(1),
        };
        sim.inject(fault).await.unwrap();
        let error = ship(&api, &post("x", "u")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::RetryAfter(Duration::from_secs(60)));
    }
    // A burst of a whole minute's posts does not wait and is not muted.
    for number in 0..20 {
        let uuid = format!("uuid-{number}");
        ship(&api, &post("x", &uuid)).await.unwrap();
    }
    assert_eq!(sim.delivered().len(), 20);
}

#[tokio::test]
async fn a_robot_without_an_app_says_so_and_leads_nowhere_else() {
    let sim = sim(&[]).await;
    let (api, _) = robot(&sim, "CANARY-TOKEN", "SEC-CANARY");
    let error = api
        .prepare(&user("u1"), Priority::Normal)
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "no-app")
    );
    let error = api.download_url("x").await.unwrap_err();
    assert_eq!(error.code, "no-app");
    let crossed = Shipment {
        recipient: user("u1"),
        body: ShipmentBody::Webhook("{}".to_owned()),
    };
    assert_eq!(
        api.send(&crossed, soon()).await.unwrap_err().code,
        "shipment"
    );

    let dingtalk = sections::dingtalk(&sim, Duration::from_secs(1));
    let elsewhere = CustomRobot {
        url: Secret::new("https://oapi.dingtalk.com.evil.example/robot/send?access_token=CANARY"),
        sign_secret: None,
    };
    let name = AccountName::parse("sales").unwrap();
    let http = Http::new(&dingtalk).unwrap();
    let api = Api::custom_robot(http, &dingtalk, name, elsewhere, Metrics::new());
    let error = ship(&api, &post("x", "u")).await.unwrap_err();
    assert_eq!(error.code, "webhook-host");
    assert!(!format!("{error:?} {api:?}").contains("CANARY"));
    assert!(sim.calls_of(CUSTOM_ROBOT_PATH).is_empty());
}
