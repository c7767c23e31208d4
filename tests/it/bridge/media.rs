//! Media that comes in: named at once, fetched after the ack, stored or told why not.

use std::time::Duration;

use futures_util::StreamExt;
use nats_dingtalk::broker::{Bucket, KeyValue};
use nats_dingtalk::sim::{
    Attachment, CallRefusal, Fault, MEDIA_DOWNLOAD_PATH, MEDIA_OBJECT_PATH, Message, SimOptions,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::bridge::{CLIENT_ID, Setup};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, Stored, World, messages, options};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const STATUS: &str = "DINGTALK_STATUS";

/// A picture that is unlike the others.
fn picture(n: u8) -> Attachment {
    Attachment::picture([PNG, &[n]].concat())
}

fn alone(attachment: Attachment) -> Message {
    Message::to_bot("manager1", "").carrying(attachment)
}

/// Paths of the storage behind signed URLs.
fn objects() -> String {
    format!("{MEDIA_OBJECT_PATH}*")
}

async fn say(world: &World, message: Message) -> Stored {
    let before = messages(&world.nats, "DINGTALK_INBOUND").await;
    let before = before.map_or(0, |stored| stored.len());
    world.sim.say(CLIENT_ID, message).await.unwrap();
    world
        .stored("DINGTALK_INBOUND", before + 1)
        .await
        .pop()
        .unwrap()
}

/// What was told about an object.
async fn told(nats: &Nats, object: &str) -> Value {
    let what = format!("a status of {object}");
    wait::within(Duration::from_secs(60), &what, async || {
        let all = messages(nats, STATUS).await?;
        let mut all = all.into_iter().map(|stored| stored.body);
        all.find(|status| status["object"] == object)
    })
    .await
}

