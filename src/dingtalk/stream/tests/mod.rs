//! A link against a gateway on real sockets, with the clocks of [`Timings`] turned up.

mod frames;
mod gateway;
mod life;
mod reach;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::gateway::{Gateway, aside, within};
use super::{Delivery, Link, LinkChange, LinkConfig, LinkEvent, Timings};
use crate::config;
use crate::dingtalk::net::Net;
use crate::message::{AccountName, Secret};
use crate::telemetry::{Health, LinkState, Metrics};

const SECRET: &str = "hunter2-secret";

/// A link that runs beside the test.
struct Running {
    deliveries: mpsc::Receiver<Delivery>,
    events: mpsc::Receiver<LinkEvent>,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Everything fast, nothing by itself: no ping, age or stall within the time of a test.
fn brisk() -> Timings {
    Timings {
        overlap: Duration::from_millis(300),
        backoff_least: Duration::from_millis(10),
        backoff_most: Duration::from_millis(50),
        stagger: Duration::from_millis(10),
        drain: Duration::from_secs(5),
        close: Duration::from_millis(500),
        ..Timings::default()
    }
}

fn name() -> AccountName {
    AccountName::parse("sales").unwrap()
}

fn account() -> config::Account {
    config::Account {
        client_id: "dingid".to_owned(),
        client_secret: Secret::new(SECRET),
        robot_code: "dingid".to_owned(),
        connections: 1,
        events: true,
        delegate: false,
        paused: false,
        rate: std::num::NonZeroU32::new(20).unwrap(),
        media: config::Media::Fetch,
        card_template: None,
        card_key: "content".to_owned(),
        mention_all: false,
        quota: None,
        policy: config::Policy::default(),
    }
}

fn dingtalk(api_url: &str) -> config::Dingtalk {
    config::Dingtalk {
        api_url: api_url.to_owned(),
        oapi_url: api_url.to_owned(),
        ca_file: None,
        proxy: None,
        no_proxy: None,
        media_hosts: Vec::new(),
        timeout: Duration::from_secs(5),
    }
}

fn http(net: &Net) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(net.tls().as_ref().clone())
        .no_proxy()
        .build()
        .unwrap()
}

fn start(gateway: &Gateway, timings: Timings) -> Running {
    start_with(&dingtalk(&gateway.api_url), account(), timings, 1024)
}

fn start_with(
    dingtalk: &config::Dingtalk,
    account: config::Account,
    timings: Timings,
    room: usize,
) -> Running {
    let net = Net::new(dingtalk).unwrap();
    let (health, metrics) = (Health::new(&[]), Metrics::new());
    let link = Link::new(LinkConfig {
        name: name(),
        account,
        api_url: dingtalk.api_url.clone(),
        http: http(&net),
        net,
        health: health.clone(),
        metrics: metrics.clone(),
        timings,
    });
    let (sender, deliveries) = mpsc::channel(room);
    let (reports, events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let task = aside(link.run(sender, reports, stop.clone()));
    Running {
        deliveries,
        events,
        health,
        metrics,
        stop,
        task,
    }
}

impl Running {
    async fn delivery(&mut self) -> Delivery {
        within(self.deliveries.recv()).await.unwrap()
    }

    async fn change(&mut self) -> LinkChange {
        within(self.events.recv()).await.unwrap().change
    }

    /// Waits until a change is like this.
    async fn until(&mut self, wanted: impl Fn(&LinkChange) -> bool) -> LinkChange {
        loop {
            let change = self.change().await;
            if wanted(&change) {
                return change;
            }
        }
    }

    fn state(&self) -> LinkState {
        let snapshot = self.health.snapshot();
        snapshot.accounts[&name()].links[&0].clone()
    }

    /// Stops the link and waits for its end.
    async fn finish(self) {
        self.stop.cancel();
        within(self.task).await.unwrap();
    }
}
