//! What people press on cards: stored, named with its chat, and answered by whoever listens.

use std::time::Duration;

use futures_util::StreamExt;
use nats_dingtalk::sim::{CardPress, CardState, Message, PressAnswer};
use serde_json::{Value, json};

use crate::support::bridge::CLIENT_ID;
use crate::support::world::{GROUP, World, options};

const TEMPLATE: &str = "8aebdfb9-28f4-4a98-98f5-396c3dde41a0.schema";

async fn world() -> World {
    let template = format!("card_template = \"{TEMPLATE}\"");
    World::start_with(options(), |setup| setup.account(&template)).await
}

/// Creates a card in `chat`.
async fn card(world: &World, track: &str, chat: &str) {
    let body = json!({"to": chat, "card": {"create": {"params": {"state": "new"}}}});
    let subject = format!("dingtalk.outbound.sales.card.{track}");
    world.request(&subject, &body).await;
    world
        .sim
        .card_in(track, CardState::Delivered)
        .await
        .unwrap();
}

async fn press(world: &World, track: &str) {
    let press = CardPress {
        out_track_id: track.to_owned(),
        user: "u1".into(),
        action_ids: vec!["approve".into()],
        ..CardPress::default()
    };
    world.sim.press_card_button(CLIENT_ID, press).await.unwrap();
}

/// The answer to the first press of a card, once there is one.
async fn answer(world: &World, track: &str) -> PressAnswer {
    let answered = |card: &nats_dingtalk::sim::CardView| {
        let first = card.presses.first();
        first.is_some_and(|press| press.answer != PressAnswer::Waiting)
    };
    let card = world.sim.card_until(track, "an answered press", answered);
    card.await.unwrap().presses.remove(0).answer
}

/// Answers every card action with `reply`, `None` never.
async fn respond(world: &World, reply: Option<Value>) -> tokio::task::JoinHandle<Vec<Value>> {
    let client = world.nats.client().await;
    let mut asked = client.subscribe("dingtalk.api.card.sales").await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(question) = asked.next().await {
            seen.push(serde_json::from_slice(&question.payload).unwrap());
            if let (Some(reply), Some(to)) = (&reply, question.reply) {
                client.publish(to, reply.to_string().into()).await.unwrap();
                client.flush().await.unwrap();
                break;
            }
        }
        seen
    })
}

#[tokio::test]
async fn a_press_is_stored_with_its_chat_and_answered_empty_at_once_when_nobody_listens() {
    let world = world().await;
    card(&world, "t1", "user:u1").await;
    press(&world, "t1").await;
    assert_eq!(answer(&world, "t1").await, PressAnswer::Empty);
    let stored = world.stored("DINGTALK_INBOUND", 1).await.remove(0);
    assert_eq!(stored.subject, "dingtalk.inbound.sales.card.t1");
    assert_eq!(stored.body["card"]["actions"], json!(["approve"]));
    assert_eq!(stored.body["sender"]["staff_id"], "u1");
    // DingTalk does not say where a card in a 1:1 chat stands.
    assert_eq!(stored.body["chat"], json!({"id": "u1", "type": "user"}));
    let reply = &stored.body["reply"]["subject"];
    assert_eq!(reply, "dingtalk.outbound.sales.card.t1");
    let acked = world
        .bridge
        .metric("nats_dingtalk_ack_latency_seconds_bucket", &["le=\"1.0\""])
        .await;
    assert!(acked >= 1.0, "it waited for nobody");
}

#[tokio::test]
async fn a_responder_changes_the_card_with_the_acknowledgement() {
    let world = world().await;
    card(&world, "t1", &format!("group:{GROUP}")).await;
    let reply = json!({"params": {"state": "approved", "count": 2}, "private": {"mine": true}});
    let responder = respond(&world, Some(reply)).await;
    press(&world, "t1").await;
    assert_eq!(answer(&world, "t1").await, PressAnswer::Applied);
    let card = world.sim.card("t1").unwrap();
    assert_eq!(
        (card.params["state"].as_str(), card.params["count"].as_str()),
        ("approved", "2")
    );
    assert!(
        card.params.contains_key("config"),
        "what was not named stays"
    );
    assert_eq!(card.seen_by("u1")["mine"], "true");
    assert!(!card.seen_by("u2").contains_key("mine"));
    let asked = responder.await.unwrap();
    let stored = world.stored("DINGTALK_INBOUND", 1).await.remove(0);
    assert_eq!(asked, [stored.body], "the responder reads what is stored");
}

#[tokio::test]
async fn a_responder_that_never_answers_costs_neither_the_deadline_nor_other_frames() {
    let world = world().await;
    card(&world, "t1", &format!("group:{GROUP}")).await;
    let _responder = respond(&world, None).await;
    press(&world, "t1").await;
    let message = Message::in_group(GROUP, "u1", "meanwhile");
    let said = world.sim.say(CLIENT_ID, message).await.unwrap();
    let frame = world.sim.acked(&said).await.unwrap();
    assert_eq!(frame.attempt, 0);
    let waits = world.sim.card("t1").unwrap().presses.remove(0).answer;
    assert_eq!(
        waits,
        PressAnswer::Waiting,
        "the message did not wait for it"
    );
    assert_eq!(
        answer(&world, "t1").await,
        PressAnswer::Empty,
        "and not late"
    );
}

#[tokio::test]
async fn a_reply_that_is_none_leaves_the_card_as_it_is() {
    let world = world().await;
    card(&world, "t1", &format!("group:{GROUP}")).await;
    respond(&world, Some(json!({"parms": {"state": "x"}}))).await;
    press(&world, "t1").await;
    assert_eq!(answer(&world, "t1").await, PressAnswer::Empty);
    assert_eq!(world.sim.card("t1").unwrap().params["state"], "new");
}

#[tokio::test]
async fn a_stream_goes_on_when_the_bridge_was_killed_in_the_middle() {
    let mut world = world().await;
    let subject = format!("dingtalk.outbound.sales.group.{GROUP}");
    let piece = |n: u32| json!({"id": format!("p{n}"), "stream": "s", "append": format!("{n} ")});
    for n in 0..10 {
        world.request(&subject, &piece(n)).await;
    }
    world.receipt("p0").await;
    for n in 10..20 {
        world.request(&subject, &piece(n)).await;
    }
    let template = format!("card_template = \"{TEMPLATE}\"");
    let setup = world.setup().account(&template);
    let next = setup.start().await;
    let dir = std::mem::replace(&mut world.bridge, next).kill();
    drop(dir);
    world
        .request(&subject, &json!({"id": "end", "stream": "s", "done": true}))
        .await;
    let patience = Duration::from_secs(60);
    let whole: String = (0..20).map(|n| format!("{n} ")).collect();
    let finished = crate::support::wait::within(patience, "the finished card", async || {
        let cards = world.sim.cards();
        cards
            .into_iter()
            .find(|card| card.state == CardState::Finished)
    })
    .await;
    assert_eq!(finished.text(), whole);
    assert_eq!(world.sim.cards().len(), 1);
    for id in (0..20).map(|n| format!("p{n}")).chain(["end".to_owned()]) {
        assert_eq!(world.receipt(&id).await["outcome"], "sent", "{id}");
    }
}
