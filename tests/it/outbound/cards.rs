//! Cards by their verbs: created, updated, streamed into, finished and failed.

use nats_dingtalk::message::{Kind, Outcome, Via};
use nats_dingtalk::sim::{CARD_PATH, CallRefusal, CardState, Fault, Message};
use serde_json::json;

use super::stage::Stage;
use super::streams::with_cards;

const GROUP: &str = "cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";
const CARD: &str = ".sales.card.ticket-7";

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_created_updated_streamed_and_finished_on_its_own_subject() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    let create =
        json!({"params": {"title": "Ticket", "count": 3}, "private": {"u2": {"mine": true}}});
    for (id, body) in [
        ("create", json!({"create": create})),
        ("update", json!({"update": {"params": {"state": "open"}}})),
        ("stream", json!({"stream": {"append": "Working"}})),
        (
            "finish",
            json!({"finish": {"text": "Done.", "params": {"state": "closed"}}}),
        ),
    ] {
        let mut body = json!({"id": id, "card": body});
        if id == "create" {
            body["to"] = json!(format!("group:{GROUP}"));
        }
        stage.publish(CARD, body).await;
    }
    stage.done().await;
    let card = stage
        .sim
        .card_in("ticket-7", CardState::Finished)
        .await
        .unwrap();
    assert_eq!(card.text(), "Done.");
    assert_eq!(card.chats().collect::<Vec<_>>(), [GROUP]);
    for (name, value) in [("title", "Ticket"), ("count", "3"), ("state", "closed")] {
        assert_eq!(card.params[name], value, "merged, not replaced");
    }
    assert_eq!(card.seen_by("u2")["mine"], "true");
    for id in ["create", "update", "stream", "finish"] {
        let receipt = stage.receipt("sales", id).await;
        assert_eq!(
            (receipt.outcome, receipt.via),
            (Outcome::Sent, Some(Via::Card)),
            "{id}"
        );
        assert_eq!(receipt.out_track_id.as_deref(), Some("ticket-7"));
    }
    assert_eq!(stage.receipt("sales", "create").await.cost, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_can_fail_and_a_card_that_was_never_fed_can_finish() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    for (track, end) in [("t1", "fail"), ("t2", "finish")] {
        let subject = format!(".sales.card.{track}");
        stage
            .publish(&subject, json!({"to": "user:u1", "card": {"create": {}}}))
            .await;
        stage.publish(&subject, json!({"card": {end: {}}})).await;
    }
    stage.done().await;
    stage.sim.card_in("t1", CardState::Failed).await.unwrap();
    stage.sim.card_in("t2", CardState::Finished).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_on_a_chat_is_named_by_its_request_and_happens_once() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    let create = json!({"id": "order-42", "card": {"create": {"params": {"content": "hello"}}}});
    for _ in 0..2 {
        stage
            .publish(&format!(".sales.group.{GROUP}"), create.clone())
            .await;
    }
    stage.done().await;
    let receipt = stage.receipt("sales", "order-42").await;
    let track = receipt.out_track_id.unwrap();
    let cards = stage.sim.cards();
    assert_eq!(cards.len(), 1);
    assert_eq!(
        (cards[0].out_track_id.as_str(), cards[0].chats().count()),
        (track.as_str(), 1)
    );
    assert_eq!(receipt.process_query_key, cards[0].deliveries[0].carrier_id);
    // A creation whose answer was lost is known by the same name.
    let path = CARD_PATH.to_owned();
    stage
        .inject(Fault::ApplyThenCut {
            path,
            times: Some(1),
        })
        .await;
    stage
        .publish(
            ".sales.user.u1",
            json!({"id": "lost", "card": {"create": {}}}),
        )
        .await;
    let lost = stage.receipt("sales", "lost").await;
    assert_eq!(lost.outcome, Outcome::Sent);
    assert_eq!(stage.sim.cards().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cards_a_creation_says_its_fallback_or_fails_with_the_cure() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    let with = json!({"id": "with", "card": {"create": {"fallback": "in words"}}});
    stage.publish(".sales.user.u1", with).await;
    let without = json!({"id": "without", "card": {"create": {}}});
    stage.publish(".sales.user.u1", without).await;
    stage.done().await;
    assert_eq!(stage.texts_to("u1"), ["in words"]);
    let with = stage.receipt("sales", "with").await;
    assert_eq!(
        (with.outcome, with.via),
        (Outcome::Sent, Some(Via::Openapi))
    );
    let without = stage.receipt("sales", "without").await;
    assert_eq!(without.outcome, Outcome::Failed);
    assert!(without.message.unwrap().contains("card_template"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dingtalk_refuses_fails_with_its_code_and_the_lane_goes_on() {
    let stage = with_cards().await;
    stage
        .refuse(CARD_PATH, CallRefusal::Permission, Some(1))
        .await;
    let _line = stage.start("sales");
    let to = json!("user:u1");
    stage
        .publish(CARD, json!({"id": "no", "to": to, "card": {"create": {}}}))
        .await;
    stage
        .publish(CARD, json!({"id": "yes", "to": to, "card": {"create": {}}}))
        .await;
    assert_eq!(stage.receipt("sales", "yes").await.outcome, Outcome::Sent);
    stage
        .publish(
            ".sales.card.nowhere",
            json!({"id": "lost", "card": {"update": {"params": {"a": 1}}}}),
        )
        .await;
    stage
        .publish(
            ".sales.card.nowhere",
            json!({"id": "none", "card": {"stream": {"append": "x"}}}),
        )
        .await;
    stage.done().await;
    let no = stage.receipt("sales", "no").await;
    assert_eq!(no.outcome, Outcome::Failed);
    assert!(no.cure.is_some());
    for id in ["lost", "none"] {
        assert_eq!(
            stage.receipt("sales", id).await.outcome,
            Outcome::Failed,
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_request_that_names_no_card_or_chat_is_a_dead_letter_with_the_reason() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    stage
        .publish(".sales.user.u1", json!({"id": "a", "card": {"finish": {}}}))
        .await;
    stage
        .publish(CARD, json!({"id": "b", "card": {"create": {}}}))
        .await;
    stage
        .publish(CARD, json!({"id": "c", "stream": "s", "append": "x"}))
        .await;
    stage.done().await;
    for id in ["a", "b", "c"] {
        assert_eq!(
            stage.receipt("sales", id).await.outcome,
            Outcome::Failed,
            "{id}"
        );
    }
    assert_eq!(stage.dead().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_goes_by_card_where_no_webhook_is_alive_since_nothing_else_notifies() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    let group = format!(".sales.group.{GROUP}");
    let body = json!({"id": "m1", "text": "@u1 look", "mention": {"users": ["u1"]}});
    stage.publish(&group, body).await;
    let receipt = stage.receipt("sales", "m1").await;
    assert_eq!(
        (receipt.outcome, receipt.via),
        (Outcome::Sent, Some(Via::Card))
    );
    let card = stage.sim.card(&receipt.out_track_id.unwrap()).unwrap();
    assert_eq!(card.text(), "@u1 look");
    assert_eq!(card.state, CardState::Finished, "it does not spin");
    assert!(card.deliveries[0].at_users.contains(&"u1".to_owned()));

    // While a webhook lives it is cheaper and notifies as well.
    let said = Message::in_group(GROUP, "u1", "hello");
    stage.hear("sales", said, Kind::Group).await;
    let body = json!({"id": "m2", "text": "@u1 again", "mention": {"users": ["u1"]}});
    stage.publish(&group, body).await;
    let receipt = stage.receipt("sales", "m2").await;
    assert_eq!(receipt.via, Some(Via::Webhook));
}
