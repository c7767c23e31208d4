//! A bridge whose tasks are spawned: it watches them, and stops them in the order of the flow.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::tasks::{Joined, Outcome, Task};
use super::{Bridge, BridgeError, Reload};
use crate::broker::Broker;
use crate::config::{self, Config};
use crate::dingtalk::api::{Apis, Fetcher, Http};
use crate::dingtalk::net::Net;
use crate::dingtalk::stream::{Delivery, LinkEvent};
use crate::fleet::{self, Fleet, Roster};
use crate::inbound::{self, Inbound, Policies};
use crate::message::AccountName;
use crate::ops::Stop;
use crate::outbound::Served;
use crate::telemetry::{CardChats, Health, Metrics, Seats, Standings};

/// Link changes on their way to `<prefix>.status.<account>`.
const LINK_EVENTS: usize = 256;
/// How long the links wait for the streams at start; beyond it the spool stands in for the broker.
const STREAMS_PATIENCE: Duration = Duration::from_secs(2);

/// A bridge whose tasks are spawned.
pub(super) struct Running {
    pub(super) tasks: JoinSet<Outcome>,
    /// Which task is which, also of one that panicked.
    pub(super) alive: HashMap<task::Id, Task>,
    pub(super) config: Config,
    pub(super) broker: Broker,
    pub(super) http: Http,
    pub(super) fetcher: Fetcher,
    pub(super) net: Net,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) policies: watch::Sender<Policies>,
    pub(super) served: Served,
    /// The Open API of each account, for the parts that serve all of them.
    pub(super) apis: Apis,
    /// How each account stands against its quota.
    pub(super) standings: Standings,
    /// In which chats cards stand.
    pub(super) card_chats: CardChats,
    /// Which accounts belong to other replicas.
    pub(super) seats: Seats,
    /// The accounts, as the other replicas have to know them.
    pub(super) roster: Roster,
    /// Dropped to let the inbound side end.
    pub(super) deliveries: Option<mpsc::Sender<Delivery>>,
    pub(super) link_events: Option<mpsc::Sender<LinkEvent>>,
    pub(super) changed: mpsc::Receiver<()>,
    pub(super) accounts: BTreeMap<AccountName, CancellationToken>,
    /// Which replica this is: one life of one bridge.
    pub(super) replica: String,
    /// Stops what answers questions.
    pub(super) questions: CancellationToken,
    /// Stops what asks for requests on bare subjects.
    pub(super) intake: CancellationToken,
    /// Stops what replicas share, once nothing is sent any more.
    pub(super) fleet: CancellationToken,
    /// Stops what serves the others.
    pub(super) rest: CancellationToken,
}

impl Running {
    pub(super) fn spawn(bridge: Bridge, watch: Option<config::Watch>) -> Self {
        let Bridge {
            config,
            broker,
            server,
            spool,
            tasks,
            admin,
            admin_addr: _,
            http,
            fetcher,
            net,
            metrics,
            health,
            rest,
        } = bridge;
        let (policies, policies_seen) =
            watch::channel(Arc::new(super::accounts::policies_of(&config)));
        let (deliveries, delivered) = mpsc::channel(inbound::DELIVERIES);
        let (link_events, link_changes) = mpsc::channel(LINK_EVENTS);
        let (change, changed) = mpsc::channel(config::Watch::CAPACITY);
        let (apis, card_chats) = (Apis::default(), CardChats::default());
        let (inbound, sessions, media) = Inbound::new(inbound::Parts {
            broker: broker.clone(),
            spool,
            budgets: config.inbound.clone(),
            subjects: config.nats.subjects.clone(),
            dedup_window: config.nats.dedup_window,
            policies: policies_seen,
            card_chats: card_chats.clone(),
            apis: apis.clone(),
            fetcher: fetcher.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
        });
        let mut running = Self {
            tasks,
            alive: HashMap::from([(admin, Task::Admin)]),
            broker: broker.clone(),
            http,
            fetcher,
            net,
            metrics,
            health,
            policies,
            served: Served::default(),
            apis,
            standings: Standings::default(),
            card_chats,
            seats: Seats::default(),
            roster: Roster::default(),
            deliveries: Some(deliveries),
            link_events: Some(link_events),
            changed,
            accounts: BTreeMap::new(),
            replica: format!("{:016x}", fastrand::u64(..)),
            questions: CancellationToken::new(),
            intake: CancellationToken::new(),
            fleet: CancellationToken::new(),
            rest: rest.clone(),
            config,
        };
        if let Some(server) = server {
            let stop = rest.clone();
            running.start_plain(Task::Server, server.run(stop));
        }
        let watched = broker.clone();
        running.start_plain(Task::BrokerWatch, async move { watched.watch(rest).await });
        if let Some(watch) = watch {
            running.start_plain(Task::ConfigWatch, watch.run(change));
        }
        running.start_plain(Task::Inbound, inbound.run(delivered));
        running.start_plain(Task::Sessions, sessions.run());
        running.start_plain(Task::Media, media.run());
        let subjects = running.config.nats.subjects.clone();
        let status = inbound::report_links(broker, subjects, link_changes);
        running.start_plain(Task::LinkStatus, status);
        running
    }

