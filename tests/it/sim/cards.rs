//! Cards of the simulated DingTalk: creating, delivering, streaming, updating, pressing.

use std::time::Duration;

use nats_dingtalk::sim::{
    CARD_CREATE_AND_DELIVER_PATH, CARD_DELIVER_PATH, CARD_PATH, CARD_SPACES_PATH,
    CARD_STREAMING_PATH, CallRefusal, CardAgain, CardPress, CardState, CardTemplate, Fault,
    FrameVerdict, GROUP_SEND_PATH, PressAnswer, RECALL_GROUP_PATH, SentVia, Sim, SimError,
    SimOptions, UpdateSource, Verdict,
};
use serde_json::{Value, json};

use super::{APP, Client, GROUP, OTHER, call, data, http, options, start, to_group, token};

/// A shared template whose one variable, `msgContent`, is markdown.
const TEMPLATE: &str = "02fcf2f4-5e02-4a85-b672-46d1f715543e.schema";
const QPS: &str = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi";

/// Options without a pace, for tests of other things.
fn unpaced() -> SimOptions {
    SimOptions {
        card_frame_gap: None,
        calls_per_second: None,
        ..options()
    }
}

async fn put(sim: &Sim, path: &str, token: &str, body: Value) -> (u16, Value) {
    let answer = http()
        .put(format!("{}{path}", sim.api_url()))
        .header("x-acs-dingtalk-access-token", token)
        .json(&body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

fn merged(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

fn new_card(id: &str) -> Value {
    json!({
        "cardTemplateId": TEMPLATE,
        "outTrackId": id,
        "callbackType": "STREAM",
        "cardData": {"cardParamMap": {"config": "{\"autoLayout\":true}"}},
        "imGroupOpenSpaceModel": {"supportForward": true},
        "imRobotOpenSpaceModel": {"supportForward": true},
    })
}

fn into_group(id: &str) -> Value {
    json!({
        "outTrackId": id,
        "userIdType": 1,
        "openSpaceId": format!("dtv1.card//IM_GROUP.{GROUP}"),
        "imGroupOpenDeliverModel": {"robotCode": APP, "atUserIds": {"u1": "One"}},
    })
}

fn frame(id: &str, guid: &str, content: &str) -> Value {
    json!({
        "outTrackId": id, "guid": guid, "key": "msgContent", "content": content,
        "isFull": true, "isFinalize": false, "isError": false,
    })
}

fn done() -> (u16, Value) {
    (200, json!({"success": true, "result": true}))
}

/// Creates a card and puts it into the group.
async fn card_in_group(sim: &Sim, token: &str, id: &str) {
    let body = merged(new_card(id), into_group(id));
    let (status, answer) = call(sim, CARD_CREATE_AND_DELIVER_PATH, token, body).await;
    let reached = &answer["result"]["deliverResults"][0]["success"];
    assert_eq!((status, reached), (200, &json!(true)), "{answer}");
}

async fn refused(sim: &Sim, token: &str, path: &str, body: Value, code: &str) {
    let (status, answer) = call(sim, path, token, body).await;
    assert_eq!((status, &answer["code"]), (400, &json!(code)), "{answer}");
    assert_eq!(answer["message"], code);
}

#[tokio::test]
async fn a_card_goes_from_created_to_finished_by_the_documented_sequence() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    let created = call(&sim, CARD_PATH, &token, new_card("c1")).await;
    assert_eq!(created, (200, json!({"success": true, "result": "c1"})));
    assert_eq!(sim.card("c1").unwrap().state, CardState::Created);

    let (status, answer) = call(&sim, CARD_DELIVER_PATH, &token, into_group("c1")).await;
    assert_eq!(status, 200);
    let carrier = answer["result"][0]["carrierId"].as_str().unwrap();
    let result = json!([{"spaceType": "IM_GROUP", "spaceId": GROUP, "success": true,
                         "carrierId": carrier, "errorMsg": ""}]);
    assert_eq!(answer, json!({"success": true, "result": result}));
    let card = sim.card_in("c1", CardState::Delivered).await.unwrap();
    assert_eq!(card.chats().collect::<Vec<_>>(), [GROUP]);
    assert_eq!(card.deliveries[0].at_users, ["u1"]);

    let begin = json!({"outTrackId": "c1",
        "cardData": {"cardParamMap": {"flowStatus": "2", "msgContent": "…"}}});
    assert_eq!(put(&sim, CARD_PATH, &token, begin).await, done());
    assert_eq!(sim.card("c1").unwrap().state, CardState::Inputting);
    for (guid, content) in [("g1", "Hello"), ("g2", "Hello, world")] {
        let body = frame("c1", guid, content);
        assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, body).await, done());
    }
    let last = merged(
        frame("c1", "g3", "Hello, world."),
        json!({"isFinalize": true}),
    );
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, last).await, done());
    let end = json!({"outTrackId": "c1", "cardUpdateOptions": {"updateCardDataByKey": true},
        "cardData": {"cardParamMap": {"flowStatus": "3"}}});
    assert_eq!(put(&sim, CARD_PATH, &token, end).await, done());

    let card = sim.card_in("c1", CardState::Finished).await.unwrap();
    assert_eq!(card.text(), "Hello, world.");
    assert_eq!(card.updates[1].flow_status.as_deref(), Some("3"));
    assert!(
        card.updates
            .iter()
            .all(|one| one.source == UpdateSource::Api)
    );
    let seen: Vec<_> = card
        .frames
        .iter()
        .map(|one| (one.chars, one.finalize))
        .collect();
    assert_eq!(seen, [(5, false), (12, false), (13, true)]);

    let again = merged(frame("c1", "g4", "More"), json!({}));
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, again).await, done());
    assert_eq!(sim.card("c1").unwrap().state, CardState::Inputting);
    let failed = merged(frame("c1", "g5", ""), json!({"isError": true}));
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, failed).await, done());
    assert_eq!(sim.card("c1").unwrap().state, CardState::Failed);
}

