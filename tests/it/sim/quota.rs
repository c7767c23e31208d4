//! The month of an app, the mute of a custom robot, and whose unionId it is.

use std::time::Duration;

use nats_dingtalk::sim::{
    CUSTOM_ROBOT_PATH, CustomRobot, Fault, GROUP_SEND_PATH, MEDIA_UPLOAD_PATH, Message, Sim,
    SimOptions, UNION_ID_PATH, USER_SEND_PATH,
};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{
    APP, Client, GROUP, OTHER, call, data, http, options, start, to_group, to_user, token, token_of,
};
use crate::support::wait::{never, until_true};

const ROBOT: &str = "custom-token";

async fn custom_robot(options: SimOptions) -> Sim {
    start(SimOptions {
        custom_robots: vec![CustomRobot {
            access_token: ROBOT.to_owned(),
            group: GROUP.to_owned(),
            secret: None,
            keywords: vec!["警报".to_owned()],
        }],
        ..options
    })
    .await
}

/// Posts a text to the custom robot; returns the errcode.
async fn post(sim: &Sim, text: &str, uuid: Option<&str>) -> i64 {
    let path = format!("{CUSTOM_ROBOT_PATH}?access_token={ROBOT}");
    let mut body = json!({"msgtype": "text", "text": {"content": text}});
    if let Some(uuid) = uuid {
        body["msgUuid"] = json!(uuid);
    }
    let (status, answer) = call(sim, &path, "", body).await;
    assert_eq!(status, 200);
    answer["errcode"].as_i64().unwrap()
}

async fn upload(sim: &Sim, token: &str) -> Value {
    let part = Part::bytes(vec![1]).file_name("a.pdf");
    let url = format!(
        "{}{MEDIA_UPLOAD_PATH}?access_token={token}&type=file",
        sim.oapi_url()
    );
    let form = Form::new().part("media", part);
    let answer = http().post(url).multipart(form).send().await.unwrap();
    answer.json().await.unwrap()
}

async fn user_of(sim: &Sim, token: &str, union_id: &str) -> Value {
    let path = format!("{UNION_ID_PATH}?access_token={token}");
    call(sim, &path, "", json!({"unionid": union_id})).await.1
}

#[tokio::test]
async fn a_used_up_month_refuses_billed_calls_in_both_families_until_it_turns() {
    let sim = start(SimOptions {
        quota: Some(2),
        ..options()
    })
    .await;
    let own = token(&sim).await;
    assert_eq!(call(&sim, USER_SEND_PATH, &own, to_user("1")).await.0, 200);
    assert_eq!(upload(&sim, &own).await["errcode"], 0);
    let (status, answer) = call(&sim, GROUP_SEND_PATH, &own, to_group("2")).await;
    assert_eq!(
        (status, &answer["code"]),
        (403, &json!("Forbidden.AccessDenied.ApiCountLimitForOrg"))
    );
    assert_eq!(upload(&sim, &own).await["errcode"], 90020);
    assert_eq!((sim.billed(APP), sim.billed(OTHER)), (2, 0));
    let other = token_of(&sim, OTHER, "secret-2").await;
    let mut body = to_user("1");
    body["robotCode"] = json!(OTHER);
    assert_eq!(call(&sim, USER_SEND_PATH, &other, body).await.0, 200);
    assert_eq!(call(&sim, "/sim/month", "", json!({})).await.0, 200);
    assert_eq!(call(&sim, USER_SEND_PATH, &own, to_user("3")).await.0, 200);
    assert_eq!(sim.billed(APP), 1);
}

