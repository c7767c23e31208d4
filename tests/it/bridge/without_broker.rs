//! A stop while the broker never was what the bridge needs: nothing is held, so nothing is waited for.

use std::process::{Child, Command, Stdio};

use nats_dingtalk::sim::Sim;

use crate::support::bridge::{Bridge, CLIENT_ID, Setup};
use crate::support::free_port;
use crate::support::nats::{Nats, program};
use crate::support::wait;
use crate::support::world::options;

/// A nats-server without JetStream; killed when dropped.
struct Plain {
    child: Child,
    port: u16,
}

impl Plain {
    fn start() -> Self {
        let port = free_port();
        let child = Command::new(program())
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stops a bridge that is not cut short: it has nothing that could take its grace.
async fn stops_clean(bridge: Bridge) {
    bridge.signal("TERM");
    let (status, _dir) = bridge.ended().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_bridge_whose_broker_was_never_there_stops_clean() {
    let nats = Nats::absent();
    let sim = Sim::start(options()).await.unwrap();
    let bridge = Setup::new(&nats.url(), sim.api_url()).start().await;
    sim.connected(CLIENT_ID, 1).await.unwrap();
    stops_clean(bridge).await;
}

#[tokio::test]
async fn a_bridge_whose_broker_has_no_jetstream_stops_clean() {
    let nats = Plain::start();
    let sim = Sim::start(options()).await.unwrap();
    let bridge = Setup::new(&nats.url(), sim.api_url()).start().await;
    sim.connected(CLIENT_ID, 1).await.unwrap();
    wait::until_true("the connection to the broker", async || {
        bridge.log().contains("broker connected")
    })
    .await;
    stops_clean(bridge).await;
}
