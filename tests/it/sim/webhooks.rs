//! Session webhooks and custom robots.

use nats_dingtalk::message::Secret;
use nats_dingtalk::sim::{
    CUSTOM_ROBOT_PATH, CustomRobot, Fault, Message, SentVia, SimOptions, USER_SEND_PATH,
    WEBHOOK_PATH,
};
use serde_json::json;

use super::{APP, Client, GROUP, call, data, options, start, to_user, token};

#[tokio::test]
async fn a_muted_robot_refuses_on_both_ways_until_it_is_unmuted() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.say(APP, Message::in_group(GROUP, "u", "x"))
        .await
        .unwrap();
    let webhook = data(&client.frame().await)["sessionWebhook"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = token(&sim).await;
    sim.inject(Fault::Mute {
        app: APP.to_owned(),
        ms: None,
    })
    .await
    .unwrap();
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("send.too.fast"))
    );
    let text = json!({"msgtype": "text", "text": {"content": "x"}});
    let path = webhook.strip_prefix(sim.oapi_url()).unwrap();
    let (status, answer) = call(&sim, path, "", text.clone()).await;
    assert_eq!((status, &answer["errcode"]), (200, &json!(130_101)));
    sim.inject(Fault::Unmute {
        app: APP.to_owned(),
    })
    .await
    .unwrap();
    assert_eq!(call(&sim, path, "", text).await.1["errcode"], 0);
}

#[tokio::test]
async fn a_session_webhook_answers_into_its_chat_until_it_expires() {
    let sim = start(SimOptions {
        webhooks_per_minute: Some(3),
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    sim.say(APP, Message::in_group(GROUP, "u", "x"))
        .await
        .unwrap();
    let body = data(&client.frame().await);
    let life =
        body["sessionWebhookExpiredTime"].as_i64().unwrap() - body["createAt"].as_i64().unwrap();
    assert!((5_399_000..5_401_000).contains(&life), "{life}");
    let path = body["sessionWebhook"]
        .as_str()
        .unwrap()
        .strip_prefix(sim.oapi_url())
        .unwrap()
        .to_owned();
    let text = |text: &str| json!({"msgtype": "text", "text": {"content": text}, "at": {"atUserIds": ["u"]}});
    assert_eq!(
        call(&sim, &path, "", text("hello")).await.1,
        json!({"errcode": 0, "errmsg": "ok"})
    );
    let sent = sim.delivered();
    assert_eq!(
        (sent[0].via, sent[0].text(), &sent[0].to[0]),
        (SentVia::Webhook, "hello", &GROUP.to_owned())
    );
    let long = text(&"x".repeat(20_001));
    assert_eq!(call(&sim, &path, "", long).await.1["errcode"], 460_101);
    assert_eq!(
        call(&sim, &path, "", json!({"msgtype": "voice"})).await.1["errcode"],
        400_105
    );
    assert_eq!(
        call(&sim, &path, "", text("over the limit")).await.1["errcode"],
        130_101
    );
    sim.inject(Fault::ExpireWebhook {
        app: APP.to_owned(),
    })
    .await
    .unwrap();
    let gone = call(&sim, &path, "", text("late")).await;
    assert_eq!(
        gone,
        (200, json!({"errcode": 300_001, "errmsg": "session 不存在"}))
    );
    let none = format!("{WEBHOOK_PATH}?session=none");
    assert_eq!(call(&sim, &none, "", text("x")).await.1["errcode"], 300_001);
}

#[tokio::test]
async fn a_custom_robot_wants_its_token_signature_and_keyword() {
    let robot = |token: &str, secret: Option<&str>, keywords: &[&str]| CustomRobot {
        access_token: token.to_owned(),
        group: GROUP.to_owned(),
        secret: secret.map(Secret::new),
        keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
    };
    let sim = start(SimOptions {
        custom_robots: vec![
            robot("open", None, &["alarm"]),
            robot("signed", Some("SECx"), &[]),
        ],
        ..options()
    })
    .await;
    let text = |text: &str, uuid: &str| json!({"msgtype": "text", "text": {"content": text}, "msgUuid": uuid});
    let path = |query: &str| format!("{CUSTOM_ROBOT_PATH}?{query}");
    for (query, body, errcode) in [
        ("access_token=none", text("alarm", "1"), 300_001),
        ("access_token=open", text("hello", "1"), 310_000),
        ("access_token=open", text("alarm", "1"), 0),
        ("access_token=open", text("alarm", "1"), 0),
        ("access_token=open", text("alarm", "2"), 0),
        ("access_token=signed", text("x", "1"), 310_000),
        (
            "access_token=signed&timestamp=1&sign=x",
            text("x", "1"),
            310_000,
        ),
    ] {
        let (status, answer) = call(&sim, &path(query), "", body).await;
        assert_eq!(
            (status, &answer["errcode"]),
            (200, &json!(errcode)),
            "{query}"
        );
    }
    let delivered = sim.delivered();
    assert_eq!(delivered.len(), 2, "one msgUuid is one message");
    assert_eq!(
        (delivered[0].via, &delivered[0].to[0]),
        (SentVia::CustomRobot, &GROUP.to_owned())
    );
    for n in 0..18 {
        let (_, answer) = call(
            &sim,
            &path("access_token=open"),
            "",
            text("alarm", &format!("n{n}")),
        )
        .await;
        assert_eq!(answer["errcode"], 0, "post {n}");
    }
    let (_, answer) = call(&sim, &path("access_token=open"), "", text("alarm", "over")).await;
    assert_eq!(answer["errcode"], 130_101);
}
