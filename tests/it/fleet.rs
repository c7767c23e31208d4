//! The pace that replicas share, against a real broker and the simulated DingTalk's own count.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nats_dingtalk::broker::Broker;
use nats_dingtalk::config;
use nats_dingtalk::dingtalk::api::{
    Api, ApiError, Http, LeaveBy, Recipient, Shipment, ShipmentBody, render_robot,
};
use nats_dingtalk::fleet::{Charge, Fleet, Parts, Roster, fingerprint};
use nats_dingtalk::message::{AccountName, Content, Priority, Subjects};
use nats_dingtalk::sim::{Sim, SimApp, SimOptions, Verdict};
use nats_dingtalk::telemetry::{Health, Metrics, Seats, Standings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::nats::Nats;
use crate::support::sections;
use crate::support::wait;

/// Calls a second that DingTalk allows, and that every replica is configured for.
const RATE: u32 = 20;

fn sales() -> AccountName {
    AccountName::parse("sales").unwrap()
}

/// One replica without its pipelines: what it shares and a client of the Open API.
struct Replica {
    api: Arc<Api>,
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(sim: &Sim, broker: Broker) -> Self {
        let dingtalk = sections::dingtalk(sim, Duration::from_secs(5));
        let account = config::Account {
            rate: NonZeroU32::new(RATE).unwrap(),
            ..sections::account("dingapp", "s3cr3t")
        };
        let http = Http::new(&dingtalk).unwrap();
        http.paces().share();
        let (metrics, health) = (Metrics::new(), Health::new(&[]));
        let roster = Roster::default();
        let charge = Charge {
            limit: None,
            client: fingerprint("dingapp"),
            connections: 1,
            sends: true,
        };
        roster.set([(sales(), charge)]);
        let fleet = Fleet::new(Parts {
            broker,
            subjects: Subjects::new("dingtalk").unwrap(),
            roster,
            paces: http.paces().clone(),
            standings: Standings::default(),
            seats: Seats::default(),
            metrics: metrics.clone(),
            health: health.clone(),
        });
        let stop = CancellationToken::new();
        Self {
            task: tokio::spawn(fleet.run(stop.clone())),
            api: Arc::new(Api::new(http, &dingtalk, sales(), &account, metrics)),
            health,
            stop,
        }
    }

    /// Sends as fast as the pace allows until `until`; how often, or why not.
    fn send_until(&self, until: Instant) -> JoinHandle<Result<usize, ApiError>> {
        let api = Arc::clone(&self.api);
        tokio::spawn(async move {
            let recipient = Recipient::Users(vec!["u1".to_owned()]);
            let body: ShipmentBody = render_robot(&Content::Text("x".to_owned())).remove(0);
            let shipment = Shipment { recipient, body };
            let mut sent = 0;
            while Instant::now() < until {
                api.prepare(&shipment.recipient, Priority::Normal).await?;
                let leave_by = LeaveBy::within(Duration::from_secs(10));
                api.send(&shipment, leave_by).await?;
                sent += 1;
            }
            Ok(sent)
        })
    }

    async fn sees(&self, replicas: usize) {
        wait::until_true("the replicas to see each other", async || {
            self.health.snapshot().replicas.len() == replicas
        })
        .await;
    }
}

async fn world() -> (Nats, Sim) {
    let nats = Nats::start().await;
    let options = SimOptions {
        apps: vec![SimApp::new("dingapp", "s3cr3t")],
        calls_per_second: Some(RATE),
        ..SimOptions::default()
    };
    (nats, Sim::start(options).await.unwrap())
}

/// Fails if DingTalk refused anything; how many calls the fullest second held.
fn fullest_second(sim: &Sim) -> usize {
    let sent = sim.sent();
    let refused: Vec<_> = sent
        .iter()
        .filter(|sent| matches!(sent.verdict, Verdict::Refused { .. }))
        .collect();
    assert!(refused.is_empty(), "refused: {refused:?}");
    let at: Vec<i64> = sent.iter().map(|sent| sent.at.as_millis()).collect();
    let inside = |start: &i64| {
        at.iter()
            .filter(|at| (*start..start + 1000).contains(at))
            .count()
    };
    at.iter().map(inside).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_alone_is_as_fast_as_an_unshared_lane() {
    let (nats, sim) = world().await;
    let replica = Replica::start(&sim, nats.broker().await);
    let span = Duration::from_secs(6);
    let sent = replica.send_until(Instant::now() + span).await.unwrap();
    let sent = sent.unwrap();
    println!(
        "{sent} sends in {span:?}, {} in the fullest second",
        fullest_second(&sim)
    );
    // An unshared lane makes 20 at once and 20 more every 1.05 s.
    assert!(sent >= 96, "{sent}");
    replica.stop.cancel();
    replica.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_that_all_send_keep_the_ceiling_together() {
    let (nats, sim) = world().await;
    let mut replicas = Vec::new();
    for count in 1..=3 {
        replicas.push(Replica::start(&sim, nats.broker().await));
        replicas.last().unwrap().sees(count).await;
    }
    let span = Duration::from_secs(12);
    let until = Instant::now() + span;
    let sending: Vec<_> = replicas.iter().map(|one| one.send_until(until)).collect();
    let mut sent = Vec::new();
    for sending in sending {
        sent.push(sending.await.unwrap().unwrap());
    }
    println!(
        "{sent:?} sends in {span:?}, {} in the fullest second",
        fullest_second(&sim)
    );
    let all: usize = sent.iter().sum();
    assert!(fullest_second(&sim) <= RATE as usize);
    assert!(all >= 150, "{all} of some 240");
    assert!(sent.iter().all(|sent| *sent >= 20), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pace_of_a_dead_replica_goes_to_the_one_that_needs_it() {
    let (nats, sim) = world().await;
    let first = Replica::start(&sim, nats.broker().await);
    let second = Replica::start(&sim, nats.broker().await);
    first.sees(2).await;
    second.sees(2).await;
    let early = first.send_until(Instant::now() + Duration::from_secs(4));
    early.await.unwrap().unwrap();
    // Not a stop: it says no goodbye.
    first.task.abort();
    let before = sim.sent().len();
    let dead = Instant::now();
    let late = second.send_until(dead + Duration::from_secs(14));
    let full = wait::within(Duration::from_secs(14), "the whole pace", async || {
        let at: BTreeMap<i64, usize> =
            sim.sent()[before..]
                .iter()
                .fold(BTreeMap::new(), |mut seconds, sent| {
                    *seconds.entry(sent.at.as_millis() / 1000).or_default() += 1;
                    seconds
                });
        at.values().any(|sent| *sent >= 18).then(|| dead.elapsed())
    })
    .await;
    println!("the whole pace {full:?} after the death");
    assert!(full < Duration::from_secs(11), "{full:?}");
    late.await.unwrap().unwrap();
    assert!(fullest_second(&sim) <= RATE as usize);
}
