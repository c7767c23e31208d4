//! One row while it runs: broker, simulated DingTalk, bridges, load, and what may stand between.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use fastrand::Rng;
use nats_dingtalk::message::Timestamp;
use nats_dingtalk::sim::{Sim, SimOptions};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::brokers::Brokers;
use crate::builds::{bridge_program, replacement};
use crate::disk::{Disk, Ground};
use crate::load::{Load, Requested};
pub(crate) use crate::plan::Plan;
use crate::proxy::Proxy;
use crate::row::SOON;
use crate::run;
use crate::settle::{Books, all_acked, recovery};
use crate::support::books::persistent;
use crate::support::bridge::{Bridge, CLIENT_ID, Setup};
use crate::support::{free_port, wait};

/// Load before anything breaks.
const WARM_UP: Duration = Duration::from_secs(1);
/// Load after both sides go again.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Until DingTalk pushes again what was not acked; it does so several times.
const AGAIN: Duration = Duration::from_secs(4);
/// How often.
const TIMES: usize = 6;
/// How often the books are looked at until then.
const LOOK: Duration = Duration::from_millis(400);

/// The network of a row.
pub(crate) struct Net {
    /// Between bridge and broker.
    pub(crate) broker: Proxy,
    /// Between bridge and gateway.
    pub(crate) gateway: Proxy,
    /// Between bridge and API.
    pub(crate) api: Proxy,
}

/// One bridge, up or down.
pub(crate) enum Life {
    /// It runs.
    Up(Bridge),
    /// It does not; its folder.
    Down(TempDir),
}

/// One row while it runs.
pub(crate) struct Stage {
    /// File systems of the row; let go of before the folders that they are mounted on.
    pub(crate) disks: Vec<Disk>,
    /// What it stands on.
    pub(crate) plan: Plan,
    /// The broker.
    pub(crate) brokers: Brokers,
    /// DingTalk.
    pub(crate) sim: Arc<Sim>,
    /// The bridges.
    pub(crate) lives: Vec<Life>,
    /// The network, where it is proxied.
    pub(crate) net: Option<Net>,
    /// Lines of shell before a bridge starts, in its own process.
    pub(crate) before: String,
    /// Moments and targets of the row.
    pub(crate) rng: Rng,
    load: Option<Load>,
    ended: Option<Timestamp>,
}

fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap().to_owned()
}

impl Stage {
    /// Everything up but the bridges.
    pub(crate) async fn set(plan: Plan, rng: Rng) -> Self {
        let mut disks = Vec::new();
        let brokers = match plan.servers {
            1 => {
                let mount = |store: &Path| {
                    disks.extend(
                        plan.store_disk
                            .map(|size| Disk::mount(store, Ground::Memory(size))),
                    );
                };
                Brokers::single(plan.server_extra, mount).await
            }
            _ => Brokers::cluster(plan.server_extra).await,
        };
        let mut options = SimOptions {
            record_texts: false,
            keep: 1_000_000,
            bot_retries: vec![AGAIN; TIMES],
            ..persistent()
        };
        (plan.sim)(&mut options);
        let net = if plan.proxied {
            Some(Net {
                broker: Proxy::to(&host_of(&brokers.url())).await,
                gateway: Proxy::listen().await,
                api: Proxy::listen().await,
            })
        } else {
            None
        };
        if let Some(net) = &net {
            let port = free_port();
            options.gateway_listen.set_port(port);
            net.gateway.forward_to(&format!("127.0.0.1:{port}"));
            options.public_gateway_url = Some(format!("ws://{}/connect", net.gateway.address()));
        }
        let sim = Sim::start(options).await.unwrap();
        if let Some(net) = &net {
            net.api.forward_to(&host_of(sim.api_url()));
        }
        Self {
            disks,
            plan,
            brokers,
            sim: Arc::new(sim),
            lives: Vec::new(),
            net,
            before: String::new(),
            rng,
            load: None,
            ended: None,
        }
    }