    pub(super) fn start(
        &mut self,
        task: Task,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let id = self.tasks.spawn(future).id();
        self.alive.insert(id, task);
    }

    pub(super) fn start_plain(
        &mut self,
        task: Task,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.start(task, async move {
            future.await;
            Ok(())
        });
    }

    /// Brings the streams and the accounts up, and keeps watch until the drain begins.
    pub(super) async fn supervise(&mut self, stop: &Stop, reload: &Reload) -> Outcome {
        let (broker, drain) = (self.broker.clone(), stop.drain.clone());
        let ready = Arc::new(Notify::new());
        let prepared = Arc::clone(&ready);
        self.start(Task::Streams, async move {
            // A broker that never came would hold up the drain, and nothing waits for the streams then.
            if let Some(outcome) = drain.run_until_cancelled(broker.prepare()).await {
                outcome?;
                info!("streams are ready");
                prepared.notify_one();
            }
            Ok(())
        });
        // While the broker is away the links work all the same: that is what the spool is for.
        let _ = tokio::time::timeout(STREAMS_PATIENCE, ready.notified()).await;
        self.serve();
        self.join_fleet();
        self.start_outbound_intake();
        let accounts: Vec<AccountName> = self.config.account_names().cloned().collect();
        for account in &accounts {
            self.start_account(account);
        }
        self.start_verbs();
        info!(accounts = accounts.len(), "bridge started");
        loop {
            tokio::select! {
                () = stop.drain.cancelled() => return Ok(()),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended)?,
                () = reload.wanted.notified() => self.reload(reload),
                Some(()) = self.changed.recv() => self.reload(reload),
            }
        }
    }

    /// Takes part in what replicas share.
    fn join_fleet(&mut self) {
        let paces = self.http.paces().clone();
        paces.share();
        let fleet = Fleet::new(fleet::Parts {
            broker: self.broker.clone(),
            subjects: self.config.nats.subjects.clone(),
            roster: self.roster.clone(),
            paces,
            standings: self.standings.clone(),
            seats: self.seats.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
        });
        info!(replica = fleet.id(), "replica joins its fleet");
        self.start_plain(Task::Fleet, fleet.run(self.fleet.clone()));
    }

    /// What the end of a task means: the end of the bridge, unless it was asked for.
    pub(super) fn ended(&mut self, ended: Joined) -> Outcome {
        let (task, outcome) = self.left(ended);
        outcome?;
        match task {
            Some(Task::Streams | Task::Retirement) | None => Ok(()),
            Some(task) => self.ended_unless_asked(&task),
        }
    }

    /// Takes a task off the list; how it ended.
    pub(super) fn left(&mut self, ended: Joined) -> (Option<Task>, Outcome) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let task = self.alive.remove(&id);
        let name = task
            .as_ref()
            .map_or_else(String::new, |task| format!("{task:?}"));
        let outcome = match ended {
            Ok((_, outcome)) => outcome,
            Err(error) => Err(BridgeError::Task(format!("{name} ({error})"))),
        };
        (task, outcome)
    }

    /// Stops in the order of the flow: sources stop reading, pipelines finish what they hold, sinks
    /// flush, what serves them goes last.
    pub(super) async fn drain(&mut self) {
        self.questions.cancel();
        for stop in self.accounts.values() {
            stop.cancel();
        }
        self.intake.cancel();
        self.deliveries = None;
        self.link_events = None;
        while self.alive.values().any(|task| !task.outlives_the_flow()) {
            if !self.join().await {
                break;
            }
        }
        self.fleet.cancel();
        while self.alive.values().any(|task| *task == Task::Fleet) {
            if !self.join().await {
                break;
            }
        }
        self.broker.close().await;
        self.rest.cancel();
        self.changed.close();
        while self.join().await {}
    }

    /// The tasks that have not ended, for the log.
    pub(super) fn names(&self) -> String {
        let mut names: Vec<String> = self
            .alive
            .values()
            .map(|task| format!("{task:?}"))
            .collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// Waits for one task while draining; false when none is left.
    pub(super) async fn join(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return false;
        };
        let (task, outcome) = self.left(ended);
        if let Err(failure) = outcome {
            error!(error = %failure, task = ?task, "task failed while draining");
        }
        true
    }
}
