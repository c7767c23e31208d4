//! Recalls, read states, reactions and looking people up.

use std::time::Duration;

use nats_dingtalk::dingtalk::api::{ErrorClass, Person, Reaction, SentTo};
use nats_dingtalk::sim::{
    EMOTION_PATH, Fault, GROUP_READ_STATUS_PATH, Message, SimOptions, TokenFamilies, UNION_ID_PATH,
};

use super::{billed, client, group, sent, text, user};
use crate::sim::{APP, Client, GROUP, options, start};

#[tokio::test]
async fn messages_are_recalled_from_both_kinds_of_chat_and_failures_are_named() {
    let sim = start(options()).await;
    let (api, metrics) = client(&sim);
    let to_user = sent(&api, user("u1"), &text("one")).await;
    let to_group = sent(&api, group(GROUP), &text("two")).await;
    let keys = [to_user.clone(), "nobody".to_owned()];
    let recalled = api.recall(SentTo::Users, &keys).await.unwrap();
    assert_eq!(recalled.recalled, [to_user]);
    assert_eq!(recalled.failed["nobody"], "invalid.processQueryKey");
    let keys = [to_group.clone()];
    let recalled = api.recall(SentTo::Group(GROUP), &keys).await.unwrap();
    assert_eq!(recalled.recalled, [to_group]);
    assert!(recalled.failed.is_empty());
    assert!(sim.visible().is_empty());
    assert_eq!(billed(&metrics), 4);

    let many: Vec<String> = (0..21).map(|key| key.to_string()).collect();
    for keys in [&many[..], &[]] {
        let error = api.recall(SentTo::Users, keys).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent);
        assert_eq!(error.code, "recall-keys");
    }
}

#[tokio::test]
async fn readers_are_told_for_users_and_for_every_page_of_a_group() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let key = sent(&api, user("u1"), &text("one")).await;
    let status = api.read_status(SentTo::Users, &key).await.unwrap();
    assert_eq!(status.send_status, "SUCCESS");
    assert_eq!(
        (status.read.len(), status.unread),
        (0, vec!["u1".to_owned()])
    );
    sim.read(&key, "u1").unwrap();
    let status = api.read_status(SentTo::Users, &key).await.unwrap();
    assert_eq!(status.read, ["u1"]);

    let key = sent(&api, group(GROUP), &text("two")).await;
    let mut readers: Vec<String> = (0..450).map(|user| format!("u{user}")).collect();
    for reader in &readers {
        sim.read(&key, reader).unwrap();
    }
    let status = api.read_status(SentTo::Group(GROUP), &key).await.unwrap();
    readers.sort_unstable();
    assert_eq!(status.read, readers);
    assert_eq!(sim.calls_of(GROUP_READ_STATUS_PATH).len(), 3);
}

#[tokio::test]
async fn a_message_of_just_now_has_no_read_state_yet() {
    let sim = start(SimOptions {
        read_status_after: Duration::from_secs(3600),
        ..options()
    })
    .await;
    let (api, _) = client(&sim);
    let key = sent(&api, user("u1"), &text("one")).await;
    let error = api.read_status(SentTo::Users, &key).await.unwrap_err();
    assert_eq!(error.code, "processQueryKey.expireTime");
    assert!(
        matches!(error.class, ErrorClass::RetryAfter(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_reaction_is_set_once_and_taken_away() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let mut robot = Client::connect(&sim, APP).await;
    let said = Message::in_group(GROUP, "u1", "hi");
    let message_id = sim.say(APP, said).await.unwrap();
    let frame = robot.frame().await;
    robot.ok(&frame).await;
    let reaction = Reaction {
        message_id,
        conversation_id: GROUP.to_owned(),
        text: "🤔思考中".to_owned(),
    };
    // DingTalk does not know the message at once, and has a bad moment then.
    for (status, body) in [
        (400, r#"{"code":"system.err","message":"系统错误"}"#),
        (502, ""),
    ] {
        let fault = Fault::Reject {
            path: EMOTION_PATH.to_owned(),
            status,
            body: body.to_owned(),
            times: Some(1),
        };
        sim.inject(fault).await.unwrap();
    }
    api.react(&reaction).await.unwrap();
    assert_eq!(sim.calls_of(EMOTION_PATH).len(), 3);
    api.react(&reaction).await.unwrap();
    let shown = sim.emotions();
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].text.as_str(), shown[0].chat.as_str()),
        ("🤔思考中", GROUP)
    );
    api.unreact(&reaction).await.unwrap();
    assert!(sim.emotions()[0].recalled_at.is_some());
}

#[tokio::test]
async fn a_reaction_that_is_refused_for_good_is_tried_once() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let reaction = Reaction {
        message_id: String::new(),
        conversation_id: GROUP.to_owned(),
        text: "ok".to_owned(),
    };
    let error = api.react(&reaction).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert_eq!(sim.calls_of(EMOTION_PATH).len(), 1);
}

#[tokio::test]
async fn people_are_found_by_union_id_without_a_bill_and_with_either_token() {
    for token_families in [TokenFamilies::Shared, TokenFamilies::Strict] {
        let sim = start(SimOptions {
            union_ids: vec![("union-1".to_owned(), "manager1".to_owned())],
            token_families,
            ..options()
        })
        .await;
        let (api, metrics) = client(&sim);
        let person = Person {
            staff_id: "manager1".to_owned(),
            external: false,
        };
        assert_eq!(api.user_by_union_id("union-1").await, Ok(Some(person)));
        assert_eq!(api.user_by_union_id("union-2").await, Ok(None));
        assert_eq!(billed(&metrics), 0);
        let fault = Fault::Reject {
            path: UNION_ID_PATH.to_owned(),
            status: 200,
            body: r#"{"errcode":60011,"errmsg":"没有权限"}"#.to_owned(),
            times: Some(1),
        };
        sim.inject(fault).await.unwrap();
        let error = api.user_by_union_id("union-1").await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent);
        assert!(error.cure.unwrap().contains("qyapi_get_member"));
    }
}
