//! Hostile values in what DingTalk delivers and in what services ask for, through the front door.

use std::time::Duration;

use nats_dingtalk::sim::{LinkView, Message, Push};
use serde_json::{Value, json};

use super::{BOT, resident};
use crate::support::bridge::{Bridge, CLIENT_ID, PROGRAM};
use crate::support::wait;
use crate::support::world::{Stored, World, options};

const MANAGER: &str = "dingtalk.outbound.sales.user.manager1";
/// Ids and texts that break out of headers, lines, paths, terminals and sight.
const NASTY: [&str; 9] = [
    "a\r\nDingtalk-Account: other",
    "a\nERROR forged line",
    "../../../etc/passwd",
    "..\\..\\x.png\0.exe",
    "\u{1b}[2J\u{9b}2J",
    "\u{202e}gnp.exe\u{2066}",
    "pаypal.cоm",
    "*.>",
    "$SYS.%00 %",
];

/// Every line of the log is one that the bridge began.
fn lines_are_whole(bridge: &Bridge) {
    for line in bridge.log().lines() {
        let stamped = line.starts_with("20") && line.contains(" nats_dingtalk::");
        assert!(stamped, "a line of its own: {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

async fn inbound_of(world: &World, count: usize) -> Vec<Stored> {
    world.stored("DINGTALK_INBOUND", count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nasty_ids_and_texts_stay_values_on_their_way_in() {
    let world = World::start().await;
    for (at, nasty) in NASTY.iter().enumerate() {
        let data = json!({
            "msgId": format!("{at}{nasty}"), "conversationType": "2", "conversationId": nasty,
            "conversationTitle": nasty, "senderNick": nasty, "senderStaffId": nasty, "msgtype": "file",
            "content": {"fileName": nasty, "downloadCode": nasty}, "createAt": "1776067733725",
        });
        let push = Push::new(CLIENT_ID, "CALLBACK", BOT, data.to_string());
        world.sim.push(push).await.unwrap();
    }
    let all = inbound_of(&world, NASTY.len()).await;
    for (at, nasty) in NASTY.iter().enumerate() {
        let id = format!("{CLIENT_ID}:{at}{nasty}");
        let one = all.iter().find(|one| one.body["id"] == id);
        let one = one.unwrap_or_else(|| panic!("{nasty:?} is not stored"));
        assert_eq!(one.body["chat"]["id"], *nasty);
        assert_eq!(one.header("Dingtalk-Account"), "sales");
        assert_eq!(one.subject.split('.').count(), 5, "{}", one.subject);
        let reply = one.body["reply"]["subject"].as_str().unwrap();
        assert_eq!(reply, one.subject.replacen("inbound", "outbound", 1));
    }
    lines_are_whole(&world.bridge);
    // What a person sees of it has no character that steers the terminal.
    for form in [&[][..], &["--json"]] {
        let tail = std::process::Command::new(PROGRAM)
            .args(["tail", "--no-follow", "--nats-url", &world.nats.url()])
            .args(form)
            .output()
            .unwrap();
        let shown = String::from_utf8(tail.stdout).unwrap();
        assert!(shown.contains("passwd"), "{shown}");
        let steers =
            |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!shown.contains(steers), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nasty_ids_and_texts_stay_values_on_their_way_out() {
    let world = World::start().await;
    for (at, nasty) in NASTY.iter().enumerate() {
        let body =
            json!({"id": format!("text-{at}"), "text": nasty, "mention": {"users": [nasty]}});
        world.request(MANAGER, &body).await;
        let body = json!({"id": nasty, "text": "hello"});
        world.request(MANAGER, &body).await;
    }
    // An id with a control character is none: the receipt stands under the sequence.
    let receipts = world.stored("DINGTALK_RECEIPT", 2 * NASTY.len()).await;
    for receipt in &receipts {
        assert_eq!(receipt.subject.split('.').count(), 4, "{}", receipt.subject);
        let id = receipt.body["id"].as_str().unwrap();
        assert!(!id.contains(char::is_control), "{id:?}");
    }
    let refused = NASTY
        .iter()
        .filter(|nasty| nasty.contains(char::is_control))
        .count();
    let failed = |receipt: &&Stored| {
        receipt.body["outcome"] == "failed" && receipt.body["code"] == "malformed"
    };
    assert_eq!(receipts.iter().filter(failed).count(), refused);
    lines_are_whole(&world.bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_without_end_is_stored_or_refused_and_kept_whole() {
    let world = World::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let digits = "9".repeat(100_000);
    let keys = (0..50_000)
        .map(|at| format!("\"k{at}\":{at}"))
        .collect::<Vec<_>>()
        .join(",");
    let inner = [
        ("deep", deep.clone()),
        ("digits", digits),
        ("exponent", "1e999".to_owned()),
        ("keys", format!("{{{keys}}}")),
        ("half", r#""\ud800""#.to_owned()),
    ];
    for (id, value) in &inner {
        let data = format!(
            r#"{{"msgId":"{id}","conversationType":"1","conversationId":"cid-{id}","senderStaffId":"u-{id}","msgtype":"text","text":{{"content":"hi"}},"x":{value}}}"#
        );
        world
            .sim
            .push(Push::new(CLIENT_ID, "CALLBACK", BOT, data))
            .await
            .unwrap();
        // The same where no subject can name the chat: a dead letter, and nothing of it is lost.
        let long = "c".repeat(2000);
        let data = format!(
            r#"{{"msgId":"dead-{id}","conversationType":"2","conversationId":"{long}","msgtype":"text","text":{{"content":"hi"}},"x":{value}}}"#
        );
        world
            .sim
            .push(Push::new(CLIENT_ID, "CALLBACK", BOT, data))
            .await
            .unwrap();
    }
    for stored in inbound_of(&world, inner.len()).await {
        assert!(stored.subject.contains(".user.u-"), "{}", stored.subject);
    }
    let dead = world.stored("DINGTALK_DEAD", inner.len()).await;
    for (letter, (id, _)) in dead.iter().zip(&inner) {
        assert!(!letter.body["payload"].is_null(), "{id} is lost");
    }
    for (id, payload) in [
        (
            "deep",
            format!(r#"{{"raw":{{"msg_key":"k","msg_param":{deep}}}}}"#),
        ),
        ("half", r#"{"text":"\ud800"}"#.to_owned()),
        ("nothing", "{".to_owned()),
    ] {
        world.publish(MANAGER, payload.clone().into()).await;
        let kept = wait::until(id, async || {
            let dead = world.stored("DINGTALK_DEAD", inner.len()).await;
            dead.into_iter()
                .find(|letter| letter.body["payload"] == Value::String(payload.clone()))
        })
        .await;
        assert_eq!(kept.body["reason"], "malformed");
    }
    world.publish(MANAGER, vec![b'h', 0xff, 0xfe].into()).await;
    let receipts = world.stored("DINGTALK_RECEIPT", 4).await;
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt.body["outcome"] == "failed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_around_the_largest_payload_are_kept_and_requests_end() {
    let world = World::start().await;
    let largest = world.nats.client().await.max_payload();
    for size in [largest - 4096, largest + 4096] {
        let said = Message::to_bot("manager1", "x".repeat(size));
        world.sim.say(CLIENT_ID, said).await.unwrap();
    }
    let all = inbound_of(&world, 2).await;
    assert!(
        all.iter()
            .all(|one| !one.header("Dingtalk-Claim").is_empty() || one.body["raw"].is_object())
    );
    // A request that no dead letter could hold beside its headers: its body goes to the object store.
    let mut body = json!({"id": "large", "unknown": ""}).to_string();
    body.insert_str(body.len() - 2, &"x".repeat(largest - body.len() - 1));
    world.publish(MANAGER, body.into()).await;
    assert_eq!(world.receipt("large").await["outcome"], "failed");
    let dead = world.stored("DINGTALK_DEAD", 1).await;
    assert!(!dead[0].header("Dingtalk-Claim").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ids_of_megabytes_are_kept_and_hold_up_nobody() {
    let world = World::start_with(options(), |setup| setup.account("connections = 1")).await;
    let long = "钉".repeat(600_000);
    let push = async |data: Value| {
        let push = Push::new(CLIENT_ID, "CALLBACK", BOT, data.to_string());
        world.sim.push(push).await.unwrap();
    };
    // Nothing beside the claim may be as long as the frame,
    push(json!({
        "msgId": "title", "conversationType": "2", "conversationId": "cid", "conversationTitle": long,
        "senderStaffId": "u", "senderNick": "n", "msgtype": "text", "text": {"content": "hi"},
    }))
    .await;
    // nor may the subject that a dead letter was meant for.
    push(json!({
        "msgId": "chat", "conversationType": "2", "conversationId": long, "msgtype": "text",
        "text": {"content": "hi"},
    }))
    .await;
    let said = Message::to_bot("manager1", "behind them");
    world.sim.say(CLIENT_ID, said).await.unwrap();
    let all = inbound_of(&world, 2).await;
    assert_eq!(all[0].body["id"], format!("{CLIENT_ID}:title"));
    assert_eq!(all[0].body["sender"]["nick"], "n");
    assert!(all[0].body["chat"].is_null(), "{}", all[0].body);
    let reply = &all[0].body["reply"]["subject"];
    assert_eq!(reply, "dingtalk.outbound.sales.group.cid");
    assert!(!all[0].header("Dingtalk-Claim").is_empty());
    assert_eq!(all[1].body["message"]["text"], "behind them");
    let dead = world.stored("DINGTALK_DEAD", 1).await;
    assert_eq!(dead[0].body["reason"], "undecodable");
    let subject = dead[0].body["subject"].as_str().unwrap();
    assert!(subject.len() < 4096, "{}", subject.len());
    let claim = &dead[0].body["payload"]["claim"];
    assert_eq!(claim, dead[0].header("Dingtalk-Claim"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_every_limit_ends_its_connection_and_delays_no_other() {
    let world = World::start().await;
    let before = resident(&world.bridge);
    let data = format!(r#"{{"msgId":"huge","x":"{}"}}"#, "x".repeat(5 << 20));
    let push = Push::new(CLIENT_ID, "CALLBACK", BOT, data);
    world.sim.push(push).await.unwrap();
    // What is on the wire behind it is lost with its connection, so both its pushes are waited for.
    let pushes = world.sim.pushed_times("huge", 2).await.unwrap();
    let ended = wait::until("the end of both connections", async || {
        let links = world.sim.links();
        let carried = |id| pushes.iter().any(|push| push.link == id);
        let open = |link: &LinkView| carried(link.id) && link.closed_at.is_none();
        (!links.iter().any(open)).then_some(())
    });
    ended.await;
    world.sim.connected(CLIENT_ID, 1).await.unwrap();
    let said = Message::to_bot("manager1", "after that");
    world.sim.say(CLIENT_ID, said).await.unwrap();
    let stored = inbound_of(&world, 1).await;
    assert_eq!(stored[0].body["message"]["text"], "after that");
    let after = resident(&world.bridge);
    assert!(
        after < before + 60,
        "{before} MiB before, {after} MiB after"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn json_bombs_of_megabytes_are_stored_without_growing_over_time() {
    let world = World::start().await;
    let nested =
        |open: &str, close: &str, depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let twins = "{\"msgId\":1},".repeat(50_000);
    let bombs = [
        nested("[", "]", 300_000),
        nested("{\"a\":", "}", 125_000),
        format!("[{}0]", "0,".repeat(500_000)),
        format!("[{twins}0]"),
        format!("\"{}\"", "\\u0000".repeat(125_000)),
        format!("\"{}\"", "\\\"".repeat(300_000)),
    ];
    let mut highest = 0;
    for round in 0..3 {
        for (at, bomb) in bombs.iter().enumerate() {
            let data = format!(
                r#"{{"msgId":"{round}-{at}","conversationType":"1","conversationId":"c","senderStaffId":"u","msgtype":"richText","content":{bomb},"text":{bomb}}}"#
            );
            let push = Push::new(CLIENT_ID, "CALLBACK", BOT, data);
            world.sim.push(push).await.unwrap();
        }
        let count = bombs.len() * (round + 1);
        for stored in inbound_of(&world, count).await {
            assert!(
                !stored.header("Dingtalk-Claim").is_empty(),
                "{}",
                stored.subject
            );
            assert_eq!(stored.body["kind"], "user", "{}", stored.subject);
        }
        let now = resident(&world.bridge);
        assert!(
            round == 0 || now < highest + 40,
            "{highest} MiB, then {now} MiB"
        );
        highest = highest.max(now);
    }
    eprintln!("JSON bombs: {highest} MiB at most");
    assert!(highest < 250, "{highest} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_chats_at_once_are_stored_in_little_memory() {
    let world = World::start().await;
    let before = resident(&world.bridge);
    let pushes = (0..10_000).map(|at| {
        let data = json!({
            "msgId": format!("m{at}"), "conversationType": "2", "conversationId": format!("cid{at}=="),
            "msgtype": "text", "text": {"content": "hello"},
            "sessionWebhook": format!("{}/robot/sendBySession?session={at}", world.sim.oapi_url()),
            "sessionWebhookExpiredTime": 4_102_444_800_000_u64,
        });
        Push::new(CLIENT_ID, "CALLBACK", BOT, data.to_string())
    });
    world.sim.push_many(pushes.collect()).await.unwrap();
    let mut stream = world
        .nats
        .jetstream()
        .await
        .get_stream("DINGTALK_INBOUND")
        .await
        .unwrap();
    wait::within(Duration::from_secs(60), "10 000 messages", async || {
        (stream.info().await.unwrap().state.messages >= 10_000).then_some(())
    })
    .await;
    let after = resident(&world.bridge);
    eprintln!("10 000 chats: {before} MiB before, {after} MiB after");
    assert!(
        after < before + 100,
        "{before} MiB before, {after} MiB after"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_requests_of_one_chat_wait_at_the_broker() {
    let world = World::start().await;
    let before = resident(&world.bridge);
    let client = world.nats.client().await;
    for at in 0..100_000 {
        let body = format!(r#"{{"id":"q{at}","text":"hello"}}"#);
        client
            .publish("dingtalk.outbound.sales.user.crowded", body.into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    let mut stream = world
        .nats
        .jetstream()
        .await
        .get_stream("DINGTALK_OUTBOUND")
        .await
        .unwrap();
    wait::within(Duration::from_secs(60), "100 000 requests", async || {
        (stream.info().await.unwrap().state.last_sequence >= 100_000).then_some(())
    })
    .await;
    // Published behind all of them, to another chat: served once they are in the backlog.
    let body = json!({"id": "behind", "text": "hello"});
    world
        .request("dingtalk.outbound.sales.user.other", &body)
        .await;
    let jetstream = world.nats.jetstream().await;
    let receipts = jetstream.get_stream("DINGTALK_RECEIPT").await.unwrap();
    let behind = "dingtalk.receipt.sales.behind";
    let patience = Duration::from_secs(180);
    wait::within(patience, "the request behind them", async || {
        receipts.get_last_raw_message_by_subject(behind).await.ok()
    })
    .await;
    let after = resident(&world.bridge);
    eprintln!("100 000 requests of one chat: {before} MiB before, {after} MiB after");
    assert!(
        after < before + 100,
        "{before} MiB before, {after} MiB after"
    );
}
