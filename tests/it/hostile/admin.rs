//! Hostile clients at the admin port: whoever reaches it must not take it from the probes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::bridge::Bridge;
use crate::support::wait;
use crate::support::world::World;

async fn visit(bridge: &Bridge) -> TcpStream {
    let address = bridge.admin().replace("http://", "");
    TcpStream::connect(address).await.unwrap()
}

fn descriptors(bridge: &Bridge) -> usize {
    let folder = format!("/proc/{}/fd", bridge.pid());
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_take_a_bounded_number_of_places_for_a_bounded_time() {
    let world = World::start().await;
    let before = descriptors(&world.bridge);
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut socket = visit(&world.bridge).await;
        let half = b"GET /live HTTP/1.1\r\nhost: x\r\nslow: ";
        socket.write_all(half).await.unwrap();
        held.push(socket);
    }
    // All places are taken, and no more than those.
    wait::until_true("visitors", async || {
        descriptors(&world.bridge) >= before + 60
    })
    .await;
    assert!(descriptors(&world.bridge) < before + 80);
    let live = wait::within(Duration::from_secs(60), "an answer of /live", async || {
        for socket in &mut held {
            let _ = socket.write_all(b"x").await;
        }
        world.bridge.get("/live").await
    })
    .await;
    assert_eq!(live.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_or_too_large_are_refused_and_the_next_is_answered() {
    let world = World::start().await;
    let long = "x".repeat(2 << 20);
    let many = "a: b\r\n".repeat(5000);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /live HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n"),
        format!("GET /live HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        "\0\u{1}\u{2} HTTP/9\r\n\r\n".to_owned(),
        "GET /live HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"
            .to_owned(),
        "GET http://169.254.169.254/latest HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            .to_owned(),
        "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
    ] {
        let mut socket = visit(&world.bridge).await;
        let shown: String = request.chars().take(40).collect();
        // It may close before it has read all of this.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(wait::PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{shown:?} is kept waiting");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{shown:?}: {answer}"
        );
        assert_eq!(world.bridge.get("/live").await.unwrap().0, 200, "{shown:?}");
    }
}
