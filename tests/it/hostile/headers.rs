//! Requests whose header block no client library would write: a login at the broker is enough to
//! send any bytes.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::World;

/// Publishes a request with a header block as it stands, and waits until the broker has it.
async fn publish_raw(nats: &Nats, subject: &str, headers: &[u8], body: &str) {
    let address = nats.url().replace("nats://", "");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut block = b"NATS/1.0".to_vec();
    block.extend_from_slice(headers);
    block.extend_from_slice(b"\r\n\r\n");
    let total = block.len() + body.len();
    let mut text = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n".to_vec();
    text.extend_from_slice(format!("HPUB {subject} {} {total}\r\n", block.len()).as_bytes());
    text.extend_from_slice(&block);
    text.extend_from_slice(body.as_bytes());
    text.extend_from_slice(b"\r\nPING\r\n");
    socket.write_all(&text).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"PONG") {
        let read = socket.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

/// One hostile request costs no other chat anything, and does not vanish either: it ends as refused.
async fn is_refused(subject: &str, headers: &[u8], code: &str) {
    let world = World::start().await;
    let body = r#"{"id":"bad","to":"user:mallory","text":"x"}"#;
    publish_raw(&world.nats, subject, headers, body).await;
    let bad = world.receipt("bad").await;
    assert_eq!(
        (&bad["outcome"], &bad["code"]),
        (&json!("failed"), &json!(code))
    );
    let dead = world.stored("DINGTALK_DEAD", 1).await;
    assert_eq!(dead[0].body["payload"]["text"], "x");
    let subject = "dingtalk.outbound.sales.user.manager1";
    world
        .request(subject, &json!({"id": "good", "text": "hello"}))
        .await;
    assert_eq!(world.receipt("good").await["outcome"], "sent");
    let mut queue = world
        .nats
        .jetstream()
        .await
        .get_stream("DINGTALK_OUTBOUND")
        .await
        .unwrap();
    wait::until("an empty queue", async || {
        (queue.info().await.unwrap().state.messages == 0).then_some(())
    })
    .await;
    assert_eq!(world.sim.sent().len(), 1);
}

const CHAT: &str = "dingtalk.outbound.sales.user.mallory";

#[tokio::test(flavor = "multi_thread")]
async fn a_carriage_return_inside_a_header_stops_no_other_request() {
    is_refused(CHAT, b"\r\nx: a\rb", "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn header_bytes_that_are_no_text_stop_no_other_request() {
    is_refused(CHAT, b"\r\nx: \xff\xfe", "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_line_without_a_colon_stops_no_other_request() {
    is_refused(CHAT, b"\r\nnothing", "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_line_in_a_request_is_not_taken_for_the_brokers() {
    let world = World::start().await;
    for (id, status) in [
        ("odd", " abc"),
        ("gone", " 404 No Messages"),
        ("away", " 503"),
    ] {
        let body = json!({"id": id, "text": "hello"}).to_string();
        publish_raw(&world.nats, CHAT, status.as_bytes(), &body).await;
        assert_eq!(world.receipt(id).await["outcome"], "sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn illegible_headers_on_a_bare_subject_stop_no_other_request() {
    is_refused("dingtalk.outbound.sales", b"\r\nx: a\rb", "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn illegible_headers_for_an_account_that_nobody_serves_do_not_stop_the_bridge() {
    is_refused(
        "dingtalk.outbound.nobody.user.mallory",
        b"\r\nx: a\rb",
        "unserved",
    )
    .await;
}
