//! More than one replica: every account has one sender at a time, whoever dies, comes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nats_dingtalk::sim::{Burst, Fault, GROUP_SEND_PATH, SimApp, SimOptions, Verdict};
use serde_json::{Value, json};

use crate::support::books::{Books, persistent};
use crate::support::bridge::{Bridge, CLIENT_ID, CLIENT_SECRET, Setup};
use crate::support::nats::Nats;
use crate::support::orders::Orders;
use crate::support::wait;
use crate::support::world::{World, messages, options};

/// Sends so fast that a test is short, and slowly enough that something is always under way.
const RATE: &str = "rate = 60";
/// How long DingTalk takes for one send, in milliseconds.
const CALL: u64 = 40;

/// A broker, a DingTalk and several bridges on one configuration.
struct Fleet {
    nats: Nats,
    sim: nats_dingtalk::sim::Sim,
    bridges: Vec<Bridge>,
}

impl Fleet {
    async fn start(count: usize, options: SimOptions, setup: fn(Setup) -> Setup) -> Self {
        let World { nats, sim, bridge } = World::start_with(options, setup).await;
        let mut fleet = Self {
            nats,
            sim,
            bridges: vec![bridge],
        };
        while fleet.bridges.len() < count {
            fleet.add(setup).await;
        }
        for bridge in &fleet.bridges {
            sees(bridge, count).await;
        }
        fleet
    }

    async fn add(&mut self, setup: fn(Setup) -> Setup) {
        let bridge = setup(Setup::new(&self.nats.url(), self.sim.api_url()));
        self.bridges.push(bridge.start().await.ready().await);
    }

    /// Index of the bridge that sends for `sales`.
    async fn sending(&self) -> usize {
        wait::until("one of the bridges to send", async || {
            for (index, bridge) in self.bridges.iter().enumerate() {
                if sent(bridge, "sales").await > 0.0 {
                    return Some(index);
                }
            }
            None
        })
        .await
    }
}

fn plain(setup: Setup) -> Setup {
    setup.account(RATE)
}

async fn sees(bridge: &Bridge, replicas: usize) {
    wait::until_true("the replicas to see each other", async || {
        let ready = ready(bridge).await;
        ready["replicas"].as_array().map_or(0, Vec::len) == replicas
    })
    .await;
}

async fn ready(bridge: &Bridge) -> Value {
    let answer = bridge.get("/ready?format=json").await;
    let body = answer.map(|answer| answer.1).unwrap_or_default();
    serde_json::from_str(&body).unwrap_or_default()
}

/// Requests of an account that a bridge ended.
async fn sent(bridge: &Bridge, account: &str) -> f64 {
    let label = format!("account=\"{account}\"");
    bridge
        .metric("nats_dingtalk_requests_total", &[&label])
        .await
}

async fn slow(sim: &nats_dingtalk::sim::Sim) {
    let slow = Fault::Delay {
        path: GROUP_SEND_PATH.into(),
        ms: CALL,
        times: None,
    };
    sim.inject(slow).await.unwrap();
}

