//! Pushes, acks, redeliveries.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use nats_dingtalk::sim::{
    AckMatching, BOT_TOPIC, Burst, CardPress, FrameState, LateAck, Message, Push, SimError,
    SimOptions,
};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;

use super::{APP, Client, GROUP, OTHER, address, data, options, start};

#[tokio::test]
async fn a_message_is_pushed_acked_and_not_redelivered() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim
        .say(APP, Message::in_group(GROUP, "manager1", "deploy it"))
        .await
        .unwrap();
    let frame = client.frame().await;
    assert_eq!(frame["type"], "CALLBACK");
    assert_eq!(frame["headers"]["topic"], BOT_TOPIC);
    assert!(
        frame["headers"]
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_string)
    );
    let body = data(&frame);
    assert_eq!(body["msgId"], msg_id.as_str());
    assert_eq!(body["conversationId"], GROUP);
    assert_eq!(body["text"]["content"], " deploy it");
    assert_eq!(body["isInAtList"], true);
    client.ok(&frame).await;
    let acked = sim.acked(&msg_id).await.unwrap();
    assert_eq!(acked.attempt, 0);
    assert_eq!(acked.acks.len(), 1);
    assert_eq!(acked.acks[0].data.as_deref(), Some("{\"response\":null}"));
    let links = sim.links();
    assert_eq!(frame["headers"]["connectionId"], links[0].ticket.as_str());
    sim.stop().await;
}

#[tokio::test]
async fn an_unacked_message_comes_once_more_with_a_new_frame_id_and_the_same_data() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim.say(APP, Message::to_bot("u1", "hi")).await.unwrap();
    let first = client.frame().await;
    let second = client.frame().await;
    assert_ne!(
        first["headers"]["messageId"],
        second["headers"]["messageId"]
    );
    assert_eq!(first["data"], second["data"]);
    let frames = sim.frames_of(&msg_id);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].state, FrameState::TimedOut);
    let gap = frames[1].pushed_at.as_millis() - frames[0].pushed_at.as_millis();
    assert!((300..2000).contains(&gap), "redelivered after {gap} ms");
}

