//! A message goes all the way round.

use nats_dingtalk::sim::{CardPress, Message, SentVia};
use serde_json::json;

use crate::support::bridge::CLIENT_ID;
use crate::support::world::{GROUP, World};

#[tokio::test]
async fn a_group_message_is_stored_acked_answered_and_receipted() {
    let world = World::start().await;
    let said = Message::in_group(GROUP, "manager1", "deploy it");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    let inbound = &world.stored("DINGTALK_INBOUND", 1).await[0];
    world.sim.acked(&msg_id).await.unwrap();

    assert_eq!(
        inbound.subject,
        format!("dingtalk.inbound.sales.group.{GROUP}")
    );
    let id = format!("{CLIENT_ID}:{msg_id}");
    for header in ["Nats-Msg-Id", "ce-id"] {
        assert_eq!(inbound.header(header), id);
    }
    assert_eq!(inbound.header("Dingtalk-Account"), "sales");
    assert_eq!(inbound.header("ce-type"), "com.dingtalk.bot.message");
    let body = &inbound.body;
    assert_eq!(body["id"], id);
    assert_eq!(body["kind"], "group");
    assert_eq!(body["message"]["text"], "deploy it");
    assert_eq!(body["sender"]["staff_id"], "manager1");
    assert_eq!(body["mentioned"], true);
    assert_eq!(body["raw"]["msgId"], msg_id);
    let reply = body["reply"]["subject"].as_str().unwrap();
    assert_eq!(reply, format!("dingtalk.outbound.sales.group.{GROUP}"));

    world
        .request(reply, &json!({"id": "answer-1", "text": "deployed"}))
        .await;
    let sent = world.sim.delivered_count(1).await.unwrap();
    assert_eq!((sent[0].via, sent[0].text()), (SentVia::Group, "deployed"));
    let receipt = world.receipt("answer-1").await;
    assert_eq!(receipt["outcome"], "sent");
    assert_eq!(receipt["via"], "openapi");
    assert_eq!(
        receipt["process_query_key"].as_str(),
        sent[0].process_query_key.as_deref()
    );
}

#[tokio::test]
async fn plain_text_published_to_a_user_arrives_as_text() {
    let world = World::start().await;
    world
        .publish("dingtalk.outbound.sales.user.manager1", "hello".into())
        .await;
    let sent = world.sim.delivered_count(1).await.unwrap();
    assert_eq!((sent[0].via, sent[0].text()), (SentVia::User, "hello"));
    assert_eq!(sent[0].to, ["manager1"]);
}

#[tokio::test]
async fn a_reply_on_the_bare_subject_finds_its_chat_and_goes_through_the_session() {
    let world = World::start().await;
    let said = Message::to_bot("manager1", "who are you");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.stored("DINGTALK_INBOUND", 1).await;
    let reply_to = format!("{CLIENT_ID}:{msg_id}");
    let request = json!({"id": "r1", "to": {"reply_to": reply_to}, "text": "a bridge"});
    world.request("dingtalk.outbound", &request).await;
    let receipt = world.receipt("r1").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    assert_eq!(receipt["via"], "webhook", "{receipt}");
    let sent = world.sim.delivered();
    assert_eq!(
        (sent[0].via, sent[0].text()),
        (SentVia::Webhook, "a bridge")
    );
}

#[tokio::test]
async fn an_outsider_is_answered_through_the_session_only() {
    let world = World::start().await;
    let said = Message::to_bot("somebody", "hi").from_outsider();
    world.sim.say(CLIENT_ID, said).await.unwrap();
    let inbound = &world.stored("DINGTALK_INBOUND", 1).await[0];
    assert_eq!(inbound.body["kind"], "user");
    assert!(inbound.body["sender"]["staff_id"].is_null());
    let reply = inbound.body["reply"]["subject"].as_str().unwrap();
    world
        .request(reply, &json!({"id": "o1", "text": "welcome"}))
        .await;
    let receipt = world.receipt("o1").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    assert_eq!(receipt["via"], "webhook", "{receipt}");
}

#[tokio::test]
async fn card_actions_and_events_have_subjects_of_their_own() {
    let world = World::start_with(crate::support::world::options(), |setup| {
        setup.account("events = true")
    })
    .await;
    let press = CardPress {
        out_track_id: "track-1".into(),
        user: "manager1".into(),
        action_ids: vec!["approve".into()],
        ..CardPress::default()
    };
    world.sim.press_card_button(CLIENT_ID, press).await.unwrap();
    let event = json!({"title": "renamed", "openConversationId": GROUP});
    let event_id = world
        .sim
        .emit_event(CLIENT_ID, "chat_update_title", event)
        .await
        .unwrap();
    let stored = world.stored("DINGTALK_INBOUND", 2).await;
    let by_subject = |subject: &str| stored.iter().find(|stored| stored.subject == subject);
    let card = by_subject("dingtalk.inbound.sales.card.track-1").unwrap();
    assert_eq!(card.body["card"]["actions"], json!(["approve"]));
    let event = by_subject("dingtalk.inbound.sales.event.chat_update_title").unwrap();
    assert_eq!(
        event.header("Nats-Msg-Id"),
        format!("{CLIENT_ID}:{event_id}")
    );
    assert_eq!(event.body["raw"]["title"], "renamed");
    world.sim.acked(&event_id).await.unwrap();
}
