//! Who may read objects, store their own, and ask one verb.

use nats_dingtalk::sim::{Attachment, Message};
use serde_json::{Value, json};

use super::MANAGER;
use super::guarded::Guarded;
use crate::support::bridge::CLIENT_ID;
use crate::support::wait;

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_objects_and_asks_one_verb_can_do_that_and_no_more() {
    let roles =
        "--role consumer --role sender --account sales --chat user:manager1 --objects --verb chat";
    let roles: Vec<&str> = roles.split(' ').collect();
    let world = Guarded::start(&roles).await;
    let mut agent = world.user("sales-consumer").await;
    let own = "dingtalk.inbound.sales.user.manager1";
    let consumer = agent
        .consumer("DINGTALK_INBOUND", "sales-consumer-1", own)
        .await;
    let file = Attachment::file("report.pdf", &b"%PDF-1.7 in"[..]);
    let said = Message::to_bot("manager1", "").carrying(file);
    world.sim.say(CLIENT_ID, said).await.unwrap();
    let heard = agent.next(&consumer).await;
    let key = heard["message"]["media"][0]["object"]
        .as_str()
        .unwrap()
        .to_owned();
    let fetched = wait::until("the file", async || {
        agent.object("DINGTALK_MEDIA", &key).await
    });
    let fetched = fetched.await;
    assert_eq!(fetched, b"%PDF-1.7 in");
    // A body too large for a message is in the other store.
    let large = Message::to_bot("manager1", "x".repeat(2 << 20));
    world.sim.say(CLIENT_ID, large).await.unwrap();
    let claims = world.all("DINGTALK_INBOUND", 2).await;
    let claim = claims[1].header("Dingtalk-Claim").to_owned();
    let body = agent.object("DINGTALK_OBJECTS", &claim).await.unwrap();
    assert!(body.len() > 2 << 20);

    let mut sender = world.user("sales-sender").await;
    let store = sender
        .jetstream()
        .get_object_store("DINGTALK_MEDIA")
        .await
        .unwrap();
    store
        .put("mine/report.pdf", &mut &b"%PDF-1.7 out"[..])
        .await
        .unwrap();
    let body = json!({"id": "file", "file": {"object": "mine/report.pdf"}});
    sender.store(MANAGER, &body).await;
    let receipts = world.all("DINGTALK_RECEIPT", 1).await;
    assert_eq!(receipts[0].body["outcome"], "sent", "{}", receipts[0].body);
    for user in [&agent, &sender] {
        let question = json!({"chat": "user:manager1"}).to_string();
        let told = user
            .client
            .request("dingtalk.api.chat", question.into())
            .await;
        let told: Value = serde_json::from_slice(&told.unwrap().payload).unwrap();
        assert!(told.get("error").is_none(), "{told}");
    }
    assert_eq!(world.violations(), Vec::<String>::new());

    for user in [&mut agent, &mut sender] {
        for subject in [
            "dingtalk.api.send",
            "dingtalk.api.recall",
            "dingtalk.api.card.sales",
            "$SRV.PING",
            "$JS.API.STREAM.PURGE.OBJ_DINGTALK_MEDIA",
            "$JS.API.STREAM.MSG.DELETE.OBJ_DINGTALK_MEDIA",
            "$JS.API.STREAM.DELETE.OBJ_DINGTALK_OBJECTS",
            "$O.DINGTALK_OBJECTS.M.x",
        ] {
            user.may_not_publish(subject, "{}").await;
        }
    }
    agent.may_not_publish("$O.DINGTALK_MEDIA.M.x", "{}").await;
    let reading = "$JS.API.CONSUMER.CREATE.OBJ_DINGTALK_MEDIA";
    sender.may_not_publish(reading, "{}").await;
}