#[tokio::test]
async fn a_bot_retry_does_not_come_when_the_ack_was_late_and_late_acks_count() {
    let sim = start(SimOptions {
        late_ack: LateAck::Accepted,
        ack_timeout: Duration::from_millis(50),
        event_retries: vec![Duration::from_millis(500)],
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let msg_id = sim.say(APP, Message::to_bot("u1", "hi")).await.unwrap();
    let frame = client.frame().await;
    sim.wait_for("the missed deadline", |sim| {
        (sim.frames_of(&msg_id)[0].state == FrameState::TimedOut).then_some(())
    })
    .await
    .unwrap();
    client.ok(&frame).await;
    sim.acked(&msg_id).await.unwrap();
    // The retry of an event is due after the message's, so it shows that the latter did not come.
    let clock = sim.emit_event(APP, "clock", json!({})).await.unwrap();
    sim.pushed_times(&clock, 2).await.unwrap();
    assert_eq!(sim.frames_of(&msg_id).len(), 1);
}

#[tokio::test]
async fn an_event_is_retried_by_the_table_and_then_listed_as_failed() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let event_id = sim
        .emit_event(APP, "chat_update_title", json!({"title": "x"}))
        .await
        .unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let frame = client.frame().await;
        assert_eq!(frame["headers"]["eventId"], event_id.as_str());
        assert_eq!(frame["headers"]["eventType"], "chat_update_title");
        ids.push(frame["headers"]["messageId"].as_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let failed = sim
        .wait_for("a failed event", |sim| sim.failed_events().pop())
        .await
        .unwrap();
    assert_eq!(failed.event_id, event_id);
}

#[tokio::test]
async fn later_and_an_error_code_bring_an_event_back_before_its_deadline() {
    for (code, answer) in [
        (200, json!({"status": "LATER", "message": "busy"})),
        (500, json!({"status": "LATER"})),
        (404, json!({})),
    ] {
        let sim = start(SimOptions {
            ack_timeout: Duration::from_secs(60),
            ..options()
        })
        .await;
        let mut client = Client::connect(&sim, APP).await;
        let id = sim.emit_event(APP, "t", json!({})).await.unwrap();
        let frame = client.frame().await;
        client.ack(&frame, code, answer).await;
        let again = client.frame().await;
        assert_eq!(again["headers"]["eventId"], id.as_str());
        client.ack(&again, 200, json!({"status": "SUCCESS"})).await;
        assert_eq!(sim.acked(&id).await.unwrap().attempt, 1);
    }
}

#[tokio::test]
async fn an_event_without_any_connection_waits_for_the_retry_table() {
    let sim = start(SimOptions {
        event_retries: vec![Duration::from_millis(1500)],
        ..options()
    })
    .await;
    let id = sim.emit_event(APP, "t", json!({})).await.unwrap();
    let mut client = Client::connect(&sim, APP).await;
    assert_eq!(client.frame().await["headers"]["eventId"], id.as_str());
}

#[tokio::test]
async fn a_message_without_any_connection_is_lost() {
    let sim = start(options()).await;
    let lost = sim.say(APP, Message::to_bot("u1", "hi")).await;
    assert!(matches!(lost, Err(SimError::NoLink(_))));
    assert_eq!(sim.counters().lost, 1);
}

#[tokio::test]
async fn an_ack_counts_on_the_socket_of_its_frame_only_unless_told_otherwise() {
    for (matching, state) in [
        (AckMatching::SourceSocket, FrameState::Open),
        (AckMatching::AnySocket, FrameState::Acked),
    ] {
        let sim = start(SimOptions {
            ack_matching: matching,
            ack_timeout: Duration::from_secs(60),
            ..options()
        })
        .await;
        let mut first = Client::connect(&sim, APP).await;
        let mut second = Client::connect(&sim, APP).await;
        let links = sim.live_links(APP);
        let id = sim
            .say_on(links[0], APP, Message::to_bot("u1", "hi"))
            .await
            .unwrap();
        let frame = first.frame().await;
        second.ok(&frame).await;
        let seen = sim
            .wait_for("the ack", |sim| {
                sim.frames_of(&id)
                    .pop()
                    .filter(|frame| !frame.acks.is_empty())
            })
            .await
            .unwrap();
        assert_eq!(seen.state, state, "{matching:?}");
        assert_eq!(seen.acks[0].link, links[1]);
    }
}

#[tokio::test]
async fn pushes_spread_over_the_connections_that_subscribed() {
    let sim = start(SimOptions {
        ack_timeout: Duration::from_secs(60),
        ..options()
    })
    .await;
    let _first = Client::connect(&sim, APP).await;
    let _second = Client::connect(&sim, APP).await;
    let url = address(
        &sim,
        APP,
        "secret-1",
        json!([{"type": "EVENT", "topic": "*"}]),
    )
    .await;
    let _events_only = connect_async(url).await.unwrap();
    sim.connected(APP, 3).await.unwrap();
    for n in 0..60 {
        sim.say(APP, Message::to_bot("u1", format!("{n}")))
            .await
            .unwrap();
    }
    let pushed: Vec<u64> = sim.links().iter().map(|link| link.pushed).collect();
    assert_eq!(pushed[0] + pushed[1], 60);
    assert!(pushed[0] > 5 && pushed[1] > 5, "{pushed:?}");
    assert_eq!(pushed[2], 0);
}

#[tokio::test]
async fn a_message_to_two_bots_has_one_id_and_a_duplicate_has_two_frames() {
    let sim = start(options()).await;
    let mut first = Client::connect(&sim, APP).await;
    let mut other = Client::connect(&sim, OTHER).await;
    let id = sim
        .say_to_bots(&[APP, OTHER], Message::in_group(GROUP, "u", "both"))
        .await
        .unwrap();
    let (one, two) = (first.frame().await, other.frame().await);
    first.ok(&one).await;
    other.ok(&two).await;
    assert_eq!(data(&one)["msgId"], id.as_str());
    assert_eq!(data(&two)["msgId"], id.as_str());
    assert_ne!(data(&one)["sessionWebhook"], data(&two)["sessionWebhook"]);

    let mut second = Client::connect(&sim, APP).await;
    let id = sim
        .duplicate_on_two_sockets(APP, Message::to_bot("u", "twice"))
        .await
        .unwrap();
    let (one, two) = (first.frame().await, second.frame().await);
    assert_eq!(data(&one)["msgId"], id.as_str());
    assert_eq!(one["data"], two["data"]);
    assert_ne!(one["headers"]["messageId"], two["headers"]["messageId"]);

    sim.redeliver(&id).await.unwrap();
    assert_eq!(sim.frames_of(&id).len(), 3);
}

#[tokio::test]
async fn card_presses_and_foreign_topics_are_pushed() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.press_card_button(
        APP,
        CardPress {
            out_track_id: "track-1".to_owned(),
            user: "u1".to_owned(),
            action_ids: vec!["approve".to_owned()],
            ..CardPress::default()
        },
    )
    .await
    .unwrap();
    let press = data(&client.frame().await);
    let content: Value = serde_json::from_str(press["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["cardPrivateData"]["actionIds"], json!(["approve"]));
    assert_eq!(press["outTrackId"], "track-1");

    let unsubscribed = Push::new(APP, "CALLBACK", "/v1.0/graph/api/invoke", "{}");
    assert!(sim.push(unsubscribed.clone()).await.is_err());
    let link = sim.live_links(APP)[0];
    sim.push(unsubscribed.on(link)).await.unwrap();
    assert_eq!(
        client.frame().await["headers"]["topic"],
        "/v1.0/graph/api/invoke"
    );
}

#[tokio::test]
async fn a_burst_is_counted_frame_by_frame_and_its_ids_differ() {
    let sim = start(SimOptions {
        record_texts: false,
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let burst = Burst {
        app: APP.to_owned(),
        count: 500,
        groups: 3,
        in_flight: Some(100),
        ..Burst::default()
    };
    let reading = async {
        let mut ids = std::collections::HashSet::new();
        for _ in 0..500 {
            let frame = client.frame().await;
            client.ok(&frame).await;
            ids.insert(data(&frame)["msgId"].as_str().unwrap().to_owned());
        }
        ids.len()
    };
    let (report, ids) = tokio::join!(sim.burst(&burst), reading);
    let report = report.unwrap();
    assert_eq!((report.pushed, ids), (500, 500));
    sim.wait_for("500 acks", |sim| {
        (sim.counters().acked == 500).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(sim.ack_latencies_us(report.first).len(), 500);
    assert_eq!(sim.acked_of_burst(&report).len(), 500);
}

#[tokio::test]
async fn a_patient_burst_outlives_its_reader_and_loses_nothing_to_the_gap() {
    let sim = start(SimOptions {
        ack_timeout: Duration::from_millis(500),
        bot_retries: vec![Duration::from_millis(700); 3],
        ..options()
    })
    .await;
    let mut first = Client::connect(&sim, APP).await;
    let burst = Burst {
        app: APP.to_owned(),
        count: 400,
        per_second: Some(2000),
        patient: true,
        ..Burst::default()
    };
    let reading = async {
        for _ in 0..50 {
            let frame = first.frame().await;
            first.ok(&frame).await;
        }
        // Dies with frames in its hands.
        drop(first);
        let mut second = Client::connect(&sim, APP).await;
        loop {
            let frame = second.frame().await;
            second.ok(&frame).await;
        }
    };
    let counting = async {
        let report = sim.burst(&burst).await.unwrap();
        sim.wait_for("every message", |sim| {
            (sim.acked_of_burst(&report).len() == 400).then_some(())
        })
        .await
        .unwrap();
        report
    };
    let report = tokio::select! {
        () = reading => unreachable!("it reads for ever"),
        report = counting => report,
    };
    let frame = sim.frame(report.first).unwrap();
    assert_eq!(frame.business_id, Some(report.msg_id(0)));
}

fn captured(name: &str) -> Value {
    let path = format!("{}/tests/frames/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The keys of an object and the JSON type of each.
fn shape(value: &Value) -> BTreeMap<&str, Discriminant<Value>> {
    let map = value.as_object().unwrap();
    map.iter()
        .map(|(key, value)| (key.as_str(), discriminant(value)))
        .collect()
}

#[tokio::test]
async fn a_message_has_the_keys_and_types_of_captured_ones() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.say(APP, Message::to_bot("u", "hi")).await.unwrap();
    let frame = client.frame().await;
    let real = captured("09-callback-bot-text-1to1-redelivered.json");
    assert_eq!(shape(&frame), shape(&real));
    assert_eq!(shape(&frame["headers"]), shape(&real["headers"]));
    assert_eq!(shape(&data(&frame)), shape(&data(&real)));
    assert_eq!(
        shape(&data(&frame)),
        shape(&captured("17-bot-data-text-1to1-2026.json"))
    );

    sim.say(APP, Message::in_group(GROUP, "u", "hi"))
        .await
        .unwrap();
    let ours = data(&client.frame().await);
    let real = captured("24-bot-data-text-group-official-2026.json");
    let (ours, real) = (shape(&ours), shape(&real));
    for (key, kind) in real {
        assert_eq!(ours.get(key), Some(&kind), "{key}");
    }
}

#[tokio::test]
async fn an_outsider_has_no_staff_id_and_a_message_over_quota_no_text() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let outsider = Message::in_group(GROUP, "x", "hi").from_outsider();
    sim.say(APP, outsider).await.unwrap();
    let body = data(&client.frame().await);
    assert!(body["senderStaffId"].is_null() && body["senderCorpId"].is_null());
    assert!(
        body["senderId"]
            .as_str()
            .unwrap()
            .starts_with("$:LWCP_v1:$")
    );
    sim.say(APP, Message::to_bot("u", "hi").over_quota())
        .await
        .unwrap();
    let body = data(&client.frame().await);
    assert_eq!(body["errCode"], 20001);
    assert!(body["text"].is_null() && body["content"].is_null());
}