/// The bytes of an object, in hex of their SHA-256 and as they are.
async fn bytes_of(nats: &Nats, object: &str) -> Vec<u8> {
    let (_, mut reader) = nats
        .broker()
        .await
        .media()
        .open(object)
        .await
        .unwrap()
        .unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Chunks of any object in the store, finished or not.
async fn chunks(nats: &Nats) -> u64 {
    let jetstream = nats.jetstream().await;
    let stream = jetstream.get_stream("OBJ_DINGTALK_MEDIA").await.unwrap();
    let info = stream.info_with_subjects("$O.DINGTALK_MEDIA.C.>");
    let mut subjects = info.await.unwrap();
    let mut count = 0;
    while let Some(Ok((_, chunks))) = subjects.next().await {
        count += u64::try_from(chunks).unwrap();
    }
    count
}

fn object(item: &Value) -> &str {
    item["object"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn every_kind_of_media_is_named_at_once_and_stored_with_its_bytes() {
    let world = World::start().await;
    let rows = [
        (picture(1), "image", "image/png", "image.png"),
        (
            Attachment::file("../年报 2026.pdf", &b"%PDF-1.7 x"[..]),
            "file",
            "application/pdf",
            "年报 2026.pdf",
        ),
        (
            Attachment::audio(4000, "你好", &b"#!AMR\n\x3c\0\0\0\0\0\0\0\0"[..]),
            "audio",
            "audio/amr",
            "audio.amr",
        ),
        (
            Attachment::video(4200, &b"\0\0\0\x18ftypmp42\0\0\0\0"[..]),
            "video",
            "video/mp4",
            "video.mp4",
        ),
    ];
    for (attachment, kind, mime, name) in rows {
        let stored = say(&world, alone(attachment.clone())).await;
        let item = &stored.body["message"]["media"][0];
        assert_eq!(item["kind"], kind);
        let id = stored.body["id"].as_str().unwrap();
        assert_eq!(object(item), format!("sales/{id}/1"));
        assert_eq!(stored.header("Dingtalk-Media"), "1");
        let status = told(&world.nats, object(item)).await;
        assert_eq!(status["type"], "media");
        assert_eq!(status["state"], "stored", "{status}");
        assert_eq!(status["message"], id);
        assert_eq!(status["size"], attachment.bytes.len());
        assert_eq!(
            (&status["mime"], &status["name"]),
            (&json!(mime), &json!(name))
        );
        assert_eq!(bytes_of(&world.nats, object(item)).await, attachment.bytes);
    }
    let metric = "nats_dingtalk_media_total";
    let counted = world.bridge.metric(metric, &["outcome=\"stored\""]).await;
    assert_eq!(counted, 4.0);
    let text = say(&world, Message::to_bot("manager1", "hi")).await;
    assert!(text.headers.get("Dingtalk-Media").is_none());
}

#[tokio::test]
async fn three_pictures_of_a_rich_text_and_a_quoted_file_are_objects_of_their_own() {
    let world = World::start().await;
    let quoted = Attachment::file("q.zip", &b"PK\x03\x04quoted"[..]);
    let message = Message::in_group(GROUP, "manager1", "look")
        .carrying(picture(1))
        .carrying(picture(2))
        .carrying(picture(3))
        .quoting(quoted.clone());
    let stored = say(&world, message).await;
    assert_eq!(stored.header("Dingtalk-Media"), "4");
    let said = &stored.body["message"];
    for n in 0..3 {
        let item = &said["media"][n];
        told(&world.nats, object(item)).await;
        let expected = picture(u8::try_from(n).unwrap() + 1).bytes;
        assert_eq!(bytes_of(&world.nats, object(item)).await, expected);
    }
    let item = &said["quoted"]["media"][0];
    assert!(object(item).ends_with("/4"), "{item}");
    let status = told(&world.nats, object(item)).await;
    assert_eq!(status["name"], "q.zip");
    assert_eq!(bytes_of(&world.nats, object(item)).await, quoted.bytes);
}

#[tokio::test]
async fn a_slow_download_delays_no_ack_and_no_other_message() {
    let world = World::start().await;
    world
        .sim
        .inject(Fault::Delay {
            path: objects(),
            ms: 6000,
            times: Some(1),
        })
        .await
        .unwrap();
    let msg_id = world
        .sim
        .say(CLIENT_ID, alone(Attachment::file("a.pdf", &b"%PDF-"[..])))
        .await
        .unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let first = world.stored("DINGTALK_INBOUND", 1).await.pop().unwrap();
    let second = say(&world, alone(picture(1))).await;
    let quick = object(&second.body["message"]["media"][0]).to_owned();
    assert_eq!(told(&world.nats, &quick).await["state"], "stored");
    let slow = object(&first.body["message"]["media"][0]).to_owned();
    let all = messages(&world.nats, STATUS).await.unwrap();
    assert!(all.iter().all(|status| status.body["object"] != slow));
    assert_eq!(told(&world.nats, &slow).await["state"], "stored");
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told_with_its_reason_and_not_tried_again() {
    let world = World::start_with(options(), |setup| {
        setup.extra("[inbound]\nmedia_max_bytes = 200000\n")
    })
    .await;
    world
        .sim
        .inject(Fault::Refuse {
            path: MEDIA_DOWNLOAD_PATH.to_owned(),
            how: CallRefusal::MonthlyQuota,
            times: Some(1),
        })
        .await
        .unwrap();
    let quota = say(&world, alone(picture(1))).await;
    let status = told(&world.nats, object(&quota.body["message"]["media"][0])).await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("failed"), &json!("quota"))
    );

    let big = say(
        &world,
        alone(Attachment::file("big.zip", &b"PK\x03\x04"[..]).sized(200_001)),
    )
    .await;
    let status = told(&world.nats, object(&big.body["message"]["media"][0])).await;
    assert_eq!(status["reason"], "too-large", "{status}");

    // A host that does not say how much is to come is stopped in the middle.
    world
        .sim
        .inject(Fault::Lengthen {
            path: objects(),
            bytes: 300_000,
            times: Some(1),
        })
        .await
        .unwrap();
    let longer = say(
        &world,
        alone(Attachment::file("l.zip", &b"PK\x03\x04"[..]).sized(150_000)),
    )
    .await;
    let status = told(&world.nats, object(&longer.body["message"]["media"][0])).await;
    assert_eq!(status["reason"], "too-large", "{status}");

    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!(
        "http://{}/secret?Signature=canary",
        elsewhere.local_addr().unwrap()
    );
    world
        .sim
        .inject(Fault::Redirect {
            path: objects(),
            to,
            times: Some(1),
        })
        .await
        .unwrap();
    let lured = say(&world, alone(picture(2))).await;
    let status = told(&world.nats, object(&lured.body["message"]["media"][0])).await;
    assert_eq!(status["reason"], "forbidden", "{status}");
    let visited = tokio::time::timeout(Duration::from_millis(1), elsewhere.accept()).await;
    assert!(visited.is_err(), "the bridge went where it must not");

    // The code is of no use any more when its turn comes.
    world
        .sim
        .inject(Fault::Delay {
            path: MEDIA_DOWNLOAD_PATH.to_owned(),
            ms: 1000,
            times: Some(1),
        })
        .await
        .unwrap();
    let late = say(&world, alone(picture(3))).await;
    world
        .sim
        .inject(Fault::ExpireDownloads {
            app: CLIENT_ID.into(),
        })
        .await
        .unwrap();
    let status = told(&world.nats, object(&late.body["message"]["media"][0])).await;
    assert_eq!(status["reason"], "expired", "{status}");

    assert_eq!(chunks(&world.nats).await, 0, "nothing unfinished stays");
    let log = world.bridge.log();
    assert!(
        !log.contains("canary") && !log.contains("Signature"),
        "{log}"
    );
    assert!(
        !log.contains("mIofN"),
        "a download code is in the log: {log}"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again_and_leaves_no_chunk_behind() {
    let world = World::start().await;
    world
        .sim
        .inject(Fault::CutBody {
            path: objects(),
            after: 300_000,
            times: Some(2),
        })
        .await
        .unwrap();
    let file = Attachment::file("a.zip", &b"PK\x03\x04"[..]).sized(500_000);
    let stored = say(&world, alone(file.clone())).await;
    let item = object(&stored.body["message"]["media"][0]).to_owned();
    let status = told(&world.nats, &item).await;
    assert_eq!(
        (&status["state"], &status["size"]),
        (&json!("stored"), &json!(500_000))
    );
    assert_eq!(sha256(&bytes_of(&world.nats, &item).await), file.sha256());
    assert_eq!(chunks(&world.nats).await, 500_000_u64.div_ceil(128 * 1024));
}

/// A host that sends the first `bytes` of a body twice as long to whoever comes, and then nothing.
async fn stalling_host(bytes: usize) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            // The end of the request is the beginning of the answer.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * bytes);
            let mut answer = head.into_bytes();
            answer.extend(vec![7; bytes]);
            socket.write_all(&answer).await.unwrap();
            open.push(socket);
        }
    });
    (host, serving)
}