#[tokio::test]
async fn three_bridges_store_what_comes_in_once_and_know_of_each_other() {
    let fleet = Fleet::start(3, persistent(), plain).await;
    let load = Burst {
        app: CLIENT_ID.to_owned(),
        count: 600,
        per_second: Some(300),
        ..Burst::default()
    };
    fleet.sim.burst(&load).await.unwrap();
    let books = Books::of(&fleet.sim);
    assert_eq!(books.said.len(), 600);
    books.balance(&fleet.nats, &fleet.sim).await;
    let ids: BTreeSet<String> = ready(&fleet.bridges[0]).await["replicas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|replica| replica["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(
        fleet.bridges[1].metric("nats_dingtalk_replicas", &[]).await,
        3.0
    );
}

#[tokio::test]
async fn when_the_sender_of_three_is_killed_another_goes_on_within_ten_seconds() {
    let mut fleet = Fleet::start(3, options(), plain).await;
    slow(&fleet.sim).await;
    // A chat whose call was under way waits for the deadline of that call: others have to go on.
    let orders = Orders::first(300, 150);
    orders.publish(&fleet.nats).await;
    let sender = fleet.sending().await;
    fleet.sim.delivered_count(80).await.unwrap();
    let killed = Instant::now();
    let _dir = fleet.bridges.remove(sender).kill();
    let before = fleet.sim.counters().delivered;
    wait::until_true("another to send", async || {
        fleet.sim.counters().delivered > before + 20
    })
    .await;
    let took = killed.elapsed();
    println!("took over {took:?} after the kill");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let uncertain = orders.settle(&fleet.nats, &fleet.sim).await;
    println!("{uncertain} of 300 are uncertain");
    assert!(uncertain <= 60, "{uncertain}");
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_and_repeats_nothing() {
    let mut fleet = Fleet::start(3, options(), plain).await;
    slow(&fleet.sim).await;
    let mut from = 0;
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let orders = Orders {
            from,
            to: from + 150,
            chats: 15,
        };
        orders.publish(&fleet.nats).await;
        from = orders.to;
        let seen = fleet.sim.counters().delivered;
        fleet.sim.delivered_count(seen as usize + 30).await.unwrap();
        let oldest = fleet.bridges.remove(0);
        oldest.signal("TERM");
        let told = Instant::now();
        let (status, dir) = oldest.ended().await;
        assert_eq!(status.code(), Some(0));
        let before = fleet.sim.counters().delivered;
        let all = fleet.sim.counters().delivered >= from as u64;
        wait::until_true("the others to go on", async || {
            all || fleet.sim.counters().delivered > before
        })
        .await;
        gaps.push(told.elapsed());
        let again = plain(Setup::new(&fleet.nats.url(), fleet.sim.api_url())).in_dir(dir);
        fleet.bridges.push(again.start().await.ready().await);
    }
    println!("from SIGTERM to the next send: {gaps:?}");
    let orders = Orders::first(from, 15);
    assert_eq!(orders.settle(&fleet.nats, &fleet.sim).await, 0);
}

#[tokio::test]
async fn what_a_stopped_bridge_had_not_begun_is_taken_up_at_once() {
    let fleet = Fleet::start(2, options(), plain).await;
    slow(&fleet.sim).await;
    // One chat: nearly everything waits in its lane.
    let orders = Orders::first(120, 1);
    orders.publish(&fleet.nats).await;
    let sender = fleet.sending().await;
    fleet.sim.delivered_count(10).await.unwrap();
    fleet.bridges[sender].signal("TERM");
    let told = Instant::now();
    let idle = &fleet.bridges[1 - sender];
    wait::until_true("the other to send", async || {
        sent(idle, "sales").await > 0.0
    })
    .await;
    let took = told.elapsed();
    println!("what was not begun went on {took:?} after SIGTERM");
    // Left alone it would come back after 4 s.
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(orders.settle(&fleet.nats, &fleet.sim).await, 0);
}

const ACCOUNTS: [&str; 6] = ["sales", "a1", "a2", "a3", "a4", "a5"];

fn six(setup: Setup) -> Setup {
    let mut extra = String::new();
    for name in &ACCOUNTS[1..] {
        extra.push_str(&format!(
            "[accounts.{name}]\nclient_id = \"ding{name}\"\nclient_secret = \"secret-of-{name}\"\nconnections = 1\n"
        ));
    }
    setup.account("connections = 1").extra(&extra)
}

/// Publishes one request for every account and waits until all are seen; who sent for which account.
async fn round(fleet: &Fleet, number: usize) -> Vec<BTreeSet<&'static str>> {
    let mut before = Vec::new();
    for bridge in &fleet.bridges {
        let mut counts = BTreeMap::new();
        for account in ACCOUNTS {
            counts.insert(account, sent(bridge, account).await);
        }
        before.push(counts);
    }
    let jetstream = fleet.nats.jetstream().await;
    for account in ACCOUNTS {
        let subject = format!("dingtalk.outbound.{account}.group.cidRound==");
        let body =
            json!({"id": format!("{account}-{number}"), "text": format!("{account} {number}")});
        let ack = jetstream.publish(subject, body.to_string().into()).await;
        ack.unwrap().await.unwrap();
    }
    fleet
        .sim
        .delivered_count((number + 1) * ACCOUNTS.len())
        .await
        .unwrap();
    // A send is seen before its receipt is counted.
    wait::until("a receipt of every account", async || {
        let mut owners = Vec::new();
        for (bridge, before) in fleet.bridges.iter().zip(&before) {
            let mut own = BTreeSet::new();
            for account in ACCOUNTS {
                if sent(bridge, account).await > before[account] {
                    own.insert(account);
                }
            }
            owners.push(own);
        }
        let ended: usize = owners.iter().map(BTreeSet::len).sum();
        (ended == ACCOUNTS.len()).then_some(owners)
    })
    .await
}

/// Rounds until every bridge sends for the same number of accounts; how long that took.
async fn balanced(fleet: &Fleet, number: &mut usize) -> Duration {
    let begun = Instant::now();
    let even = ACCOUNTS.len() / fleet.bridges.len();
    wait::within(Duration::from_secs(60), "an even spread", async || {
        let owners = round(fleet, *number).await;
        *number += 1;
        owners.iter().all(|own| own.len() == even).then_some(())
    })
    .await;
    begun.elapsed()
}