    /// Everything up, loaded and warm.
    pub(crate) async fn up(plan: Plan, rng: Rng) -> Self {
        let mut stage = Self::set(plan, rng).await;
        for _ in 0..stage.plan.bridges {
            let dir = TempDir::new().unwrap();
            if let Some(ground) = stage.plan.spool_disk {
                let spool = dir.path().join("spool");
                std::fs::create_dir(&spool).unwrap();
                stage.disks.push(Disk::mount(&spool, ground));
            }
            stage.lives.push(Life::Down(dir));
            let number = stage.lives.len() - 1;
            stage.start(number).await;
        }
        stage.all_ready().await;
        stage.start_load().await;
        stage
    }

    /// Begins the load and lets it run warm.
    pub(crate) async fn start_load(&mut self) {
        let jetstream = self.brokers.jetstream().await;
        let load = Load::start(Arc::clone(&self.sim), jetstream, self.plan.amount);
        self.load = Some(load);
        sleep(WARM_UP).await;
    }

    /// How a bridge of this row is set up.
    pub(crate) fn setup(&self) -> Setup {
        self.setup_of(&bridge_program(), &[])
    }

    /// The same for another build, with variables in its environment.
    pub(crate) fn setup_of(&self, program: &Path, variables: &[(&str, &str)]) -> Setup {
        let (broker, api) = match &self.net {
            None => (self.brokers.url(), self.sim.api_url().to_owned()),
            Some(net) => (
                format!("nats://{}", net.broker.address()),
                format!("http://{}", net.api.address()),
            ),
        };
        Setup::new(&broker, &api)
            .through(&[
                "sh",
                "-c",
                &replacement(program, variables, &self.before),
                "sh",
            ])
            .nats(&format!("replicas = {}", self.plan.servers))
            .nats(self.plan.nats)
            .account(self.plan.account)
            .spool(self.plan.spool)
    }

    /// Waits until every bridge that runs is ready.
    pub(crate) async fn all_ready(&mut self) {
        for life in std::mem::take(&mut self.lives) {
            self.lives.push(match life {
                Life::Up(bridge) => Life::Up(bridge.ready().await),
                down @ Life::Down(_) => down,
            });
        }
        self.sim.connected(CLIENT_ID, 1).await.unwrap();
    }

    /// Lets the load run for a random time between the two.
    pub(crate) async fn between(&mut self, least: u64, most: u64) {
        let millis = self.rng.u64(least..=most);
        sleep(Duration::from_millis(millis)).await;
    }

    /// A bridge that runs.
    pub(crate) fn bridge(&self, number: usize) -> &Bridge {
        match &self.lives[number] {
            Life::Up(bridge) => bridge,
            Life::Down(_) => panic!("bridge {number} is down"),
        }
    }

    /// The folder of a bridge.
    pub(crate) fn dir(&self, number: usize) -> &Path {
        match &self.lives[number] {
            Life::Up(bridge) => bridge.dir(),
            Life::Down(dir) => dir.path(),
        }
    }

    fn take(&mut self, number: usize) -> Life {
        let empty = Life::Down(TempDir::new().unwrap());
        std::mem::replace(&mut self.lives[number], empty)
    }

    /// Kills a bridge with SIGKILL, unless it is down already.
    pub(crate) fn kill(&mut self, number: usize) {
        self.lives[number] = Life::Down(match self.take(number) {
            Life::Up(bridge) => bridge.kill(),
            Life::Down(dir) => dir,
        });
    }

    /// Waits until a bridge has ended by itself; how.
    pub(crate) async fn ended(&mut self, number: usize) -> std::process::ExitStatus {
        let Life::Up(bridge) = self.take(number) else {
            panic!("bridge {number} is down");
        };
        let (status, dir) = bridge.ended().await;
        self.lives[number] = Life::Down(dir);
        status
    }

    /// Starts a bridge that is down, in the folder of its former life.
    pub(crate) async fn start(&mut self, number: usize) {
        let setup = self.setup();
        self.start_as(number, setup).await;
    }

