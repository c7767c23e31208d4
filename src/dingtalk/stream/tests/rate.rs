//! What one connection carries. A measurement, run by hand:
//! `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test --lib stream::tests::rate -- --ignored --nocapture`.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use serde_json::Value;

use super::super::Ack;
use super::gateway::within;
use super::*;

const FRAMES: usize = 300_000;

/// The wire form of an unmasked text frame of a server.
fn wire(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    assert!(length > 125);
    let mut bytes = vec![0x81, 126];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A gateway in plain threads, so that the measured side has the runtime for itself.
fn pusher(listener: &std::net::TcpListener, frames: usize) -> (Instant, Instant) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .unwrap();
    let frame: Value = serde_json::from_str(include_str!(
        "../../../../tests/frames/09-callback-bot-text-1to1-redelivered.json"
    ))
    .unwrap();
    let block: Vec<u8> = wire(&frame.to_string()).repeat(100);
    let mut writing = stream.try_clone().unwrap();
    let begin = Instant::now();
    let writer = std::thread::spawn(move || {
        for _ in 0..frames / 100 {
            writing.write_all(&block).unwrap();
        }
    });
    // Every answer has the same length: the mask hides it, the length byte does not.
    let id = frame["headers"]["messageId"].as_str().unwrap();
    let answer = 8 + super::super::answer::Answer::Ack {
        message_id: id.to_owned(),
        event: false,
        ack: Ack::Done,
    }
    .into_message()
    .len();
    let expected = answer * frames;
    let (mut got, mut buffer) = (0, vec![0_u8; 1 << 16]);
    while got < expected {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "closed after {got} of {expected} bytes");
        got += read;
    }
    let end = Instant::now();
    writer.join().unwrap();
    (begin, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn one_connection_carries_a_hundred_thousand_frames_a_second() {
    let sockets = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = sockets.local_addr().unwrap();
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::granting(format!("ws://{address}/connect"), unused).await;
    let pushing = std::thread::spawn(move || pusher(&sockets, FRAMES));
    let mut link = start_with(&dingtalk(&gateway.api_url), account(), brisk(), 1024);
    let mut batch = Vec::new();
    let mut answered = 0;
    while answered < FRAMES {
        answered += within(link.deliveries.recv_many(&mut batch, 256)).await;
        for delivery in batch.drain(..) {
            assert!(delivery.ticket.answer(Ack::Done));
        }
    }
    let (begin, end) = tokio::task::spawn_blocking(move || pushing.join().unwrap())
        .await
        .unwrap();
    let seconds = (end - begin).as_secs_f64();
    println!("{:.0} frames/s", FRAMES as f64 / seconds);
    link.task.abort();
}