/// A world whose bridge has stored the first chunks of a file and waits for more of it: the file, the
/// key of its object, and the host that stopped.
async fn in_the_middle() -> (World, Attachment, String, String) {
    let (host, _) = stalling_host(300_000).await;
    let allowed = format!("media_hosts = [\"{host}\"]");
    let world = World::start_with(options(), |setup| setup.dingtalk(&allowed)).await;
    world
        .sim
        .inject(Fault::Redirect {
            path: objects(),
            to: format!("http://{host}/slow"),
            times: Some(1),
        })
        .await
        .unwrap();
    let file = Attachment::file("a.zip", &b"PK\x03\x04"[..]).sized(1_000_000);
    let stored = say(&world, alone(file.clone())).await;
    wait::until_true("the first chunks", async || chunks(&world.nats).await == 2).await;
    let item = object(&stored.body["message"]["media"][0]).to_owned();
    (world, file, item, allowed)
}

#[tokio::test]
async fn kill_9_in_the_middle_of_a_download_leaves_it_to_the_next_life() {
    let (World { nats, sim, bridge }, file, item, allowed) = in_the_middle().await;
    let _second = Setup::new(&nats.url(), sim.api_url())
        .dingtalk(&allowed)
        .in_dir(bridge.kill())
        .start()
        .await
        .ready()
        .await;
    assert_eq!(told(&nats, &item).await["state"], "stored");
    assert_eq!(sha256(&bytes_of(&nats, &item).await), file.sha256());
    // The chunks of the life that was killed are gone.
    assert_eq!(chunks(&nats).await, 1_000_000_u64.div_ceil(128 * 1024));
}

