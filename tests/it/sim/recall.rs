//! What becomes of a message after it was sent: recalls, who read it, reactions.

use std::time::Duration;

use nats_dingtalk::sim::{
    CallRefusal, EMOTION_PATH, EMOTION_RECALL_PATH, Fault, GROUP_READ_STATUS_PATH, GROUP_SEND_PATH,
    Message, READ_STATUS_PATH, RECALL_GROUP_PATH, RECALL_USER_PATH, Sim, SimOptions,
    USER_SEND_PATH,
};
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    APP, Client, GROUP, OTHER, call, http, options, start, to_group, to_user, token, token_of,
};

async fn sent_to_user(sim: &Sim) -> String {
    let (_, answer) = call(sim, USER_SEND_PATH, &token(sim).await, to_user("one")).await;
    answer["processQueryKey"].as_str().unwrap().to_owned()
}

async fn sent_to_group(sim: &Sim) -> String {
    let (_, answer) = call(sim, GROUP_SEND_PATH, &token(sim).await, to_group("two")).await;
    answer["processQueryKey"].as_str().unwrap().to_owned()
}

fn of_user(keys: &[&str]) -> Value {
    json!({"robotCode": APP, "processQueryKeys": keys})
}

fn of_group(keys: &[&str]) -> Value {
    json!({"robotCode": APP, "openConversationId": GROUP, "processQueryKeys": keys})
}

async fn read_status(sim: &Sim, key: &str) -> (u16, Value) {
    let base = format!("{}{READ_STATUS_PATH}", sim.api_url());
    let query = [("robotCode", APP), ("processQueryKey", key)];
    let answer = http()
        .get(Url::parse_with_params(&base, query).unwrap())
        .header("x-acs-dingtalk-access-token", token(sim).await)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_recalled_message_is_no_longer_visible_in_either_kind_of_chat() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let (user, group) = (sent_to_user(&sim).await, sent_to_group(&sim).await);
    assert_eq!(sim.visible().len(), 2);
    for (path, body, key) in [
        (RECALL_USER_PATH, of_user(&[&user]), &user),
        (RECALL_GROUP_PATH, of_group(&[&group]), &group),
    ] {
        let (status, answer) = call(&sim, path, &token, body).await;
        assert_eq!(
            (status, answer),
            (200, json!({"successResult": [key], "failedResult": {}}))
        );
    }
    assert!(sim.visible().is_empty());
    assert!(sim.delivered().iter().all(|sent| sent.recalled));
    let (_, status) = read_status(&sim, &user).await;
    assert_eq!(status["sendStatus"], "RECALLED");
}

#[tokio::test]
async fn a_key_of_another_chat_or_none_fails_inside_the_success() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let (user, group) = (sent_to_user(&sim).await, sent_to_group(&sim).await);
    let body = of_user(&[&group, "none", &user]);
    let (status, answer) = call(&sim, RECALL_USER_PATH, &token, body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["successResult"], json!([user]));
    let reason = json!("invalid.processQueryKey");
    assert_eq!(
        answer["failedResult"],
        json!({group.as_str(): reason, "none": reason})
    );
    let mut elsewhere = of_group(&[&group]);
    elsewhere["openConversationId"] = json!("cidElsewhere==");
    let (_, answer) = call(&sim, RECALL_GROUP_PATH, &token, elsewhere).await;
    assert_eq!(answer["failedResult"], json!({group.as_str(): reason}));
    assert_eq!(sim.visible().len(), 1);
}

#[tokio::test]
async fn a_recall_is_for_the_robot_that_sent_and_only_for_a_day() {
    let sim = start(SimOptions {
        key_life: Duration::ZERO,
        ..options()
    })
    .await;
    let own = token(&sim).await;
    let key = sent_to_user(&sim).await;
    let (_, answer) = call(&sim, RECALL_USER_PATH, &own, of_user(&[&key])).await;
    assert_eq!(
        answer["failedResult"],
        json!({key.as_str(): "robot.processQueryKey.expired"})
    );
    let other = token_of(&sim, OTHER, "secret-2").await;
    let foreign = json!({"robotCode": OTHER, "processQueryKeys": [key]});
    let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let keys = "invalidParameter.processQueryKey";
    for (token, body, code) in [
        (&other, foreign, "not.allowed.robotCode".to_owned()),
        (
            &own,
            json!({"processQueryKeys": ["x"]}),
            "invalidParameter.robotCode".to_owned(),
        ),
        (&own, json!({"robotCode": APP}), format!("{keys}.missing")),
        (&own, of_user(&[]), format!("{keys}.missing")),
        (
            &own,
            json!({"robotCode": APP, "processQueryKeys": "x"}),
            "invalidParameter.param.invalid".to_owned(),
        ),
        (
            &own,
            json!({"robotCode": APP, "processQueryKeys": many}),
            format!("{keys}s.overMax"),
        ),
    ] {
        let (status, answer) = call(&sim, RECALL_USER_PATH, token, body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)));
    }
    assert_eq!(sim.visible().len(), 1);
}

#[tokio::test]
async fn the_read_status_names_who_read_and_who_did_not() {
    let sim = start(options()).await;
    let mut body = to_user("one");
    body["userIds"] = json!(["a", "b"]);
    let (_, answer) = call(&sim, USER_SEND_PATH, &token(&sim).await, body).await;
    let key = answer["processQueryKey"].as_str().unwrap();
    sim.read(key, "b").unwrap();
    let (status, answer) = read_status(&sim, key).await;
    assert_eq!((status, &answer["sendStatus"]), (200, &json!("SUCCESS")));
    assert_eq!(
        answer["messageReadInfoList"],
        json!([
            {"name": "a", "userId": "a", "readStatus": "UNREAD"},
            {"name": "b", "userId": "b", "readStatus": "READ"},
        ])
    );
    let (status, answer) = read_status(&sim, "none").await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("invalid.processQueryKey"))
    );
    assert!(sim.read("none", "a").is_err());
}

