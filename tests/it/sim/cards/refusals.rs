//! What the card API refuses, with the code that it refuses it with.

use nats_dingtalk::sim::{
    CARD_CREATE_AND_DELIVER_PATH, CARD_DELIVER_PATH, CARD_PATH, CARD_SPACES_PATH,
    CARD_STREAMING_PATH, FrameVerdict, SimOptions, Verdict,
};
use serde_json::json;

use super::super::{GROUP, OTHER, call, start, token};
use super::{card_in_group, done, frame, into_group, merged, new_card, put, refused, unpaced};

#[tokio::test]
async fn a_chat_that_cannot_be_reached_is_refused_inside_a_200() {
    let sim = start(SimOptions {
        groups: Some(vec![GROUP.to_owned()]),
        users: Some(vec!["u1".to_owned()]),
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    let mut body = merged(new_card("c1"), into_group("c1"));
    body["openSpaceId"] = json!("dtv1.card//IM_GROUP.cidNone==;IM_ROBOT.u2;IM_ROBOT.u1");
    body["imRobotOpenDeliverModel"] = json!({"spaceType": "IM_ROBOT"});
    let (status, answer) = call(&sim, CARD_CREATE_AND_DELIVER_PATH, &token, body).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    let results = answer["result"]["deliverResults"].as_array().unwrap();
    let outcomes: Vec<_> = results
        .iter()
        .map(|one| {
            (
                one["success"].as_bool().unwrap(),
                one["errorMsg"].as_str().unwrap(),
            )
        })
        .collect();
    let illegal = "spaceId is illegal";
    assert_eq!(outcomes, [(false, illegal), (false, illegal), (true, "")]);
    let sent = sim.sent();
    assert_eq!(
        sent[0].verdict,
        Verdict::Refused {
            code: illegal.to_owned()
        }
    );
    assert!(sent[2].delivered());
    let card = sim.card("c1").unwrap();
    assert_eq!(card.chats().collect::<Vec<_>>(), ["u1"]);
    assert_eq!(card.deliveries[0].error.as_deref(), Some(illegal));
}

#[tokio::test]
async fn a_wrong_creation_is_refused_with_its_code() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    let cases = [
        (json!({"cardTemplateId": ""}), "param.cardTemplateIdEmpty"),
        (json!({"outTrackId": ""}), "param.outTrackIdEmpty"),
        (
            json!({"outTrackId": "x".repeat(65)}),
            "outTrackId.outOfLimit",
        ),
        (json!({"cardData": null}), "param.cardPublicDataEmpty"),
        (
            json!({"cardData": {"cardParamMap": {"n": 1}}}),
            "param.invalid",
        ),
        (
            json!({"privateData": {"": {"cardParamMap": {}}}}),
            "param.userIdEmpty",
        ),
        (
            json!({"cardTemplateId": "none.schema"}),
            "param.templateNotExist",
        ),
    ];
    for (wrong, code) in cases {
        let body = merged(new_card("c1"), wrong);
        refused(&sim, &token, CARD_PATH, body, code).await;
    }
    assert!(sim.cards().is_empty());
    call(&sim, CARD_PATH, &token, new_card("c1")).await;
    refused(
        &sim,
        &token,
        CARD_PATH,
        new_card("c1"),
        "param.cardAlreadyExist",
    )
    .await;
    let both = merged(new_card("c1"), into_group("c1"));
    let path = CARD_CREATE_AND_DELIVER_PATH;
    refused(&sim, &token, path, both, "param.cardAlreadyExist").await;
    assert!(!sim.sent()[0].delivered());
}

#[tokio::test]
async fn a_wrong_delivery_is_refused_with_its_code() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    let mut only_users = new_card("c1");
    only_users
        .as_object_mut()
        .unwrap()
        .remove("imGroupOpenSpaceModel");
    call(&sim, CARD_PATH, &token, only_users).await;
    let cases = [
        (json!({"outTrackId": "c2"}), "param.cardNotExist"),
        (json!({"openSpaceId": ""}), "param.openSpaceIdEmpty"),
        (json!({"openSpaceId": GROUP}), "param.openSpaceIdInvalid"),
        (
            json!({"openSpaceId": "dtv1.card//IM_NONE.x"}),
            "param.openSpaceIdInvalid",
        ),
        (
            json!({"imGroupOpenDeliverModel": null}),
            "param.spaceDeliverModelEmpty",
        ),
        (
            json!({"imGroupOpenDeliverModel": {}}),
            "param.openDeliverModelError",
        ),
        (
            json!({"imGroupOpenDeliverModel": {"robotCode": OTHER}}),
            "param.openDeliverModelError",
        ),
        (json!({}), "param.openSpaceModelInvalid"),
    ];
    for (wrong, code) in cases {
        let body = merged(into_group("c1"), wrong);
        refused(&sim, &token, CARD_DELIVER_PATH, body, code).await;
    }
    let spaces = json!({"outTrackId": "c1", "imGroupOpenSpaceModel": {"supportForward": true}});
    assert_eq!(put(&sim, CARD_SPACES_PATH, &token, spaces).await, done());
    let (_, answer) = call(&sim, CARD_DELIVER_PATH, &token, into_group("c1")).await;
    assert_eq!(answer["result"][0]["success"], true);
}

#[tokio::test]
async fn a_wrong_frame_is_refused_with_its_code() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    let cases = [
        (json!({"outTrackId": "c2"}), 400, "param.stream.outTrackId"),
        (json!({"guid": ""}), 400, "param.stream.guidEmpty"),
        (json!({"key": ""}), 400, "param.stream.keyEmpty"),
        (json!({"content": ""}), 400, "param.stream.contentEmpty"),
        (
            json!({"content": "x".repeat(20_001)}),
            400,
            "param.stream.content",
        ),
        (json!({"isFull": false}), 400, "param.stream.isFull"),
        (json!({"key": "content"}), 500, "unknownError"),
    ];
    for (wrong, expected, code) in cases {
        let body = merged(frame("c1", "g1", "x"), wrong);
        let (status, answer) = put(&sim, CARD_STREAMING_PATH, &token, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (expected, &json!(code)),
            "{answer}"
        );
    }
    let card = sim.card("c1").unwrap();
    assert_eq!((card.frames.len(), card.accepted().count()), (6, 0));
    // A guid whose frame was refused is not used up.
    let body = frame("c1", "g1", "x");
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, body).await, done());
    let body = frame("c1", "g1", "y");
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, body).await, done());
    let card = sim.card("c1").unwrap();
    assert_eq!(card.text(), "x");
    assert_eq!(card.frames[7].verdict, FrameVerdict::Repeated);
}