#[tokio::test]
async fn a_delivered_card_has_its_place_among_the_sends() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    call(&sim, GROUP_SEND_PATH, &token, to_group("before")).await;
    let mut body = merged(new_card("c1"), into_group("c1"));
    body["cardData"] = json!({"cardParamMap": {"msgContent": "thinking"}});
    let (_, answer) = call(&sim, CARD_CREATE_AND_DELIVER_PATH, &token, body).await;
    assert_eq!(answer["result"]["outTrackId"], "c1");
    let to_user = json!({"outTrackId": "c1", "openSpaceId": "dtv1.card//im_robot.u1",
        "imRobotOpenDeliverModel": {"spaceType": "IM_ROBOT"}});
    call(&sim, CARD_DELIVER_PATH, &token, to_user).await;
    call(&sim, GROUP_SEND_PATH, &token, to_group("after")).await;
    let sent = sim.delivered_count(4).await.unwrap();
    let seen: Vec<_> = sent
        .iter()
        .map(|one| (one.via, one.to[0].as_str(), one.text()))
        .collect();
    assert_eq!(
        seen,
        [
            (SentVia::Group, GROUP, "before"),
            (SentVia::Card, GROUP, "thinking"),
            (SentVia::Card, "u1", "thinking"),
            (SentVia::Group, GROUP, "after"),
        ]
    );
    let carrier = &answer["result"]["deliverResults"][0]["carrierId"];
    assert_eq!(json!(sent[1].process_query_key), *carrier);
}

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

