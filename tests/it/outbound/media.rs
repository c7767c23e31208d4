//! Pictures, files, voices and videos on their way out.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use nats_dingtalk::broker::Description;
use nats_dingtalk::message::{Kind, Outcome, Receipt, Timestamp, Via};
use nats_dingtalk::sim::{Fault, MEDIA_UPLOAD_PATH, Message, Sent, USER_SEND_PATH};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::stage::{Stage, account};
use crate::support::wait;

const USER: &str = ".sales.user.u1";
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

/// A narrow-band recording of so many frames of 20 ms.
fn recording(frames: usize) -> Vec<u8> {
    let mut frame = vec![0x3c];
    frame.resize(32, 0x55);
    [b"#!AMR\n".to_vec(), frame.repeat(frames)].concat()
}

/// A video of so many seconds whose description comes last.
fn video(seconds: u32, size: usize) -> Vec<u8> {
    let boxed = |kind: &[u8], body: &[u8]| {
        let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
        [&size, kind, body].concat()
    };
    let scale = 600_u32;
    let times = [
        &[0; 12][..],
        &scale.to_be_bytes(),
        &(seconds * scale).to_be_bytes(),
    ]
    .concat();
    let description = boxed(b"moov", &boxed(b"mvhd", &times));
    [
        boxed(b"ftyp", b"isom"),
        boxed(b"mdat", &vec![7; size]),
        description,
    ]
    .concat()
}

async fn put(stage: &Stage, key: &str, bytes: &[u8]) {
    let media = stage.broker.media();
    media.put(key, Description::default(), bytes).await.unwrap();
}

async fn send(stage: &Stage, id: &str, body: Value) -> Receipt {
    publish(stage, id, body).await;
    stage.receipt("sales", id).await
}

async fn publish(stage: &Stage, id: &str, mut body: Value) {
    body["id"] = id.into();
    stage.publish(USER, body).await;
}

fn last(stage: &Stage) -> Sent {
    stage.sim.delivered().pop().unwrap()
}

/// Takes the chunks of an object away, and puts `instead` in their place.
async fn damage(stage: &Stage, key: &str, instead: Option<&[u8]>) {
    let store = stage.stream.get_object_store("DINGTALK_MEDIA").await;
    let upload = store.unwrap().info(key).await.unwrap().nuid;
    let chunks = format!("$O.DINGTALK_MEDIA.C.{upload}");
    let stream = stage.stream.get_stream("OBJ_DINGTALK_MEDIA").await.unwrap();
    stream.purge().filter(chunks.clone()).await.unwrap();
    if let Some(bytes) = instead {
        let published = stage.stream.publish(chunks, bytes.to_vec().into()).await;
        published.unwrap().await.unwrap();
    }
}

