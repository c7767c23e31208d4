//! Cards of the simulated DingTalk: creating, delivering, streaming, updating, pressing.

mod limits;
mod presses;
mod refusals;

use nats_dingtalk::sim::{
    CARD_CREATE_AND_DELIVER_PATH, CARD_DELIVER_PATH, CARD_PATH, CARD_STREAMING_PATH, CallRefusal,
    CardAgain, CardPress, CardState, CardTemplate, Fault, GROUP_SEND_PATH, RECALL_GROUP_PATH,
    SentVia, Sim, SimOptions, UpdateSource,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{APP, Client, GROUP, call, call_by, data, http, options, start, to_group, token};

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
    call_by(Method::PUT, sim, path, token, body).await
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

fn press(user: &str) -> CardPress {
    CardPress {
        out_track_id: "c1".to_owned(),
        user: user.to_owned(),
        action_ids: vec!["approve".to_owned()],
        ..CardPress::default()
    }
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
