//! The users of docs/permissions.md on a real broker: each does its job with plain clients, and
//! everything beside it is refused.

use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use async_nats::{Client, Event};
use futures_util::StreamExt;
use nats_dingtalk::sim::{Attachment, Message, Sim};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::support::bridge::{Bridge, CLIENT_ID, PROGRAM, Setup};
use crate::support::least;
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, Stored, World, messages, options};

const PASSWORD: &str = "pass-word";
const MANAGER: &str = "dingtalk.outbound.sales.user.manager1";

/// The block that the command prints, with passwords, and an administrator beside it.
fn block(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .arg("permissions")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let admin = format!("users: [\n    {{ user: admin, password: {PASSWORD:?} }}\n");
    let mut lines = Vec::new();
    for line in text.replacen("users: [\n", &admin, 1).lines() {
        match line.split_once("password: $") {
            Some((before, _)) => lines.push(format!("{before}password: {PASSWORD:?}")),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// A broker with these users and a bridge that runs as the bridge among them.
struct Guarded {
    /// Where the broker logs what it refuses.
    log: TempDir,
    nats: Nats,
    sim: Sim,
    bridge: Bridge,
}

impl Guarded {
    async fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--role", "bridge"];
        all.extend(arguments);
        let log = TempDir::new().unwrap();
        let log_file = log.path().join("log");
        let extra = format!("log_file: {log_file:?}\n{}", block(&all));
        let nats = Nats::start_with_users(&extra, "admin", PASSWORD).await;
        let sim = Sim::start(options()).await.unwrap();
        let bridge = Setup::new(&nats.url(), sim.api_url())
            .nats(&format!("user = \"bridge\"\npassword = {PASSWORD:?}"))
            .account("events = true")
            .start()
            .await
            .ready()
            .await;
        sim.connected(CLIENT_ID, 1).await.unwrap();
        Self {
            log,
            nats,
            sim,
            bridge,
        }
    }

    /// What the broker refused to anybody so far.
    fn violations(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log.path().join("log")).unwrap_or_default();
        let refused = log.lines().filter(|line| line.contains("Violation"));
        refused.map(str::to_owned).collect()
    }

    /// Everything of a stream, as the administrator sees it.
    async fn all(&self, stream: &str, count: usize) -> Vec<Stored> {
        wait::until(stream, async || {
            let all = messages(&self.nats, stream).await?;
            (all.len() >= count).then_some(all)
        })
        .await
    }

    async fn user(&self, name: &str) -> User {
        let (refusals, heard) = mpsc::channel(64);
        let client = async_nats::ConnectOptions::with_user_and_password(
            name.to_owned(),
            PASSWORD.to_owned(),
        )
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .request_timeout(Some(Duration::from_secs(2)))
        .event_callback(move |event| {
            let refusals = refusals.clone();
            async move {
                if let Event::ServerError(error) = event {
                    let _ = refusals.try_send(error.to_string().to_lowercase());
                }
            }
        })
        .connect(self.nats.url())
        .await
        .unwrap();
        User { client, heard }
    }
}

/// A plain client, and what the broker refused it.
struct User {
    client: Client,
    heard: mpsc::Receiver<String>,
}

impl User {
    fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// The broker refuses a publication on `subject`, whatever is in it.
    async fn may_not_publish(&mut self, subject: &str, payload: &str) {
        self.client
            .publish(subject.to_owned(), payload.to_owned().into())
            .await
            .unwrap();
        self.refused("publish", subject).await;
    }

    async fn may_not_subscribe(&mut self, subject: &str) {
        let _refused = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.refused("subscription", subject).await;
    }

    async fn refused(&mut self, what: &str, subject: &str) {
        self.client.flush().await.unwrap();
        let heard = tokio::time::timeout(wait::PATIENCE, self.heard.recv());
        let words = heard.await.ok().flatten().unwrap_or_default();
        let expected = format!("permissions violation for {what} to \"{subject}\"").to_lowercase();
        assert!(words.contains(&expected), "{subject}: {words}");
    }

    /// A durable consumer with one filter, as its own user makes it.
    async fn consumer(&self, stream: &str, name: &str, filter: &str) -> consumer::PullConsumer {
        let config = consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: filter.to_owned(),
            ..Default::default()
        };
        let jetstream = self.jetstream();
        jetstream
            .create_consumer_on_stream(config, stream)
            .await
            .unwrap()
    }

    /// The bytes of an object.
    async fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let store = self.jetstream().get_object_store(bucket).await.ok()?;
        let mut object = store.get(key).await.ok()?;
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).await.ok()?;
        Some(bytes)
    }

    /// The next message of a consumer, acknowledged.
    async fn next(&self, consumer: &consumer::PullConsumer) -> Value {
        let message = wait::until("a message", async || {
            let mut batch = consumer.fetch().max_messages(1).messages().await.unwrap();
            batch.next().await
        })
        .await
        .unwrap();
        message.double_ack().await.unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    }
}

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
    let body = json!({"id": "r1", "text": "hello"}).to_string();
    let stored = sender
        .jetstream()
        .publish(MANAGER, body.into())
        .await
        .unwrap();
    stored.await.unwrap();
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
    let body = json!({"id": "file", "file": {"object": "mine/report.pdf"}}).to_string();
    let stored = sender
        .jetstream()
        .publish(MANAGER, body.into())
        .await
        .unwrap();
    stored.await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn check_names_every_right_that_is_missing() {
    let all = block(&["--role", "bridge"]);
    let without = |lines: &[&str]| {
        let kept = all.lines().filter(|line| !lines.contains(&line.trim()));
        kept.collect::<Vec<_>>().join("\n")
    };
    for (users, said) in [
        (
            all.clone(),
            vec!["ok     permissions", "are what a bridge needs"],
        ),
        (
            without(&[
                "\"$JS.API.CONSUMER.UNPIN.DINGTALK_OUTBOUND.*\"",
                "\"$SRV.>\"",
            ]),
            vec![
                "WRONG  permissions",
                "this user may not publish to $JS.API.CONSUMER.UNPIN.DINGTALK_OUTBOUND.*",
                "this user may not subscribe to $SRV.>",
                "nats-dingtalk permissions --role bridge",
            ],
        ),
        (
            without(&["\"$JS.API.STREAM.INFO.DINGTALK_INBOUND\""]),
            vec![
                "WRONG  DINGTALK_INBOUND",
                "may not publish to $JS.API.STREAM.INFO.DINGTALK_INBOUND",
            ],
        ),
        (
            without(&["\"$SYS.REQ.USER.INFO\""]),
            vec!["WRONG  permissions", "$SYS.REQ.USER.INFO"],
        ),
    ] {
        let nats = Nats::start_with_users(&users, "admin", PASSWORD).await;
        let dir = TempDir::new().unwrap();
        let config = format!(
            "[nats]\nurl = \"{}\"\nuser = \"bridge\"\npassword = {PASSWORD:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [dingtalk]\napi_url = \"http://127.0.0.1:1\"\n",
            nats.url()
        );
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let check = tokio::process::Command::new(PROGRAM)
            .arg("check")
            .arg("--config")
            .arg(&path)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(check.stdout).unwrap();
        for part in said {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains(PASSWORD));
    }
}

#[test]
fn the_documented_users_are_the_generated_ones() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/permissions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = 0;
    for block in text.split("```sh\nnats-dingtalk permissions ").skip(1) {
        let (arguments, rest) = block.split_once('\n').unwrap();
        let (_, printed) = rest.split_once("```text\n").unwrap();
        let (printed, _) = printed.split_once("```").unwrap();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = Command::new(PROGRAM)
            .arg("permissions")
            .args(&arguments)
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, output, "{arguments:?}");
        blocks += 1;
    }
    assert!(blocks >= 3, "{blocks} generated blocks");
}