/// Serves `bytes` at a path of a host that no configuration names but the stage's.
async fn serve(path: &str, bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let router = Router::new().route(path, get(move || async move { bytes }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{host}{path}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_goes_out_from_the_object_store_in_its_own_form() {
    let stage = Stage::open(&["sales"]).await;
    put(&stage, "shots/a.png", PICTURE).await;
    put(&stage, "reports/q3.XLSX", b"PK a sheet").await;
    put(&stage, "memo.amr", &recording(100)).await;
    put(&stage, "clip.mp4", &video(12, 300_000)).await;
    let _line = stage.start("sales");
    let uploaded = |count: usize| {
        let upload = stage.sim.uploads().remove(count - 1);
        (upload.kind, upload.file_name, upload.media_id.unwrap())
    };

    let receipt = send(&stage, "image", json!({"image": {"object": "shots/a.png"}})).await;
    assert_eq!(
        (receipt.outcome, receipt.via),
        (Outcome::Sent, Some(Via::Openapi))
    );
    assert_eq!(
        (receipt.cost, receipt.attempts),
        (2, 1),
        "an upload counts too"
    );
    let (kind, name, id) = uploaded(1);
    assert_eq!((kind.as_str(), name.as_str()), ("image", "a.png"));
    assert_eq!(last(&stage).msg_param, json!({"photoURL": id}));

    let file = json!({"file": {"object": "reports/q3.XLSX", "name": "报表.xlsx"}});
    assert_eq!(send(&stage, "file", file).await.outcome, Outcome::Sent);
    let (kind, name, id) = uploaded(2);
    assert_eq!((kind.as_str(), name.as_str()), ("file", "报表.xlsx"));
    let expected = json!({"mediaId": id, "fileName": "报表.xlsx", "fileType": "xlsx"});
    assert_eq!(last(&stage).msg_param, expected);

    let audio = json!({"audio": {"object": "memo.amr"}});
    assert_eq!(send(&stage, "audio", audio).await.outcome, Outcome::Sent);
    let (kind, _, id) = uploaded(3);
    assert_eq!(kind, "voice");
    assert_eq!(
        last(&stage).msg_param,
        json!({"mediaId": id, "duration": "2000"})
    );

    let bare = json!({"video": {"object": "clip.mp4"}});
    assert_eq!(send(&stage, "bare", bare).await.outcome, Outcome::Sent);
    let (kind, _, id) = uploaded(4);
    assert_eq!(kind, "video");
    assert_eq!(
        last(&stage).msg_key,
        "sampleFile",
        "without a cover it is a file"
    );
    assert_eq!(last(&stage).msg_param["mediaId"], id);

    let video = json!({"video": {"object": "clip.mp4", "cover": {"object": "shots/a.png"}}});
    assert_eq!(send(&stage, "video", video).await.outcome, Outcome::Sent);
    let sent = last(&stage);
    assert_eq!(sent.msg_key, "sampleVideo");
    assert_eq!(sent.msg_param["duration"], "12");
    assert_eq!(
        sent.msg_param["picMediaId"],
        uploaded(1).2,
        "the picture is known"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_id_is_used_as_it_is_and_an_address_is_fetched_into_the_store_first() {
    let stage = Stage::open(&["sales"]).await;
    let url = serve("/clips/clip.mp4", video(3, 200_000)).await;
    let _line = stage.start("sales");
    let receipt = send(&stage, "url", json!({"video": {"url": url}})).await;
    assert_eq!(receipt.outcome, Outcome::Sent, "{receipt:?}");
    assert_eq!(last(&stage).msg_param["fileName"], "clip.mp4");
    stage.done().await;
    let left = stage.broker.media().list().await.unwrap();
    assert!(left.is_empty(), "what passed through is removed: {left:?}");
    let id = stage.sim.uploads()[0].media_id.clone().unwrap();
    let file = json!({"file": {"media_id": id, "name": "clip.zip"}});
    let receipt = send(&stage, "known", file).await;
    assert_eq!((receipt.outcome, receipt.cost), (Outcome::Sent, 1));
    assert_eq!(last(&stage).msg_param["mediaId"], id);
    assert_eq!(stage.sim.uploads().len(), 1);
    let foreign = json!({"image": {"media_id": "@nobody-uploaded-it"}});
    let receipt = send(&stage, "foreign", foreign).await;
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert_eq!(receipt.code.as_deref(), Some("invalid.param.photoURL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dingtalk_would_not_take_is_refused_before_any_call() {
    let stage = Stage::open(&["sales"]).await;
    put(&stage, "a.webp", PICTURE).await;
    put(&stage, "notes.txt", b"text").await;
    put(&stage, "long.amr", &recording(70_000)).await;
    put(&stage, "noise.wav", b"no recording").await;
    let large = serve("/large.amr", recording(70_000)).await;
    let _line = stage.start("sales");
    for (id, body, says) in [
        ("format", json!({"image": {"object": "a.webp"}}), "webp"),
        ("text", json!({"file": {"object": "notes.txt"}}), "zip"),
        (
            "renamed",
            json!({"file": {"object": "a.webp", "name": "a"}}),
            "extension",
        ),
        ("large", json!({"audio": {"object": "long.amr"}}), "2 MB"),
        ("fetched", json!({"audio": {"url": large}}), "2 MB"),
        (
            "length",
            json!({"audio": {"object": "noise.wav"}}),
            "duration_ms",
        ),
        (
            "missing",
            json!({"image": {"object": "no/such.png"}}),
            "`no/such.png`",
        ),
        (
            "path",
            json!({"file": {"object": "/etc/passwd"}}),
            "`/etc/passwd`",
        ),
        (
            "scheme",
            json!({"file": {"url": "file:///etc/passwd"}}),
            "http",
        ),
        (
            "inside",
            json!({"file": {"url": "http://169.254.169.254/a.pdf"}}),
            "media_hosts",
        ),
        ("field", json!({"file": {"path": "/etc/passwd"}}), "path"),
        (
            "both",
            json!({"file": {"object": "a", "url": "b"}}),
            "exactly one",
        ),
    ] {
        let receipt = send(&stage, id, body).await;
        assert_eq!(receipt.outcome, Outcome::Failed, "{id}");
        let text = receipt.message.unwrap();
        assert!(text.contains(says), "{id}: {text}");
        assert_eq!((receipt.attempts, receipt.cost), (0, 0), "{id}");
    }
    assert!(stage.sim.uploads().is_empty());
    assert!(stage.sim.sent().is_empty());
    stage.done().await;
    assert_eq!(stage.dead().await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_damaged_is_given_up_and_holds_its_chat_up_no_longer() {
    let stage = Stage::open(&["sales"]).await;
    let (pdf, other, more) = (&b"%PDF-1"[..], &b"%PDF-2"[..], &b"%PDF-1 and more"[..]);
    let voice = recording(100);
    let rows = [
        ("u1", "image", "gone.png", PICTURE, None),
        ("u2", "file", "other.pdf", pdf, Some(other)),
        ("u3", "file", "more.pdf", pdf, Some(more)),
        ("u4", "audio", "gone.amr", voice.as_slice(), None),
    ];
    for (user, kind, key, bytes, instead) in rows {
        put(&stage, key, bytes).await;
        damage(&stage, key, instead).await;
        let subject = format!(".sales.user.{user}");
        let body = json!({"id": user, kind: {"object": key}});
        stage.publish(&subject, body).await;
        let behind = json!({"id": format!("behind-{user}"), "text": "behind it"});
        stage.publish(&subject, behind).await;
    }
    let _line = stage.start("sales");
    for (user, _, key, _, _) in rows {
        let receipt = stage.receipt("sales", user).await;
        assert_eq!(receipt.outcome, Outcome::Failed, "{receipt:?}");
        let text = receipt.message.unwrap();
        assert!(text.contains(&format!("`{key}` is damaged")), "{text}");
        let behind = stage.receipt("sales", &format!("behind-{user}")).await;
        assert_eq!(behind.outcome, Outcome::Sent, "{behind:?}");
    }
    assert_eq!(stage.texts(), ["behind it"; 4]);
    stage.done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_uploaded_once_until_dingtalk_forgets_them() {
    let stage = Stage::open(&["sales"]).await;
    put(&stage, "a.png", PICTURE).await;
    put(&stage, "copy-of-a.png", PICTURE).await;
    let _line = stage.start("sales");
    let image = |key: &str| json!({"image": {"object": key}});
    assert_eq!(send(&stage, "first", image("a.png")).await.cost, 2);
    assert_eq!(send(&stage, "second", image("copy-of-a.png")).await.cost, 1);
    assert_eq!(stage.sim.uploads().len(), 1);
    let forgotten = Fault::Reject {
        path: USER_SEND_PATH.to_owned(),
        status: 400,
        body: r#"{"code":"invalid.param.photoURL","message":"无效的mediaId"}"#.to_owned(),
        times: Some(1),
    };
    stage.inject(forgotten).await;
    let receipt = send(&stage, "third", image("a.png")).await;
    assert_eq!((receipt.outcome, receipt.attempts), (Outcome::Sent, 2));
    assert_eq!(stage.sim.uploads().len(), 2);
    let newest = stage.sim.uploads()[1].media_id.clone().unwrap();
    assert_eq!(last(&stage).msg_param["photoURL"], newest);
    assert_eq!(
        send(&stage, "fourth", image("a.png")).await.outcome,
        Outcome::Sent
    );
    assert_eq!(stage.sim.uploads().len(), 2, "the new id is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_an_answer_is_made_again_and_the_message_is_seen_once() {
    let stage = Stage::open(&["sales"]).await;
    put(&stage, "a.pdf", b"%PDF-1.7").await;
    let path = MEDIA_UPLOAD_PATH.to_owned();
    let times = Some(1);
    stage.inject(Fault::ApplyThenCut { path, times }).await;
    let _line = stage.start("sales");
    let receipt = send(&stage, "cut", json!({"file": {"object": "a.pdf"}})).await;
    assert_eq!((receipt.outcome, receipt.attempts), (Outcome::Sent, 1));
    assert_eq!(stage.sim.uploads().len(), 2);
    assert_eq!(stage.sim.delivered().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_dies_in_the_middle_of_an_upload_sends_in_its_next_life() {
    let stage = Stage::open(&["sales"]).await;
    let url = serve("/a.pdf", b"%PDF-1.7".to_vec()).await;
    let path = MEDIA_UPLOAD_PATH.to_owned();
    let times = Some(1);
    stage.inject(Fault::ApplyThenHold { path, times }).await;
    publish(&stage, "file", json!({"file": {"url": url}})).await;
    publish(&stage, "text", json!({"text": "behind it"})).await;
    let line = stage.start("sales");
    wait::until_true("an upload", async || stage.sim.uploads().len() == 1).await;
    line.kill().await;
    assert!(stage.sim.sent().is_empty(), "the chat waits for the upload");
    let _next = stage.start("sales");
    let receipt = stage.receipt("sales", "file").await;
    assert_eq!((receipt.outcome, receipt.attempts), (Outcome::Sent, 1));
    stage.done().await;
    let delivered = stage.sim.delivered();
    let keys: Vec<&str> = delivered.iter().map(|sent| sent.msg_key.as_str()).collect();
    assert_eq!(keys, ["sampleFile", "sampleText"], "once, and in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_delays_no_other_chat_and_ends_with_the_time_of_its_request() {
    let stage = Stage::open(&["sales"]).await;
    put(&stage, "a.pdf", b"%PDF-1.7").await;
    let path = MEDIA_UPLOAD_PATH.to_owned();
    let times = None;
    stage.inject(Fault::Hold { path, times }).await;
    let soon = Timestamp::now().after(Duration::from_secs(3)).to_string();
    let body = json!({"file": {"object": "a.pdf"}, "expires_at": soon});
    publish(&stage, "held", body).await;
    stage
        .publish(".sales.user.u2", json!({"id": "other", "text": "other"}))
        .await;
    let _line = stage.start("sales");
    assert_eq!(stage.receipt("sales", "other").await.outcome, Outcome::Sent);
    assert_eq!(stage.receipts().await, 1, "the upload is under way still");
    let receipt = stage.receipt("sales", "held").await;
    assert_eq!((receipt.outcome, receipt.attempts), (Outcome::Expired, 0));
    assert_eq!(stage.sim.delivered().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn media_take_the_open_api_and_an_outsider_is_refused_before_the_upload() {
    let stage = Stage::open(&["sales"]).await;
    put(&stage, "a.png", PICTURE).await;
    let known = stage
        .hear("sales", Message::to_bot("u1", "hi"), Kind::User)
        .await;
    let message = Message::to_bot("visitor", "hi").from_outsider();
    let outsider = stage.hear("sales", message, Kind::User).await;
    let chat = stage.session(&outsider).await.chat;
    let _line = stage.start("sales");
    let subject = stage
        .subjects
        .outbound(&account("sales"), Kind::User, &chat);
    let subject = subject.strip_prefix("dingtalk.outbound").unwrap();
    let image = json!({"id": "outsider", "image": {"object": "a.png"}});
    stage.publish(subject, image).await;
    let receipt = stage.receipt("sales", "outsider").await;
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert!(receipt.message.unwrap().contains("without staffId"));
    assert!(stage.sim.uploads().is_empty());
    let reply = json!({"to": {"reply_to": known}, "image": {"object": "a.png"}});
    let receipt = send(&stage, "reply", reply).await;
    assert_eq!(
        (receipt.outcome, receipt.via),
        (Outcome::Sent, Some(Via::Openapi))
    );
}
