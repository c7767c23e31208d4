//! Accounts of kind `webhook`: alerting through a custom robot, without an app.

use std::time::Duration;

use nats_dingtalk::message::Secret;
use nats_dingtalk::sim::{CUSTOM_ROBOT_PATH, CustomRobot, Fault, SentVia};
use serde_json::json;

use crate::support::wait;
use crate::support::world::{World, options};

/// Access token of the robot: a secret.
const TOKEN: &str = "canary-robot-token-7a1d";
/// Key of its signature: a secret.
const SIGN: &str = "SECcanary0000000000000000000000000000000000000000000000000000000";

async fn world(keywords: &[&str]) -> World {
    let robot = CustomRobot {
        access_token: TOKEN.into(),
        group: "cidAlerts==".into(),
        secret: Some(Secret::new(SIGN)),
        keywords: keywords.iter().map(|&word| word.to_owned()).collect(),
    };
    let mut options = options();
    options.custom_robots = vec![robot];
    let listed = serde_json::to_string(keywords).unwrap();
    World::start_with(options, |setup| {
        let url = setup.dingtalk_url().to_owned();
        setup.extra(&format!(
            "[accounts.alerts]\nkind = \"webhook\"\nwebhook_url = \"{url}/robot/send?access_token={TOKEN}\"\nwebhook_secret = \"{SIGN}\"\nkeywords = {listed}"
        ))
    })
    .await
}

#[tokio::test]
async fn an_alert_needs_no_target_and_is_signed() {
    let world = world(&[]).await;
    let body = json!({"id": "a1", "markdown": {"title": "down", "text": "**db1** is down"}});
    world.request("dingtalk.outbound.alerts", &body).await;
    let receipt = world.receipt("a1").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    assert_eq!(receipt["via"], "webhook");
    assert_eq!(receipt["subject"], "dingtalk.outbound.alerts.group.robot");
    let sent = world.sim.delivered();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].via, SentVia::CustomRobot);
    assert_eq!(sent[0].text(), "**db1** is down");
    assert!(sent[0].msg_param["msgUuid"].is_string());
    let log = world.bridge.log();
    for secret in [TOKEN, SIGN] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_nobody_sees_it_twice() {
    let world = world(&[]).await;
    let lost = Fault::ApplyThenCut {
        path: CUSTOM_ROBOT_PATH.into(),
        times: Some(2),
    };
    world.sim.inject(lost).await.unwrap();
    let body = json!({"id": "once", "text": "disk full"});
    world
        .request("dingtalk.outbound.alerts.group.robot", &body)
        .await;
    let receipt = world.receipt("once").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    assert!(receipt["attempts"].as_u64().unwrap() > 1, "{receipt}");
    assert_eq!(world.sim.delivered().len(), 1);
}

#[tokio::test]
async fn what_a_robot_cannot_say_is_refused_before_the_call_with_the_cure() {
    let world = world(&["alert"]).await;
    let robot = "dingtalk.outbound.alerts.group.robot";
    for (id, subject, body, cure) in [
        ("k", robot, json!({"text": "all is well"}), "alert"),
        (
            "t",
            "dingtalk.outbound.alerts.user.manager1",
            json!({"text": "alert"}),
            "own group",
        ),
        (
            "b",
            "dingtalk.outbound.alerts",
            json!({"to": "user:manager1", "text": "alert"}),
            "leave `to` out",
        ),
        (
            "f",
            robot,
            json!({"file": {"media_id": "@x", "name": "a.pdf"}}),
            "markdown",
        ),
        ("c", robot, json!({"card": {"create": {}}}), "no cards"),
    ] {
        let mut body = body;
        body["id"] = json!(id);
        world.request(subject, &body).await;
        let receipt = world.receipt(id).await;
        assert_eq!(receipt["outcome"], "failed", "{receipt}");
        let words = receipt["message"].as_str().unwrap();
        assert!(words.contains(cure), "{words}");
    }
    assert_eq!(world.sim.calls_of(CUSTOM_ROBOT_PATH).len(), 0);
}

#[tokio::test]
async fn a_long_message_needs_a_keyword_in_each_part_or_nothing_of_it_is_posted() {
    let world = world(&["alert"]).await;
    let robot = "dingtalk.outbound.alerts.group.robot";
    let long = "a line of a long report\n".repeat(1000);
    let begun = format!("alert\n{long}");
    for (id, body) in [
        ("text", json!({"text": begun})),
        (
            "markdown",
            json!({"markdown": {"title": "report", "text": begun}}),
        ),
    ] {
        let mut body = body;
        body["id"] = json!(id);
        world.request(robot, &body).await;
        let receipt = world.receipt(id).await;
        assert_eq!(receipt["outcome"], "failed", "{receipt}");
        let words = receipt["message"].as_str().unwrap();
        assert!(words.contains("part 2 of"), "{words}");
        assert!(words.contains("title"), "{words}");
    }
    assert_eq!(world.sim.calls_of(CUSTOM_ROBOT_PATH).len(), 0);
    let titled = json!({"id": "titled", "markdown": {"title": "alert", "text": long}});
    world.request(robot, &titled).await;
    let receipt = world.receipt("titled").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    assert!(world.sim.delivered().len() > 1);
}

#[tokio::test]
async fn an_action_card_whose_buttons_leave_no_room_for_its_text_is_refused_with_the_cure() {
    let world = world(&[]).await;
    let url = format!("https://x.example/{}", "u".repeat(3900));
    let button = json!({"title": "open", "url": url});
    let card = json!({
        "title": "report",
        "text": "a line of a long report\n".repeat(200),
        "buttons": vec![button; 5],
    });
    let body = json!({"id": "narrow", "action_card": card});
    world.request("dingtalk.outbound.alerts", &body).await;
    let receipt = world.receipt("narrow").await;
    assert_eq!(receipt["outcome"], "failed", "{receipt}");
    let words = receipt["message"].as_str().unwrap();
    assert!(words.contains("shorten the URLs"), "{words}");
    assert_eq!(world.sim.calls_of(CUSTOM_ROBOT_PATH).len(), 0);
}

#[tokio::test]
async fn the_mute_never_comes_and_order_holds() {
    let mut options = options();
    options.custom_robots = vec![CustomRobot {
        access_token: TOKEN.into(),
        group: "cidAlerts==".into(),
        secret: None,
        keywords: Vec::new(),
    }];
    let world = World::start_with(options, |setup| {
        let url = setup.dingtalk_url().to_owned();
        setup.extra(&format!(
            "[accounts.alerts]\nkind = \"webhook\"\nwebhook_url = \"{url}/robot/send?access_token={TOKEN}\""
        ))
    })
    .await;
    for n in 0..25 {
        let body = json!({"id": format!("m{n}"), "text": n.to_string()});
        world.request("dingtalk.outbound.alerts", &body).await;
    }
    wait::until_true("the first minute's posts", || async {
        world.sim.delivered().len() >= 20
    })
    .await;
    // The rest waits for the minute to pass; another post now would bring the mute.
    let quiet = world
        .sim
        .wait_within(Duration::from_secs(3), "a post too many", |sim| {
            (sim.delivered().len() > 20).then_some(())
        });
    assert!(quiet.await.is_err(), "a post too many");
    let said: Vec<String> = world
        .sim
        .delivered()
        .iter()
        .map(|sent| sent.text().to_owned())
        .collect();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(said, expected);
    let refused = world.sim.sent().len() - said.len();
    assert_eq!(refused, 0, "nothing was refused");
}
