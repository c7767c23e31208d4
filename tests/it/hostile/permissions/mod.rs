//! The users of docs/permissions.md on a real broker: each does its job with plain clients, and
//! everything beside it is refused.

mod guarded;
mod objects;
mod printed;

use async_nats::jetstream::consumer;
use futures_util::StreamExt;
use nats_dingtalk::sim::{Message, Sim};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use self::guarded::Guarded;
use crate::support::bridge::{CLIENT_ID, Setup};
use crate::support::least;
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, World, options};

const PASSWORD: &str = "pass-word";
const MANAGER: &str = "dingtalk.outbound.sales.user.manager1";

/// The bridges of all other tests run as this user too, see `support/least.rs`: what the broker refuses to
/// one of them fails its test. This makes sure that they really do.
#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_of_every_test_is_kept_to_its_rights() {
    let port = crate::support::free_port();
    let nats = Nats::start_with(&format!("http: \"127.0.0.1:{port}\"")).await;
    let sim = Sim::start(options()).await.unwrap();
    let setup = Setup::new(&nats.url(), sim.api_url());
    let _bridge = setup.start().await.ready().await;
    let url = format!("http://127.0.0.1:{port}/connz?auth=1");
    let connections = crate::support::bridge::client().get(url).send().await;
    let connections: Value = connections.unwrap().json().await.unwrap();
    let connections = connections["connections"].as_array().unwrap();
    let own = |name: &Value| {
        name.as_str()
            .is_some_and(|name| name.contains("nats-dingtalk"))
    };
    let own: Vec<_> = connections.iter().filter(|one| own(&one["name"])).collect();
    assert!(own.len() >= 3, "{connections:?}");
    for connection in own {
        assert_eq!(connection["authorized_user"], "bridge", "{connection}");
    }
    assert_eq!(nats.refused(), Vec::<String>::new());
    let login =
        async_nats::ConnectOptions::with_user_and_password("bridge".into(), least::PASSWORD.into());
    let client = login.connect(nats.url()).await.unwrap();
    client.publish("elsewhere", "a".into()).await.unwrap();
    client.flush().await.unwrap();
    wait::until_true("a refusal", async || !nats.refused().is_empty()).await;
    nats.forgive();
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_under_two_prefixes_do_not_disturb_each_other_for_want_of_rights() {
    let world = World::start().await;
    let elsewhere = world.setup().nats("subject_prefix = \"elsewhere\"");
    let _elsewhere = elsewhere.start().await.ready().await;
    wait::until_true("one refusal", async || !world.nats.refused().is_empty()).await;
    // It is a replica among replicas all the same, and asks no more for the time being.
    let body = json!({"id": "a", "text": "hello"});
    world.request(MANAGER, &body).await;
    assert_eq!(world.receipt("a").await["outcome"], "sent");
    let refused = world.nats.refused();
    assert!(refused.len() <= 4, "{refused:#?}");
    assert!(
        refused.iter().all(|line| line.contains("ELSEWHERE_FLEET")),
        "{refused:#?}"
    );
    world.nats.forgive();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_needs_nothing_beyond_its_rights() {
    let world = Guarded::start(&[]).await;
    let admin = world.nats.jetstream().await;
    let publish = async |subject: &str, body: Value| {
        let stored = admin
            .publish(subject.to_owned(), body.to_string().into())
            .await;
        stored.unwrap().await.unwrap();
    };
    // Inbound: a chat with a session webhook, an event, a frame that cannot be read.
    let said = Message::to_bot("manager1", "who are you");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    let inbound = world.all("DINGTALK_INBOUND", 1).await;
    world.sim.acked(&msg_id).await.unwrap();
    // Outbound: sent, through the session, moved, refused, unserved.
    publish(MANAGER, json!({"id": "sent", "text": "hello"})).await;
    let reply_to = &inbound[0].body["id"];
    publish(
        "dingtalk.outbound",
        json!({"id": "moved", "to": {"reply_to": reply_to}, "text": "a"}),
    )
    .await;
    publish(MANAGER, json!({"id": "refused"})).await;
    publish(
        "dingtalk.outbound.nobody.user.u1",
        json!({"id": "unserved", "text": "a"}),
    )
    .await;
    let large = "x".repeat(900_000);
    publish(
        MANAGER,
        json!({"id": "large", "text": "", "unknown": large}),
    )
    .await;
    let receipts = world.all("DINGTALK_RECEIPT", 5).await;
    let outcome = |id: &str| {
        let receipt = receipts.iter().find(|receipt| receipt.body["id"] == id);
        receipt.unwrap_or_else(|| panic!("no receipt of {id}")).body["outcome"].clone()
    };
    for id in ["sent", "moved"] {
        assert_eq!(outcome(id), "sent");
    }
    for id in ["refused", "unserved", "large"] {
        assert_eq!(outcome(id), "failed");
    }
    assert_eq!(world.all("DINGTALK_DEAD", 3).await.len(), 3);
    assert!(!world.all("DINGTALK_STATUS", 1).await.is_empty());
    world.bridge.signal("TERM");
    let Guarded { bridge, .. } = &world;
    assert!(!bridge.log().contains("ERROR"), "{}", bridge.log());
    assert_eq!(world.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reads_its_chats_and_nothing_else() {
    let group = format!("group:{GROUP}");
    let roles = [
        "--role",
        "consumer",
        "--role",
        "operator",
        "--account",
        "sales",
        "--chat",
        &group,
    ];
    let world = Guarded::start(&roles).await;
    let mut agent = world.user("sales-consumer").await;
    let own = format!("dingtalk.inbound.sales.group.{GROUP}");
    let consumer = agent
        .consumer("DINGTALK_INBOUND", "sales-consumer-1", &own)
        .await;
    for (said, text) in [
        (Message::to_bot("manager1", "in private"), "in private"),
        (Message::in_group(GROUP, "manager1", "to all"), "to all"),
    ] {
        world.sim.say(CLIENT_ID, said).await.unwrap();
        assert!(!text.is_empty());
    }
    world.all("DINGTALK_INBOUND", 2).await;
    assert_eq!(agent.next(&consumer).await["message"]["text"], "to all");
    assert_eq!(world.violations(), Vec::<String>::new());

    let create = "$JS.API.CONSUMER.CREATE.DINGTALK_INBOUND";
    for subject in [
        // Another filter, a wider one, none, another name, the older ways to the same.
        format!("{create}.sales-consumer-1.dingtalk.inbound.sales.user.manager1"),
        format!("{create}.sales-consumer-1.dingtalk.inbound.sales.>"),
        format!("{create}.sales-consumer-1.dingtalk.inbound.sales.group.*"),
        format!("{create}.sales-consumer-1"),
        format!("{create}.other.{own}"),
        create.to_owned(),
        "$JS.API.CONSUMER.DURABLE.CREATE.DINGTALK_INBOUND.sales-consumer-1".to_owned(),
        // Another's consumer, and reading around consumers.
        "$JS.API.CONSUMER.MSG.NEXT.DINGTALK_INBOUND.other".to_owned(),
        "$JS.API.DIRECT.GET.DINGTALK_INBOUND".to_owned(),
        "$JS.API.STREAM.MSG.GET.DINGTALK_INBOUND".to_owned(),
        "$JS.API.STREAM.INFO.DINGTALK_INBOUND".to_owned(),
        "$JS.API.DIRECT.GET.KV_DINGTALK_WEBHOOKS.$KV.DINGTALK_WEBHOOKS.x".to_owned(),
        "$JS.API.DIRECT.GET.KV_DINGTALK_LEDGER.$KV.DINGTALK_LEDGER.x".to_owned(),
        // Writing and removing.
        own.clone(),
        MANAGER.to_owned(),
        "$KV.DINGTALK_WEBHOOKS.x".to_owned(),
        "$JS.API.STREAM.DELETE.DINGTALK_INBOUND".to_owned(),
        "$JS.API.STREAM.PURGE.DINGTALK_INBOUND".to_owned(),
        "$JS.API.STREAM.UPDATE.DINGTALK_INBOUND".to_owned(),
    ] {
        agent.may_not_publish(&subject, "{}").await;
    }
    for subject in [
        "dingtalk.inbound.>",
        own.as_str(),
        ">",
        "_INBOX.>",
        "_INBOX_bridge.>",
        "$KV.>",
    ] {
        agent.may_not_subscribe(subject).await;
    }
    // The filter in the subject is the one that counts: another one in the body is refused.
    let body = json!({
        "stream_name": "DINGTALK_INBOUND", "action": "",
        "config": {"durable_name": "sales-consumer-1", "name": "sales-consumer-1", "ack_policy": "explicit",
            "filter_subject": "dingtalk.inbound.sales.user.manager1"},
    });
    let subject = format!("{create}.sales-consumer-1.{own}");
    let answer = agent
        .client
        .request(subject, body.to_string().into())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["error"]["err_code"], 10131, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_reaches_its_chats_and_sees_the_receipts() {
    let roles = [
        "--role",
        "sender",
        "--account",
        "sales",
        "--chat",
        "user:manager1",
    ];
    let world = Guarded::start(&roles).await;
    let mut sender = world.user("sales-sender").await;
    let consumer = sender
        .consumer(
            "DINGTALK_RECEIPT",
            "sales-sender-receipts",
            "dingtalk.receipt.sales.*",
        )
        .await;
    sender
        .store(MANAGER, &json!({"id": "r1", "text": "hello"}))
        .await;
    assert_eq!(sender.next(&consumer).await["outcome"], "sent");
    let get = "$JS.API.DIRECT.GET.DINGTALK_RECEIPT.dingtalk.receipt.sales.r1";
    let receipt = sender.client.request(get, "".into()).await.unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&receipt.payload).unwrap()["id"],
        "r1"
    );
    assert_eq!(world.violations(), Vec::<String>::new());

    for subject in [
        "dingtalk.outbound.sales.user.manager2",
        "dingtalk.outbound.sales.user.manager1%2Cmanager2",
        "dingtalk.outbound.support.user.manager1",
        "dingtalk.outbound.sales",
        "dingtalk.outbound",
        "dingtalk.receipt.sales.r1",
        "dingtalk.inbound.sales.user.manager1",
        "$JS.API.CONSUMER.CREATE.DINGTALK_INBOUND.x.dingtalk.inbound.sales.>",
        "$JS.API.CONSUMER.CREATE.DINGTALK_RECEIPT.sales-sender-receipts.dingtalk.receipt.>",
        "$JS.API.DIRECT.GET.DINGTALK_RECEIPT",
        "$JS.API.DIRECT.GET.KV_DINGTALK_WEBHOOKS.$KV.DINGTALK_WEBHOOKS.x",
        "$KV.DINGTALK_LEDGER.x",
        "$JS.API.STREAM.MSG.DELETE.DINGTALK_OUTBOUND",
        "$JS.API.STREAM.PURGE.DINGTALK_OUTBOUND",
    ] {
        sender.may_not_publish(subject, "{}").await;
    }
    for subject in [
        "dingtalk.receipt.support.*",
        "dingtalk.inbound.>",
        "dingtalk.outbound.>",
        "_INBOX.>",
    ] {
        sender.may_not_subscribe(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_everything_but_secrets_and_changes_nothing() {
    let world = Guarded::start(&["--role", "operator"]).await;
    let said = Message::to_bot("manager1", "hello");
    world.sim.say(CLIENT_ID, said).await.unwrap();
    world.all("DINGTALK_INBOUND", 1).await;
    let mut operator = world.user("operator").await;
    let jetstream = operator.jetstream();
    for stream in [
        "DINGTALK_INBOUND",
        "DINGTALK_OUTBOUND",
        "DINGTALK_BACKLOG",
        "DINGTALK_SCHEDULE",
        "DINGTALK_DEAD",
        "OBJ_DINGTALK_MEDIA",
    ] {
        jetstream.get_stream(stream).await.unwrap();
    }
    let inbound = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let replayed = inbound
        .create_consumer(consumer::pull::OrderedConfig::default())
        .await
        .unwrap();
    let mut replayed = replayed.messages().await.unwrap();
    let first = replayed.next().await.unwrap().unwrap();
    assert!(first.subject.starts_with("dingtalk.inbound.sales.user."));
    let admin = world.nats.jetstream().await;
    let store = admin.get_object_store("DINGTALK_MEDIA").await.unwrap();
    store.put("a.txt", &mut &b"bytes"[..]).await.unwrap();
    let store = jetstream.get_object_store("DINGTALK_MEDIA").await.unwrap();
    let mut object = store.get("a.txt").await.unwrap();
    let mut bytes = Vec::new();
    object.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"bytes");
    assert_eq!(world.violations(), Vec::<String>::new());

    for subject in [
        MANAGER,
        "dingtalk.inbound.sales.user.manager1",
        "$JS.API.CONSUMER.CREATE.DINGTALK_OUTBOUND.x.dingtalk.outbound.>",
        "$JS.API.CONSUMER.MSG.NEXT.DINGTALK_OUTBOUND.account-sales",
        "$JS.API.DIRECT.GET.KV_DINGTALK_WEBHOOKS.$KV.DINGTALK_WEBHOOKS.x",
        "$JS.API.STREAM.MSG.GET.KV_DINGTALK_WEBHOOKS",
        "$JS.API.CONSUMER.CREATE.KV_DINGTALK_LEDGER.x.$KV.DINGTALK_LEDGER.>",
        "$JS.API.STREAM.MSG.DELETE.DINGTALK_OUTBOUND",
        "$JS.API.STREAM.MSG.DELETE.DINGTALK_BACKLOG",
        "$JS.API.CONSUMER.CREATE.DINGTALK_BACKLOG.x.dingtalk.backlog.>",
        "$JS.API.STREAM.DELETE.DINGTALK_INBOUND",
        "$JS.API.STREAM.PURGE.DINGTALK_DEAD",
        "$O.DINGTALK_MEDIA.M.x",
    ] {
        operator.may_not_publish(subject, "{}").await;
    }
    for subject in ["$KV.>", "_INBOX_bridge.>", ">"] {
        operator.may_not_subscribe(subject).await;
    }
}
