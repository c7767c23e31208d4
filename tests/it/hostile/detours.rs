//! Addresses and names that lead elsewhere than they should: webhooks, downloads, file names.

use nats_dingtalk::broker::Description;
use nats_dingtalk::sim::{Attachment, Message, Push};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::BOT;
use crate::support::bridge::{CLIENT_ID, PROGRAM};
use crate::support::wait;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_webhook_that_leads_elsewhere_is_not_posted_to() {
    let world = World::start().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let query = "robot/sendBySession?session=canary";
    let lures = [
        format!("http://127.0.0.1:{port}/{query}"),
        format!("http://localhost:{port}/{query}"),
        format!("http://2130706433:{port}/{query}"),
        format!("http://0x7f.1:{port}/{query}"),
        format!("http://[::ffff:127.0.0.1]:{port}/{query}"),
        format!("http://oapi.dingtalk.com@127.0.0.1:{port}/{query}"),
        format!("http://127.0.0.1:{port}/{query}#.dingtalk.com"),
        format!("{}@127.0.0.1:{port}/{query}", world.sim.oapi_url()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://oapi.dingtalk.com.evil.example/robot".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for (at, lure) in lures.iter().enumerate() {
        let user = format!("user{at}");
        let data = json!({
            "msgId": format!("lure{at}"), "conversationType": "1", "conversationId": format!("cid{at}"),
            "senderStaffId": user, "msgtype": "text", "text": {"content": "hi"},
            "sessionWebhook": lure, "sessionWebhookExpiredTime": 4_102_444_800_000_u64,
        });
        let push = Push::new(CLIENT_ID, "CALLBACK", BOT, data.to_string());
        world.sim.push(push).await.unwrap();
        let stored = world.stored("DINGTALK_INBOUND", at + 1).await;
        let id = format!("{CLIENT_ID}:lure{at}");
        let inbound = stored.iter().find(|one| one.body["id"] == id).unwrap();
        assert!(
            !inbound.body.to_string().contains("canary"),
            "{}",
            inbound.body
        );
        // Asked for the webhook alone, it fails; left the choice, it goes over the Open API.
        let subject = format!("dingtalk.outbound.sales.user.{user}");
        let wanted = format!("wanted{at}");
        let body = json!({"id": wanted, "via": "webhook", "text": "a"});
        world.request(&subject, &body).await;
        let receipt = world.receipt(&wanted).await;
        assert_eq!(receipt["outcome"], "failed", "{lure}: {receipt}");
        let free = format!("free{at}");
        world
            .request(&subject, &json!({"id": free, "text": "b"}))
            .await;
        let receipt = world.receipt(&free).await;
        assert_eq!(receipt["outcome"], "sent", "{lure}: {receipt}");
        assert_eq!(receipt["via"], "openapi", "{lure}: {receipt}");
    }
    let visited = tokio::time::timeout(std::time::Duration::from_millis(1), elsewhere.accept());
    assert!(visited.await.is_err(), "the bridge went where it must not");
    assert!(!world.bridge.log().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_file_name_leads_nowhere_on_its_way_in() {
    let world = World::start().await;
    let names = [
        ("../../up.sh", "up.sh"),
        ("/etc/cron.d/root.sh", "root.sh"),
        ("..\\..\\back.sh", "back.sh"),
        ("nul\0byte.sh", "nulbyte.sh"),
        ("line\r\nX-Evil: 1.sh", "lineX-Evil 1.sh"),
        ("\u{202e}hs.sdrawkcab", "hs.sdrawkcab"),
        (".hidden.sh", "hidden.sh"),
    ];
    for (at, (name, _)) in names.iter().enumerate() {
        let file = Attachment::file(*name, format!("file {at}"));
        let said = Message::to_bot("manager1", "").carrying(file);
        world.sim.say(CLIENT_ID, said).await.unwrap();
    }
    // Whoever may write to the store can choose both.
    let broker = world.nats.broker().await;
    let evil = Description {
        name: Some("../../../evil.sh".to_owned()),
        mime: Some("text/x\r\nX-Evil: 1".to_owned()),
    };
    let key = "../../../../etc/passwd";
    broker.media().put(key, evil, &b"evil"[..]).await.unwrap();
    let objects = wait::until("all objects", async || {
        let listed = broker.media().list().await.ok()?;
        (listed.len() > names.len()).then_some(listed)
    })
    .await;
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("a/b/c/d");
    std::fs::create_dir_all(&inner).unwrap();
    for object in &objects {
        let got = tokio::process::Command::new(PROGRAM)
            .args(["media", "get", &object.key, "--nats-url", &world.nats.url()])
            .current_dir(&inner)
            .output()
            .await
            .unwrap();
        assert!(got.status.success(), "{got:?}");
        let shown = String::from_utf8(got.stderr).unwrap();
        assert!(!shown.trim_end().contains(char::is_control), "{shown:?}");
    }
    let names_in = |path: &std::path::Path| {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let mut expected: Vec<String> = names.iter().map(|(_, name)| (*name).to_owned()).collect();
    expected.push("evil.sh".to_owned());
    expected.sort();
    assert_eq!(names_in(&inner), expected);
    assert_eq!(names_in(dir.path()), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_file_name_stays_in_its_header_on_its_way_out() {
    let world = World::start().await;
    let broker = world.nats.broker().await;
    let nothing = Description {
        name: None,
        mime: None,
    };
    broker
        .media()
        .put("report", nothing, &b"%PDF-1.7"[..])
        .await
        .unwrap();
    let names = [
        "a\"; filename=\"b.exe\"; x=\".pdf",
        "a\r\nX-Evil: 1\r\n\r\n.pdf",
        "../../a.pdf",
        "\u{202e}a.pdf",
        "a\0b.pdf",
    ];
    for (at, name) in names.iter().enumerate() {
        let id = format!("file{at}");
        let body = json!({"id": id, "file": {"object": "report", "name": name}});
        world
            .request("dingtalk.outbound.sales.user.manager1", &body)
            .await;
        let receipt = world.receipt(&id).await;
        let refused = receipt["outcome"] == "failed" && receipt["code"] == "malformed";
        assert!(
            refused || receipt["outcome"] == "sent",
            "{name:?}: {receipt}"
        );
    }
    for upload in world.sim.uploads() {
        let hostile = |c: char| c.is_control() || matches!(c, '"' | '/' | '\\');
        assert!(
            !upload.file_name.contains(hostile),
            "{:?}",
            upload.file_name
        );
        assert!(upload.file_name.ends_with(".pdf"), "{:?}", upload.file_name);
    }
}