#[tokio::test]
async fn the_month_of_webhooks_is_counted_apart() {
    let sim = start(SimOptions {
        webhook_quota: Some(1),
        quota: Some(0),
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    sim.say(APP, Message::to_bot("u1", "hi")).await.unwrap();
    let frame = client.frame().await;
    let webhook = data(&frame)["sessionWebhook"].as_str().unwrap().to_owned();
    let body = json!({"msgtype": "text", "text": {"content": "yes"}});
    for errcode in [0, 90030] {
        let answer = http().post(&webhook).json(&body).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["errcode"], errcode);
    }
    assert_eq!((sim.webhook_billed(APP), sim.billed(APP)), (1, 0));
    sim.turn_month();
    assert_eq!(sim.webhook_billed(APP), 0);
}

#[tokio::test]
async fn tokens_contacts_and_refused_rates_are_not_billed() {
    let sim = start(SimOptions {
        quota: Some(1),
        calls_per_second: Some(1),
        union_ids: vec![("uA".to_owned(), "a".to_owned())],
        ..options()
    })
    .await;
    let token = token(&sim).await;
    assert_eq!(user_of(&sim, &token, "uA").await["result"]["userid"], "a");
    assert_eq!(sim.billed(APP), 0);
    call(&sim, USER_SEND_PATH, &token, to_user("1")).await;
    let (_, answer) = call(&sim, USER_SEND_PATH, &token, to_user("2")).await;
    assert_eq!(
        answer["code"],
        "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
    );
    assert_eq!(sim.billed(APP), 1);
}

#[tokio::test]
async fn a_union_id_is_answered_with_legacy_errors_in_status_200() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    sim.set_union_id("uA", "a");
    let (status, _) = call(
        &sim,
        "/sim/union",
        "",
        json!({"unionid": "uB", "user": "b"}),
    )
    .await;
    assert_eq!(status, 200);
    for (union_id, user) in [("uA", "a"), ("uB", "b")] {
        let answer = user_of(&sim, &token, union_id).await;
        assert_eq!(answer["errcode"], 0);
        assert_eq!(answer["result"], json!({"contact_type": 0, "userid": user}));
    }
    for (token, union_id, errcode) in [
        (token.as_str(), "uNone", 60121),
        (token.as_str(), "", 40035),
        ("wrong", "uA", 40014),
    ] {
        assert_eq!(user_of(&sim, token, union_id).await["errcode"], errcode);
    }
}

#[tokio::test]
async fn a_custom_robot_is_muted_by_its_twenty_first_post() {
    let sim = custom_robot(SimOptions {
        mute_for: Duration::from_millis(400),
        ..options()
    })
    .await;
    for n in 0..20 {
        assert_eq!(post(&sim, &format!("警报 {n}"), None).await, 0);
    }
    assert_eq!(post(&sim, "警报", None).await, 130_101);
    assert_eq!(post(&sim, "警报", None).await, 130_101);
    sim.clear_faults();
    assert_eq!(
        post(&sim, "警报", None).await,
        130_101,
        "the minute is not over"
    );
    assert_eq!(sim.delivered().len(), 20);
}

#[tokio::test]
async fn a_mute_ends_on_time_unless_posts_are_told_to_extend_it() {
    for extends in [false, true] {
        let sim = custom_robot(SimOptions {
            mute_for: Duration::from_secs(60),
            mute_extends: extends,
            ..options()
        })
        .await;
        let mute = Fault::Mute {
            app: ROBOT.to_owned(),
            ms: Some(1000),
        };
        sim.inject(mute).await.unwrap();
        assert_eq!(post(&sim, "警报", None).await, 130_101);
        if extends {
            let span = Duration::from_millis(1300);
            never(span, "a post went out", async || {
                post(&sim, "警报", None).await == 0
            })
            .await;
        } else {
            until_true("the end of the mute", async || {
                post(&sim, "警报", None).await == 0
            })
            .await;
        }
        let unmute = Fault::Unmute {
            app: ROBOT.to_owned(),
        };
        sim.inject(unmute).await.unwrap();
        assert_eq!(post(&sim, "警报", None).await, 0);
    }
}

#[tokio::test]
async fn the_span_in_which_posts_count_can_be_shortened() {
    let sim = custom_robot(SimOptions {
        webhook_span: Duration::ZERO,
        ..options()
    })
    .await;
    for n in 0..30 {
        assert_eq!(post(&sim, &format!("警报 {n}"), None).await, 0);
    }
}

#[tokio::test]
async fn a_repeated_uuid_is_answered_and_not_shown_and_keywords_stand_in_the_text() {
    let sim = custom_robot(options()).await;
    assert_eq!(post(&sim, "警报", Some("id-1")).await, 0);
    assert_eq!(post(&sim, "警报", Some("id-1")).await, 0);
    assert_eq!(sim.delivered().len(), 1);
    assert_eq!(post(&sim, "没事", Some("警报")).await, 310_000);
    assert_eq!(post(&sim, &"警报".repeat(3400), None).await, 460_101);
}