/// The claim on an object.
async fn claim(cache: &KeyValue, item: &str) -> Value {
    let entry = cache.read(&format!("media:{item}")).await.unwrap().unwrap();
    serde_json::from_slice(&entry.value).unwrap()
}

#[tokio::test]
async fn kill_9_between_the_last_byte_and_the_end_of_its_claim_leaves_the_object_whole() {
    let World { nats, sim, bridge } = World::start().await;
    let file = Attachment::file("a.zip", &b"PK\x03\x04"[..]).sized(300_000);
    let msg_id = sim.say(CLIENT_ID, alone(file.clone())).await.unwrap();
    let item = format!("sales/{CLIENT_ID}:{msg_id}/1");
    assert_eq!(told(&nats, &item).await["state"], "stored");
    let cache = nats.broker().await.bucket(Bucket::Cache);
    let is_over = async || claim(&cache, &item).await["over"] == true;
    wait::until_true("the end of the claim", is_over).await;
    let dir = bridge.kill();
    // As it stood when the last byte was stored, and a lease later.
    let mut left = claim(&cache, &item).await;
    left["over"] = json!(false);
    left["until"] = json!("2026-01-01T00:00:00.000Z");
    let key = format!("media:{item}");
    cache.write(&key, left.to_string().into()).await.unwrap();
    let _second = Setup::new(&nats.url(), sim.api_url())
        .in_dir(dir)
        .start()
        .await
        .ready()
        .await;
    wait::until_true("the end found by the next life", async || {
        claim(&cache, &item).await["over"] == true
    })
    .await;
    assert_eq!(sha256(&bytes_of(&nats, &item).await), file.sha256());
    let calls = sim.calls();
    let downloads = calls.iter().filter(|call| call.path == MEDIA_DOWNLOAD_PATH);
    assert_eq!(downloads.count(), 1);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_download_tidies_up_and_leaves_it_to_the_next_life() {
    let (World { nats, sim, bridge }, file, item, allowed) = in_the_middle().await;
    bridge.signal("TERM");
    let (status, dir) = bridge.ended().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(chunks(&nats).await, 0);
    let _second = Setup::new(&nats.url(), sim.api_url())
        .dingtalk(&allowed)
        .in_dir(dir)
        .start()
        .await
        .ready()
        .await;
    assert_eq!(told(&nats, &item).await["state"], "stored");
    assert_eq!(sha256(&bytes_of(&nats, &item).await), file.sha256());
}

#[tokio::test]
async fn a_message_that_went_through_the_spool_is_fetched_too() {
    let World {
        mut nats,
        sim,
        bridge: _bridge,
    } = World::start().await;
    nats.kill();
    let msg_id = sim.say(CLIENT_ID, alone(picture(7))).await.unwrap();
    sim.acked(&msg_id).await.unwrap();
    nats.restart().await;
    let item = format!("sales/{CLIENT_ID}:{msg_id}/1");
    assert_eq!(told(&nats, &item).await["state"], "stored");
    assert_eq!(bytes_of(&nats, &item).await, picture(7).bytes);
}

#[tokio::test]
async fn two_bridges_fetch_each_item_once() {
    let world = World::start().await;
    let second = world.setup().start().await.ready().await;
    let mut items = Vec::new();
    for n in 0..8 {
        let stored = say(&world, alone(picture(n))).await;
        items.push(object(&stored.body["message"]["media"][0]).to_owned());
    }
    for item in &items {
        assert_eq!(told(&world.nats, item).await["state"], "stored");
    }
    // A third one that starts finds the ends that are known.
    let _third = world.setup().start().await.ready().await;
    let fetched = || {
        let calls = world.sim.calls();
        let downloads = calls.iter();
        downloads
            .filter(|call| call.path == MEDIA_DOWNLOAD_PATH)
            .count()
    };
    wait::never(Duration::from_secs(2), "fetched twice", async || {
        fetched() > 8
    })
    .await;
    assert_eq!(fetched(), 8);
    drop(second);
}

#[tokio::test]
async fn media_is_only_linked_or_left_out_where_an_account_says_so() {
    for (rule, has_code) in [("link", true), ("off", false)] {
        let world = World::start_with(options(), |setup| {
            setup.account(&format!("media = \"{rule}\""))
        })
        .await;
        let file = Attachment::file("a.pdf", &b"%PDF-"[..]);
        let stored = say(&world, alone(file)).await;
        let item = &stored.body["message"]["media"][0];
        assert!(item["object"].is_null(), "{item}");
        assert_eq!(item["download_code"].is_string(), has_code, "{item}");
        assert_eq!(item["name"], "a.pdf");
        assert!(stored.body["raw"]["content"]["downloadCode"].is_string());
        assert!(stored.headers.get("Dingtalk-Media").is_none());
        assert_eq!(world.stored("DINGTALK_INBOUND", 1).await.len(), 1);
        assert!(
            world
                .sim
                .calls()
                .iter()
                .all(|call| call.path != MEDIA_DOWNLOAD_PATH)
        );
    }
}

#[tokio::test]
async fn what_a_policy_keeps_out_is_not_fetched() {
    let world = World::start_with(options(), |setup| {
        setup.account("allowed_users = [\"boss\"]\ngated = \"publish\"")
    })
    .await;
    world.sim.say(CLIENT_ID, alone(picture(1))).await.unwrap();
    let gated = world.stored("DINGTALK_GATED", 1).await.pop().unwrap();
    assert!(gated.body["message"]["media"][0]["object"].is_null());
    assert!(gated.headers.get("Dingtalk-Media").is_none());
    let boss = Message::to_bot("boss", "").carrying(picture(2));
    let stored = say(&world, boss).await;
    told(&world.nats, object(&stored.body["message"]["media"][0])).await;
    let calls = world.sim.calls();
    let downloads = calls.iter().filter(|call| call.path == MEDIA_DOWNLOAD_PATH);
    assert_eq!(downloads.count(), 1);
}

/// A figure of `/proc/<pid>/status`, in KiB.
fn memory(pid: u32, what: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn twenty_megabytes_pass_without_being_held() {
    let world = World::start_with(
        SimOptions {
            keep: 1000,
            ..options()
        },
        |setup| setup,
    )
    .await;
    let warm = say(&world, alone(picture(1))).await;
    told(&world.nats, object(&warm.body["message"]["media"][0])).await;
    let before = memory(world.bridge.pid(), "VmRSS");
    let file = Attachment::file("a.zip", &b"PK\x03\x04"[..]).sized(20 << 20);
    let stored = say(&world, alone(file.clone())).await;
    let item = object(&stored.body["message"]["media"][0]).to_owned();
    assert_eq!(told(&world.nats, &item).await["state"], "stored");
    let peak = memory(world.bridge.pid(), "VmHWM");
    let grown = peak.saturating_sub(before);
    println!("resident: {before} KiB before, {peak} KiB at the peak, {grown} KiB more");
    assert!(grown < 10 << 10, "{grown} KiB more for 20 MiB");
    assert_eq!(sha256(&bytes_of(&world.nats, &item).await), file.sha256());
}