#[tokio::test]
async fn six_accounts_are_spread_over_two_and_three_replicas_without_a_loss() {
    let mut options = options();
    options.apps = ACCOUNTS[1..]
        .iter()
        .map(|name| SimApp::new(format!("ding{name}"), format!("secret-of-{name}")))
        .collect();
    options.apps.push(SimApp::new(CLIENT_ID, CLIENT_SECRET));
    let mut fleet = Fleet::start(1, options, six).await;
    let mut number = 0;
    assert_eq!(round(&fleet, number).await[0].len(), 6);
    number += 1;
    for replicas in [2, 3] {
        fleet.add(six).await;
        let took = balanced(&fleet, &mut number).await;
        println!("even over {replicas} replicas after {took:?}");
    }
    let (status, _) = {
        let gone = fleet.bridges.remove(0);
        gone.signal("TERM");
        gone.ended().await
    };
    assert_eq!(status.code(), Some(0));
    balanced(&fleet, &mut number).await;
    // Each account saw its requests once and in order.
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for sent in fleet.sim.delivered() {
        let text = sent.text();
        let (account, number) = text.split_once(' ').unwrap();
        let numbers = seen.entry(account.to_owned()).or_default();
        numbers.push(number.parse().unwrap());
    }
    for account in ACCOUNTS {
        assert_eq!(seen[account], (0..number).collect::<Vec<_>>(), "{account}");
    }
}

#[tokio::test]
async fn bridges_that_take_over_keep_the_ceiling_of_dingtalk() {
    let options = SimOptions {
        calls_per_second: Some(20),
        ..options()
    };
    let mut fleet = Fleet::start(2, options, |setup| setup).await;
    let orders = Orders::first(200, 40);
    orders.publish(&fleet.nats).await;
    let sender = fleet.sending().await;
    fleet.sim.delivered_count(60).await.unwrap();
    let _dir = fleet.bridges.remove(sender).kill();
    orders.settle(&fleet.nats, &fleet.sim).await;
    let refused = fleet.sim.sent().into_iter();
    let refused = refused.filter(|sent| matches!(sent.verdict, Verdict::Refused { .. }));
    // Where the machine has too much to do, calls that left apart arrive together: a few. Two bridges with
    // the whole pace each would be refused by the dozen.
    let refused = refused.count();
    assert!(refused <= 8, "{refused} of 200 calls");
}

#[tokio::test]
async fn a_bridge_of_another_configuration_with_the_same_app_is_reported() {
    // Rights over the buckets of others are no part of its own.
    let world = World::start_with(options(), Setup::with_all_rights).await;
    let page = world.bridge.get("/ready").await.unwrap().1;
    assert!(!page.contains("foreign"), "{page}");
    let stranger = world.setup().nats("subject_prefix = \"elsewhere\"");
    let _stranger = stranger.start().await.ready().await;
    wait::until_true("the stranger on the page", async || {
        let page = world.bridge.get("/ready").await.unwrap();
        page.0 == 200 && page.1.contains("serves the same app")
    })
    .await;
    let said = wait::until("the status message", async || {
        let all = messages(&world.nats, "DINGTALK_STATUS").await?;
        let mut all = all.into_iter();
        all.find(|stored| stored.body["type"] == "foreign_replica")
    })
    .await;
    assert_eq!(said.body["sign"], "replica");
    assert!(world.bridge.log().contains("somebody outside the fleet"));
}

#[tokio::test]
async fn a_request_of_high_priority_overtakes_other_chats_and_never_its_own() {
    let world = World::start_with(options(), |setup| setup.account("rate = 4")).await;
    let send = async |chat: &str, id: &str, priority: &str| {
        let subject = format!("dingtalk.outbound.sales.group.cid{chat}==");
        let body = json!({"id": id, "text": id, "priority": priority});
        world.request(&subject, &body).await;
    };
    for number in 0..24 {
        send(&format!("Other{number}"), &format!("n{number}"), "normal").await;
    }
    send("Mine", "mine-first", "normal").await;
    send("Mine", "mine-high", "high").await;
    send("Fresh", "fresh-high", "high").await;
    let sent = world.sim.delivered_count(27).await.unwrap();
    let at = |text: &str| sent.iter().position(|sent| sent.text() == text).unwrap();
    // The first four leave at once; what came last is urgent and goes before the rest.
    assert!(at("fresh-high") <= 12, "{}", at("fresh-high"));
    assert!(at("n23") > at("fresh-high"));
    assert!(at("mine-high") > at("mine-first"));
}