    /// The same, set up in another way.
    pub(crate) async fn start_as(&mut self, number: usize, setup: Setup) {
        let Life::Down(dir) = self.take(number) else {
            panic!("bridge {number} is up");
        };
        self.lives[number] = Life::Up(setup.in_dir(dir).start().await);
    }

    /// The fault is over: recovery counts from here.
    pub(crate) fn over(&mut self) {
        self.ended = Some(Timestamp::now());
    }

    /// Makes sure that both sides recover from here within the aim, for a row that then goes on.
    pub(crate) async fn recovers(&self) {
        let ended = self.ended.expect("a fault that is over");
        // A frame that is late shows only when its deadline is over.
        sleep(SOON + Duration::from_secs(3)).await;
        let took = recovery(&self.sim, ended).expect("no recovery");
        assert!(took <= SOON, "recovered after {:.1} s", took.as_secs_f64());
    }

    /// Lets the load run on, stops it, waits until everything is at rest, and settles the books.
    pub(crate) async fn settle(mut self) -> Books {
        let ended = self.ended.expect("a row says when its fault is over");
        self.sim.clear_faults();
        self.recover(ended).await;
        let requested = self.load.take().unwrap().stop().await;
        let jetstream = self.brokers.jetstream().await;
        self.rest(&jetstream, &requested).await;
        Books::settle(&self.sim, &jetstream, &requested, ended).await
    }

    /// Lets the load run on until both sides go again, and a while longer so that it shows whether
    /// they stay up.
    async fn recover(&self, ended: Timestamp) {
        let deadline = Instant::now() + self.plan.tail;
        while Instant::now() < deadline {
            let began = Instant::now();
            if recovery(&self.sim, ended).is_some() {
                break;
            }
            pause_after(began).await;
        }
        sleep(AFTERWARDS).await;
    }

    /// Waits until every message is acked or will not come again, and every request has ended; no longer
    /// than something moves and then some, since the books tell what is missing.
    async fn rest(&self, jetstream: &Context, requested: &Requested) {
        let mut pushed = (self.sim.counters().pushed, Instant::now());
        let mut told = (None, Instant::now());
        while told.1.elapsed() < self.plan.quiet {
            let counters = self.sim.counters();
            if counters.pushed != pushed.0 {
                pushed = (counters.pushed, Instant::now());
            }
            let began = Instant::now();
            // Nothing was pushed for longer than DingTalk waits with a message that it still has.
            let exhausted = pushed.1.elapsed() > AGAIN + Duration::from_secs(2);
            let receipts = count(jetstream, "DINGTALK_RECEIPT").await;
            if receipts != told.0 {
                told = (receipts, Instant::now());
            }
            let left = count(jetstream, "DINGTALK_OUTBOUND").await;
            let ended = left == Some(0) && receipts >= Some(requested.len() as u64);
            if ended && (exhausted || all_acked(&self.sim)) && self.spools_are_empty().await {
                return;
            }
            pause_after(began).await;
        }
    }

    async fn spools_are_empty(&self) -> bool {
        for life in &self.lives {
            if let Life::Up(bridge) = life
                && bridge.metric("nats_dingtalk_spool_records", &[]).await > 0.0
            {
                return false;
            }
        }
        true
    }
}

/// Looking through all frames stops the simulator meanwhile: it must stay a small part of the time, also
/// on a slow machine.
async fn pause_after(began: Instant) {
    sleep(LOOK.max(began.elapsed() * 5)).await;
}

/// The logs of the bridges stay where a reader of a missed row finds them.
impl Drop for Stage {
    fn drop(&mut self) {
        let Some(logs) = run::logs() else { return };
        let _ = std::fs::create_dir_all(&logs);
        for number in 0..self.lives.len() {
            let log = self.dir(number).join("log");
            let _ = std::fs::copy(log, logs.join(format!("bridge-{number}.log")));
        }
    }
}

async fn count(jetstream: &Context, stream: &str) -> Option<u64> {
    let look = async {
        jetstream
            .get_stream(stream)
            .await
            .ok()?
            .info()
            .await
            .ok()
            .map(|info| info.state.messages)
    };
    tokio::time::timeout(wait::PATIENCE, look).await.ok()?
}
