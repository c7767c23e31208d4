//! The broker of a row: one nats-server, or three with every route between them behind a proxy.

use std::collections::BTreeMap;
use std::path::Path;

use async_nats::ServerAddr;
use async_nats::jetstream::Context;

use crate::proxy::{Mode, Proxy};
use crate::support::free_port;
use crate::support::nats::Nats;
use crate::support::wait;

/// The servers, and the way between them.
pub(crate) struct Brokers {
    /// The servers.
    pub(crate) nodes: Vec<Nats>,
    /// From which server to which.
    routes: BTreeMap<(usize, usize), Proxy>,
}

impl Brokers {
    /// One server that runs, with more lines in its configuration, after `prepare` saw the folder of
    /// its store.
    pub(crate) async fn single(extra: &str, prepare: impl FnOnce(&Path)) -> Self {
        let mut node = Nats::absent_with(extra.to_owned());
        std::fs::create_dir_all(node.store()).unwrap();
        prepare(&node.store());
        node.restart().await;
        Self {
            nodes: vec![node],
            routes: BTreeMap::new(),
        }
    }

    /// Three servers that run and have a leader.
    pub(crate) async fn cluster(extra: &str) -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut routes = BTreeMap::new();
        let mut nodes = Vec::new();
        for (from, port) in ports.iter().enumerate() {
            let mut urls = Vec::new();
            for (to, target) in ports.iter().enumerate().filter(|(to, _)| *to != from) {
                let proxy = Proxy::to(&format!("127.0.0.1:{target}")).await;
                urls.push(format!("\"nats://{}\"", proxy.address()));
                routes.insert((from, to), proxy);
            }
            // Nobody can reach the advertised address, so no route goes past a proxy.
            nodes.push(Nats::absent_with(format!(
                "server_name: n{from}\ncluster {{ name: chaos, listen: \"127.0.0.1:{port}\", \
                 advertise: \"127.0.0.1:1\", no_advertise: true, pool_size: -1, routes: [{}] }}\n{extra}",
                urls.join(", ")
            )));
        }
        futures_util::future::join_all(nodes.iter_mut().map(Nats::restart)).await;
        Self { nodes, routes }
    }

    /// URLs of all servers, comma-separated.
    pub(crate) fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(Nats::url).collect();
        urls.join(",")
    }

    /// JetStream through a client that knows every server and waits for them.
    pub(crate) async fn jetstream(&self) -> Context {
        let addresses: Vec<ServerAddr> = self
            .nodes
            .iter()
            .map(|node| node.url().parse().unwrap())
            .collect();
        let client = async_nats::ConnectOptions::new()
            .reconnect_delay_callback(|_| std::time::Duration::from_millis(100))
            .retry_on_initial_connect()
            .connect(addresses)
            .await
            .unwrap();
        async_nats::jetstream::new(client)
    }

    /// The server that leads a stream.
    pub(crate) async fn leader(&self, stream: &str) -> usize {
        let jetstream = self.jetstream().await;
        wait::until("a leader", async || {
            let mut stream = jetstream.get_stream(stream).await.ok()?;
            let leader = stream.info().await.ok()?.cluster.clone()?.leader?;
            leader.strip_prefix('n')?.parse().ok()
        })
        .await
    }

    /// Changes the network between one server and the two others.
    pub(crate) fn isolate(&self, node: usize, mode: Mode) {
        for ((from, to), proxy) in &self.routes {
            if *from == node || *to == node {
                proxy.set(mode);
            }
        }
    }
}