#[tokio::test]
async fn frames_of_one_card_that_come_too_close_are_refused_and_other_cards_go_on() {
    let sim = start(SimOptions {
        card_frame_gap: Some(Duration::from_secs(60)),
        ..options()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    card_in_group(&sim, &token, "c2").await;
    let first = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g1", "a")).await;
    let (status, answer) = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g2", "b")).await;
    let other = put(&sim, CARD_STREAMING_PATH, &token, frame("c2", "g3", "c")).await;
    assert_eq!((&first, &other), (&done(), &done()));
    assert_eq!((status, &answer["code"]), (403, &json!(QPS)));
    // Updates have no pace of their own: the official helpers send them between frames.
    let update = json!({"outTrackId": "c1", "cardData": {"cardParamMap": {"msgContent": "u"}}});
    assert_eq!(put(&sim, CARD_PATH, &token, update).await, done());
    let verdict = sim.card("c1").unwrap().frames[1].verdict.clone();
    assert_eq!(
        verdict,
        FrameVerdict::Refused {
            code: QPS.to_owned()
        }
    );
}

#[tokio::test]
async fn frames_over_the_limit_of_the_app_are_refused_across_cards() {
    let sim = start(SimOptions {
        calls_per_second: Some(3),
        card_frame_gap: None,
        ..options()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    card_in_group(&sim, &token, "c2").await;
    let mut statuses = Vec::new();
    for (nth, id) in ["c1", "c2", "c1", "c2"].iter().enumerate() {
        let body = frame(id, &format!("g{nth}"), "x");
        statuses.push(put(&sim, CARD_STREAMING_PATH, &token, body).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 403]);
    let last = sim.card("c2").unwrap().frames.pop().unwrap();
    assert!(matches!(last.verdict, FrameVerdict::Refused { .. }));
}

#[tokio::test]
async fn an_update_overwrites_or_merges_and_private_variables_are_for_one_person() {
    let sim = start(SimOptions {
        users: Some(vec!["u1".to_owned(), "u2".to_owned()]),
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    let update = |params: Value, private: Value, by_key: bool| {
        json!({"outTrackId": "c1", "cardData": {"cardParamMap": params}, "privateData": private,
               "cardUpdateOptions": {"updateCardDataByKey": by_key, "updatePrivateDataByKey": by_key}})
    };
    let own = json!({"u1": {"cardParamMap": {"vote": "yes"}}});
    let body = update(json!({"title": "Vote", "vote": "open"}), own, false);
    assert_eq!(put(&sim, CARD_PATH, &token, body).await, done());
    let card = sim.card("c1").unwrap();
    assert_eq!(
        json!(card.seen_by("u1")),
        json!({"title": "Vote", "vote": "yes"})
    );
    assert_eq!(
        json!(card.seen_by("u2")),
        json!({"title": "Vote", "vote": "open"})
    );
    let body = update(json!({"vote": "closed"}), json!({}), true);
    assert_eq!(put(&sim, CARD_PATH, &token, body).await, done());
    let card = sim.card("c1").unwrap();
    assert_eq!(
        json!(card.params),
        json!({"title": "Vote", "vote": "closed"})
    );
    for (wrong, code) in [
        (
            json!({"outTrackId": "c1"}),
            "param.cardDataAndPrivateDataBothEmpty",
        ),
        (update(json!({"n": true}), json!({}), true), "param.invalid"),
        (
            update(json!({}), json!({"u9": {"cardParamMap": {}}}), true),
            "param.userIdNotExist",
        ),
        (
            merged(
                update(json!({}), json!({}), true),
                json!({"outTrackId": "c9"}),
            ),
            "param.cardNotExist",
        ),
    ] {
        let (status, answer) = put(&sim, CARD_PATH, &token, wrong).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)));
    }
}

#[tokio::test]
async fn a_recalled_card_stands_nowhere_and_its_frames_are_still_taken() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    let carrier = sim.card("c1").unwrap().deliveries[0].carrier_id.clone();
    let body =
        json!({"robotCode": APP, "openConversationId": GROUP, "processQueryKeys": [carrier]});
    let (_, answer) = call(&sim, RECALL_GROUP_PATH, &token, body).await;
    assert_eq!(answer["successResult"], json!([carrier]));
    let card = sim.card("c1").unwrap();
    assert!(card.deliveries[0].recalled);
    assert_eq!(card.chats().count(), 0);
    assert!(sim.visible().is_empty());
    let written = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g1", "x")).await;
    assert_eq!(written, done());
}

#[tokio::test]
async fn every_card_call_is_billed_and_a_used_up_month_refuses_frames() {
    let sim = start(SimOptions {
        quota: Some(2),
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    let first = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g1", "x")).await;
    assert_eq!(first, done());
    let (status, answer) = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g2", "y")).await;
    let code = "Forbidden.AccessDenied.ApiCountLimitForOrg";
    assert_eq!((status, &answer["code"]), (403, &json!(code)));
    let code = code.to_owned();
    let verdict = sim.card("c1").unwrap().frames[1].verdict.clone();
    assert_eq!(verdict, FrameVerdict::Refused { code });
}

#[tokio::test]
async fn a_card_goes_to_somebody_by_union_id() {
    let sim = start(SimOptions {
        union_ids: vec![("union1".to_owned(), "u1".to_owned())],
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    let mut client = Client::connect(&sim, APP).await;
    let mut body = merged(new_card("c1"), json!({"userIdType": 2}));
    body["openSpaceId"] = json!("dtv1.card//IM_ROBOT.union1;IM_ROBOT.union2");
    body["imRobotOpenDeliverModel"] = json!({"spaceType": "IM_ROBOT"});
    let (_, answer) = call(&sim, CARD_CREATE_AND_DELIVER_PATH, &token, body).await;
    let results = &answer["result"]["deliverResults"];
    assert_eq!(results[0]["success"], true);
    assert_eq!(results[1]["success"], false);
    sim.press_card_button(APP, press("union1")).await.unwrap();
    let pressed = data(&client.frame().await);
    assert_eq!(
        (&pressed["userIdType"], &pressed["spaceId"]),
        (&json!(2), &json!(""))
    );
}

#[tokio::test]
async fn a_second_delivery_repeats_the_card_or_is_folded_as_the_options_say() {
    for (card_again, times) in [(CardAgain::Repeated, 2), (CardAgain::Folded, 1)] {
        let sim = start(SimOptions {
            card_again,
            ..unpaced()
        })
        .await;
        let token = token(&sim).await;
        call(&sim, CARD_PATH, &token, new_card("c1")).await;
        let (_, first) = call(&sim, CARD_DELIVER_PATH, &token, into_group("c1")).await;
        let (_, second) = call(&sim, CARD_DELIVER_PATH, &token, into_group("c1")).await;
        assert_eq!(first == second, times == 1);
        assert_eq!(sim.delivered().len(), times);
    }
}

#[tokio::test]
async fn a_template_of_another_organisation_is_taken_and_does_not_load() {
    let foreign = CardTemplate::new("theirs.schema")
        .with_markdown("msgContent")
        .of_another_org();
    let sim = start(SimOptions {
        card_templates: Some(vec![foreign]),
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    let body = merged(new_card("c1"), json!({"cardTemplateId": "theirs.schema"}));
    let body = merged(body, into_group("c1"));
    call(&sim, CARD_CREATE_AND_DELIVER_PATH, &token, body).await;
    let written = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g1", "hi")).await;
    assert_eq!(written, done());
    assert_eq!(sim.card("c1").unwrap().text(), "内容加载失败");
}

#[tokio::test]
async fn without_a_list_every_template_and_every_key_is_taken() {
    let sim = start(SimOptions {
        card_templates: None,
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    let body = merged(new_card("c1"), json!({"cardTemplateId": "any.schema"}));
    assert_eq!(call(&sim, CARD_PATH, &token, body).await.0, 200);
    let body = merged(
        frame("c1", "g1", "hi"),
        json!({"key": "anything", "isFull": false}),
    );
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, body).await, done());
    assert_eq!(sim.card("c1").unwrap().text(), "hi");
}

#[tokio::test]
async fn faults_of_the_api_hit_cards_too() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    let both = || merged(new_card("c1"), into_group("c1"));
    sim.inject(Fault::ApplyThenFail {
        path: CARD_CREATE_AND_DELIVER_PATH.to_owned(),
        status: 500,
        times: Some(1),
    })
    .await
    .unwrap();
    let path = CARD_CREATE_AND_DELIVER_PATH;
    assert_eq!(call(&sim, path, &token, both()).await.0, 500);
    refused(&sim, &token, path, both(), "param.cardAlreadyExist").await;
    assert_eq!(sim.delivered().len(), 1);
    sim.inject(Fault::Refuse {
        path: CARD_STREAMING_PATH.to_owned(),
        how: CallRefusal::Qps,
        times: Some(1),
    })
    .await
    .unwrap();
    let body = || frame("c1", "g1", "x");
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, body()).await.0, 403);
    assert_eq!(put(&sim, CARD_STREAMING_PATH, &token, body()).await, done());
    assert_eq!(sim.card("c1").unwrap().frames.len(), 1);
}

fn press(user: &str) -> CardPress {
    CardPress {
        out_track_id: "c1".to_owned(),
        user: user.to_owned(),
        action_ids: vec!["approve".to_owned()],
        ..CardPress::default()
    }
}

/// A card in the group and a client that gets its presses.
async fn pressable(options: SimOptions) -> (Sim, Client) {
    let sim = start(options).await;
    let token = token(&sim).await;
    let client = Client::connect(&sim, APP).await;
    card_in_group(&sim, &token, "c1").await;
    (sim, client)
}

#[tokio::test]
async fn a_press_carries_what_the_card_knows() {
    let (sim, mut client) = pressable(unpaced()).await;
    let mut press = press("u1");
    press.params.insert("choice".into(), json!(2));
    press.form.insert("reason".into(), json!("同意"));
    let seq = sim.press_card_button(APP, press).await.unwrap();
    let body = data(&client.frame().await);
    for (key, value) in [
        ("type", json!("actionCallback")),
        ("outTrackId", json!("c1")),
        ("userId", json!("u1")),
        ("userIdType", json!(1)),
        ("spaceType", json!("IM")),
        ("spaceId", json!(GROUP)),
        ("extension", json!("{}")),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let content: Value = serde_json::from_str(body["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        content,
        json!({"cardPrivateData": {"actionIds": ["approve"],
                "params": {"choice": 2, "form": {"reason": "同意"}}}})
    );
    assert_eq!(body["value"], body["content"]);
    let pressed = &sim.card("c1").unwrap().presses[0];
    assert_eq!(
        (pressed.frame, &pressed.answer),
        (seq, &PressAnswer::Waiting)
    );
}

#[tokio::test]
async fn an_answer_in_time_changes_the_card_for_everybody_and_for_who_pressed() {
    let (sim, mut client) = pressable(unpaced()).await;
    sim.press_card_button(APP, press("u1")).await.unwrap();
    let pushed = client.frame().await;
    let response = json!({
        "cardUpdateOptions": {"updateCardDataByKey": true, "updatePrivateDataByKey": true},
        "cardData": {"cardParamMap": {"status": "approved"}},
        "userPrivateData": {"cardParamMap": {"submitted": "true"}},
    });
    client
        .ack(&pushed, 200, json!({"response": response}))
        .await;
    let card = sim
        .card_until("c1", "an answer", |card| {
            card.presses[0].answer == PressAnswer::Applied
        })
        .await
        .unwrap();
    let mut everybody = json!({"config": "{\"autoLayout\":true}", "status": "approved"});
    assert_eq!(json!(card.seen_by("u2")), everybody);
    everybody["submitted"] = json!("true");
    assert_eq!(json!(card.seen_by("u1")), everybody);
    assert_eq!(card.updates[0].source, UpdateSource::Answer);
}

#[tokio::test]
async fn an_answer_that_says_nothing_or_nonsense_changes_nothing() {
    let (sim, mut client) = pressable(unpaced()).await;
    let answers = [
        (200, json!({"response": {}}), PressAnswer::Empty),
        (200, json!({"response": null}), PressAnswer::Empty),
        (200, json!({"response": "OK"}), PressAnswer::Empty),
        (
            200,
            json!({"response": {"cardData": {"cardParamMap": {"n": 1}}}}),
            PressAnswer::Invalid {
                why: "param.invalid".to_owned(),
            },
        ),
        (
            500,
            json!({"response": {"cardData": {"cardParamMap": {"n": "1"}}}}),
            PressAnswer::Invalid {
                why: "code 500".to_owned(),
            },
        ),
    ];
    for (nth, (code, answer, expected)) in answers.into_iter().enumerate() {
        sim.press_card_button(APP, press("u1")).await.unwrap();
        let pushed = client.frame().await;
        client.ack(&pushed, code, answer).await;
        let card = sim
            .card_until("c1", "an answer", |card| {
                card.presses[nth].answer != PressAnswer::Waiting
            })
            .await
            .unwrap();
        assert_eq!(card.presses[nth].answer, expected);
        assert!(card.updates.is_empty());
    }
}

#[tokio::test]
async fn a_late_answer_is_not_applied() {
    let (sim, mut client) = pressable(SimOptions {
        card_answer_within: Duration::ZERO,
        ..unpaced()
    })
    .await;
    sim.press_card_button(APP, press("u1")).await.unwrap();
    let pushed = client.frame().await;
    let response = json!({"cardData": {"cardParamMap": {"status": "approved"}}});
    client
        .ack(&pushed, 200, json!({"response": response}))
        .await;
    let card = sim
        .card_until("c1", "an answer", |card| {
            card.presses[0].answer == PressAnswer::Late
        })
        .await
        .unwrap();
    assert!(!card.params.contains_key("status"));
}

#[tokio::test]
async fn a_card_calls_back_only_its_app_and_only_over_stream() {
    let (sim, _client) = pressable(unpaced()).await;
    let _other = Client::connect(&sim, OTHER).await;
    let silent = sim.press_card_button(OTHER, press("u1")).await;
    assert!(matches!(silent, Err(SimError::SilentCard(_))));
    let token = token(&sim).await;
    let body = merged(new_card("c2"), json!({"callbackType": "HTTP"}));
    call(&sim, CARD_PATH, &token, body).await;
    let mut press = press("u1");
    press.out_track_id = "c2".to_owned();
    let silent = sim.press_card_button(APP, press).await;
    assert!(matches!(silent, Err(SimError::SilentCard(_))));
}

#[tokio::test]
async fn cards_can_be_watched_over_http() {
    let sim = start(unpaced()).await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c/1").await;
    let read = async |path: &str| {
        let url = format!("{}/sim/{path}", sim.api_url());
        let answer = http().get(url).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let (_, cards) = read("cards").await;
    let (status, card) = read("card/c%2F1").await;
    assert_eq!((status, &cards[0]), (200, &card));
    assert_eq!(card["state"], "delivered");
    assert_eq!(card["deliveries"][0]["space_id"], GROUP);
    assert_eq!(read("card/none").await.0, 404);
}