#[tokio::test]
async fn a_read_status_is_not_there_at_once_when_the_options_say_so() {
    let sim = start(SimOptions {
        read_status_after: Duration::from_secs(3600),
        ..options()
    })
    .await;
    let key = sent_to_user(&sim).await;
    let (status, answer) = read_status(&sim, &key).await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("processQueryKey.expireTime"))
    );
}

#[tokio::test]
async fn the_readers_of_a_group_come_in_pages() {
    let sim = start(SimOptions {
        union_ids: vec![("uA".to_owned(), "a".to_owned())],
        ..options()
    })
    .await;
    let token = token(&sim).await;
    let key = sent_to_group(&sim).await;
    for user in ["a", "b", "c"] {
        sim.read(&key, user).unwrap();
    }
    let query = |more: Value| {
        let mut body = json!({"robotCode": APP, "openConversationId": GROUP,
                              "processQueryKey": key, "maxResults": 2});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let (_, first) = call(&sim, GROUP_READ_STATUS_PATH, &token, query(json!({}))).await;
    assert_eq!(
        (&first["readUserIds"], &first["hasMore"]),
        (&json!(["a", "b"]), &json!(true))
    );
    assert_eq!(
        first["readUsers"][0],
        json!({"userId": "a", "unionId": "uA"})
    );
    let next = query(json!({"nextToken": first["nextToken"]}));
    let (_, second) = call(&sim, GROUP_READ_STATUS_PATH, &token, next).await;
    assert_eq!(
        (&second["readUserIds"], &second["hasMore"]),
        (&json!(["c"]), &json!(false))
    );
    assert!(second.get("nextToken").is_none());
    for (more, code) in [
        (json!({"nextToken": "?"}), "invalidParameter.cursor.invalid"),
        (
            json!({"maxResults": 201}),
            "invalidParameter.pageSize.invalid",
        ),
        (
            json!({"maxResults": 0}),
            "invalidParameter.pageSize.invalid",
        ),
        (json!({"openConversationId": ""}), "miss.openConversationId"),
        (
            json!({"openConversationId": "cidX=="}),
            "openConversationId.notExisted",
        ),
        (
            json!({"processQueryKey": "none"}),
            "invalid.processQueryKey",
        ),
    ] {
        let (status, answer) = call(&sim, GROUP_READ_STATUS_PATH, &token, query(more)).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)));
    }
}

#[tokio::test]
async fn a_reaction_is_set_once_and_taken_back_by_the_same_values() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim
        .say(APP, Message::in_group(GROUP, "u1", "hi"))
        .await
        .unwrap();
    client.frame().await;
    let body = json!({
        "robotCode": APP, "openMsgId": msg_id, "openConversationId": GROUP,
        "emotionType": 2, "emotionName": "🤔思考中",
        "textEmotion": {"emotionId": "2659900", "emotionName": "🤔思考中", "text": "🤔思考中",
                        "backgroundId": "im_bg_1"},
    });
    let race = Fault::Refuse {
        path: EMOTION_PATH.to_owned(),
        how: CallRefusal::TooNew,
        times: Some(1),
    };
    sim.inject(race).await.unwrap();
    let (status, answer) = call(&sim, EMOTION_PATH, &token, body.clone()).await;
    assert_eq!((status, &answer["code"]), (400, &json!("system.err")));
    for _ in 0..2 {
        let (status, answer) = call(&sim, EMOTION_PATH, &token, body.clone()).await;
        assert_eq!((status, answer), (200, json!({"success": true})));
    }
    let shown = sim.emotions();
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].msg_id.as_str(), shown[0].text.as_str()),
        (msg_id.as_str(), "🤔思考中")
    );
    assert!(shown[0].recalled_at.is_none());
    for success in [true, false] {
        let (_, answer) = call(&sim, EMOTION_RECALL_PATH, &token, body.clone()).await;
        assert_eq!(answer, json!({"success": success}));
    }
    assert!(sim.emotions()[0].recalled_at.is_some());
    let mut elsewhere = body.clone();
    elsewhere["openConversationId"] = json!("cidElsewhere==");
    let (status, answer) = call(&sim, EMOTION_PATH, &token, elsewhere).await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("invalid.openConversationId"))
    );
    let mut unknown = body.clone();
    unknown["openMsgId"] = json!("msgNone==");
    let (status, answer) = call(&sim, EMOTION_PATH, &token, unknown).await;
    assert_eq!((status, &answer["code"]), (400, &json!("system.err")));
}

#[tokio::test]
async fn a_person_can_read_and_watch_what_stays_over_http() {
    let sim = start(options()).await;
    let key = sent_to_user(&sim).await;
    let (status, _) = call(
        &sim,
        "/sim/read",
        "",
        json!({"key": key, "user": "manager1"}),
    )
    .await;
    assert_eq!(status, 200);
    let (status, _) = call(&sim, "/sim/read", "", json!({"key": "none", "user": "a"})).await;
    assert_eq!(status, 404);
    let look = async |what: &str| -> Value {
        let url = format!("{}/sim/{what}", sim.api_url());
        http().get(url).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(look("visible").await[0]["read_by"], json!(["manager1"]));
    call(&sim, RECALL_USER_PATH, &token(&sim).await, of_user(&[&key])).await;
    assert_eq!(look("visible").await, json!([]));
    assert_eq!(look("sent").await[0]["recalled"], true);
    assert_eq!(look("emotions").await, json!([]));
}
