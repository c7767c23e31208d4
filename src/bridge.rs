//! The composition root: builds every part, spawns it, supervises it, and stops it in the order of
//! the flow. The only place that knows all parts, and the only one that spawns.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::broker::{Broker, BrokerError, ManagedError, ManagedServer};
use crate::config::{self, AccountChange, Config, ServerLocation};
use crate::dingtalk::api::{Api, Http};
use crate::dingtalk::net::Net;
use crate::dingtalk::stream::{Delivery, Link, LinkConfig, LinkEvent, Timings as LinkTimings};
use crate::inbound::{self, Inbound, Policies};
use crate::message::AccountName;
use crate::ops::{Admin, AdminError, Stop};
use crate::outbound::{self, Mover, MoverParts, Outbound, Served, Strays};
use crate::spool::{Spool, SpoolError};
use crate::telemetry::{Health, LinkState, Metrics};

/// Link changes on their way to `<prefix>.status.<account>`.
const LINK_EVENTS: usize = 256;
/// How long the links wait for the streams at start; beyond it the spool stands in for the broker.
const STREAMS_PATIENCE: Duration = Duration::from_secs(2);
/// Parts that `/ready` waits for.
const PARTS: [&str; 4] = ["broker", "spool", "inbound", "outbound"];

/// Why the bridge did not start, or ended.
#[derive(Debug, Error)]
pub enum BridgeError {
    /// The nats-server that the bridge runs itself.
    #[error(transparent)]
    Server(#[from] ManagedError),
    /// The connection or the streams.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The admin port.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// CA file or proxy; the text names the key.
    #[error("{0}")]
    Net(String),
    /// A part of the bridge ended although nobody stopped it.
    #[error("{0} ended unasked")]
    Task(String),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was held was finished.
    Clean,
    /// The drain was cut short; what was held is left to the broker, the spool and DingTalk.
    CutShort,
}

/// What a running bridge reads its configuration from again.
#[derive(Debug, Clone)]
pub struct Reload {
    /// Notified when it is to be read now.
    pub wanted: Arc<Notify>,
    /// File and flags.
    pub source: config::Source,
    /// Environment.
    pub environment: config::Environment,
}

/// A bridge that is built and not running yet: ports are bound, files are open.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    broker: Broker,
    server: Option<ManagedServer>,
    spool: Spool,
    admin: Admin,
    http: Http,
    net: Net,
    metrics: Metrics,
    health: Health,
}

impl Bridge {
    /// Binds and opens everything that can be wrong at start. The broker may be away; DingTalk is
    /// not called yet.
    ///
    /// # Errors
    /// [`BridgeError`], naming the configuration key concerned.
    pub async fn connect(config: Config) -> Result<Self, BridgeError> {
        let metrics = Metrics::new();
        let health = Health::new(&PARTS);
        let net =
            Net::new(&config.dingtalk).map_err(|error| BridgeError::Net(error.to_string()))?;
        let http =
            Http::new(&config.dingtalk).map_err(|error| BridgeError::Net(error.to_string()))?;
        let admin = Admin::bind(config.admin.clone(), health.clone(), metrics.clone()).await?;
        let spool = Spool::open(&config.spool.dir, config.spool.max_bytes)?;
        let (server, url) = match &config.nats.server {
            ServerLocation::Url(url) => (None, url.clone()),
            ServerLocation::Managed {
                data_dir,
                program,
                port,
            } => {
                let server = ManagedServer::start(program.as_deref(), data_dir, *port).await?;
                let url = server.url();
                (Some(server), url)
            }
        };
        let broker = Broker::connect(&config.nats, &url, metrics.clone(), health.clone()).await?;
        Ok(Self {
            config,
            broker,
            server,
            spool,
            admin,
            http,
            net,
            metrics,
            health,
        })
    }

    /// Where health and metrics are served, once bound.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.addr()
    }

    /// Runs until `stop` has drained or aborted everything; a part that fails begins the drain of
    /// the others.
    ///
    /// # Errors
    /// [`BridgeError`] when a part ended unasked or the streams do not fit.
    pub async fn run(self, stop: Stop, reload: Reload) -> Result<Ended, BridgeError> {
        let mut running = Running::spawn(self, &reload);
        let failed = tokio::select! {
            result = running.supervise(&stop, &reload) => result.err(),
            () = stop.abort.cancelled() => return Ok(Ended::CutShort),
        };
        if let Some(failure) = &failed {
            error!(error = %failure, "a part failed, the others are drained");
            stop.drain.cancel();
        }
        info!("draining");
        let ended = tokio::select! {
            () = running.drain() => Ended::Clean,
            () = stop.enforce_deadline() => Ended::CutShort,
        };
        match ended {
            Ended::Clean => info!("stopped"),
            Ended::CutShort => warn!(tasks = running.tasks.len(), "drain cut short"),
        }
        failed.map_or(Ok(ended), Err)
    }
}

/// Every task of the bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Server,
    Admin,
    BrokerWatch,
    Streams,
    Retirement,
    ConfigWatch,
    Inbound,
    Sessions,
    LinkStatus,
    Mover,
    Strays,
    Link(AccountName),
    Outbound(AccountName),
}

impl Task {
    /// The account that the task belongs to.
    fn account(&self) -> Option<&AccountName> {
        match self {
            Self::Link(account) | Self::Outbound(account) => Some(account),
            Self::Server
            | Self::Admin
            | Self::BrokerWatch
            | Self::Streams
            | Self::Retirement
            | Self::ConfigWatch
            | Self::Inbound
            | Self::Sessions
            | Self::LinkStatus
            | Self::Mover
            | Self::Strays => None,
        }
    }

    /// Whether the task serves the others until the very end of a stop.
    fn outlives_the_flow(&self) -> bool {
        matches!(
            self,
            Self::Server | Self::Admin | Self::BrokerWatch | Self::ConfigWatch
        )
    }
}

type Outcome = Result<(), BridgeError>;
type Joined = Result<(task::Id, Outcome), JoinError>;

/// A bridge whose tasks are spawned.
struct Running {
    tasks: JoinSet<Outcome>,
    /// Which task is which, also of one that panicked.
    alive: HashMap<task::Id, Task>,
    config: Config,
    broker: Broker,
    http: Http,
    net: Net,
    metrics: Metrics,
    health: Health,
    policies: watch::Sender<Policies>,
    served: Served,
    /// Dropped to let the inbound side end.
    deliveries: Option<mpsc::Sender<Delivery>>,
    link_events: Option<mpsc::Sender<LinkEvent>>,
    changed: mpsc::Receiver<()>,
    accounts: BTreeMap<AccountName, CancellationToken>,
    /// Stops what asks for requests on bare subjects.
    intake: CancellationToken,
    /// Stops what serves the others.
    rest: CancellationToken,
}

impl Running {
    fn spawn(bridge: Bridge, reload: &Reload) -> Self {
        let Bridge {
            config,
            broker,
            server,
            spool,
            admin,
            http,
            net,
            metrics,
            health,
        } = bridge;
        let (policies, policies_seen) = watch::channel(Arc::new(policies_of(&config)));
        let (deliveries, delivered) = mpsc::channel(inbound::DELIVERIES);
        let (link_events, link_changes) = mpsc::channel(LINK_EVENTS);
        let (change, changed) = mpsc::channel(config::Watch::CAPACITY);
        let (inbound, sessions) = Inbound::new(inbound::Parts {
            broker: broker.clone(),
            spool,
            budgets: config.inbound.clone(),
            subjects: config.nats.subjects.clone(),
            dedup_window: config.nats.dedup_window,
            policies: policies_seen,
            metrics: metrics.clone(),
            health: health.clone(),
        });
        let mut running = Self {
            tasks: JoinSet::new(),
            alive: HashMap::new(),
            broker: broker.clone(),
            http,
            net,
            metrics,
            health,
            policies,
            served: Served::default(),
            deliveries: Some(deliveries),
            link_events: Some(link_events),
            changed,
            accounts: BTreeMap::new(),
            intake: CancellationToken::new(),
            rest: CancellationToken::new(),
            config,
        };
        let rest = running.rest.clone();
        if let Some(server) = server {
            let stop = rest.clone();
            running.start_plain(Task::Server, server.run(stop));
        }
        let stop = rest.clone();
        running.start(Task::Admin, async move { Ok(admin.run(stop).await?) });
        let watched = broker.clone();
        running.start(Task::BrokerWatch, async move {
            watched.watch(rest).await;
            Ok(())
        });
        let watch = config::Watch::new(reload.source.clone(), reload.environment.clone());
        running.start_plain(Task::ConfigWatch, watch.run(change));
        running.start_plain(Task::Inbound, inbound.run(delivered));
        running.start_plain(Task::Sessions, sessions.run());
        let subjects = running.config.nats.subjects.clone();
        let status = inbound::report_links(broker, subjects, link_changes);
        running.start_plain(Task::LinkStatus, status);
        running
    }

    fn start(&mut self, task: Task, future: impl Future<Output = Outcome> + Send + 'static) {
        let id = self.tasks.spawn(future).id();
        self.alive.insert(id, task);
    }

    fn start_plain(&mut self, task: Task, future: impl Future<Output = ()> + Send + 'static) {
        self.start(task, async move {
            future.await;
            Ok(())
        });
    }

    /// Brings the streams and the accounts up, and keeps watch until the drain begins.
    async fn supervise(&mut self, stop: &Stop, reload: &Reload) -> Outcome {
        let broker = self.broker.clone();
        let ready = Arc::new(Notify::new());
        let prepared = Arc::clone(&ready);
        self.start(Task::Streams, async move {
            broker.prepare().await?;
            prepared.notify_one();
            Ok(())
        });
        // While the broker is away the links work all the same: that is what the spool is for.
        let _ = tokio::time::timeout(STREAMS_PATIENCE, ready.notified()).await;
        self.start_outbound_intake();
        let accounts: Vec<AccountName> = self.config.accounts.keys().cloned().collect();
        self.serve();
        for account in &accounts {
            self.start_account(account);
        }
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

    fn start_outbound_intake(&mut self) {
        let (subjects, timings) = (self.config.nats.subjects.clone(), self.outbound_timings());
        let mover = Mover::new(MoverParts {
            broker: self.broker.clone(),
            subjects: subjects.clone(),
            served: self.served.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            timings: timings.clone(),
        });
        self.start_plain(Task::Mover, mover.run(self.intake.clone()));
        let strays = Strays::new(&self.broker, subjects, self.metrics.clone(), timings);
        self.start_plain(Task::Strays, strays.run(self.intake.clone()));
    }

    fn outbound_timings(&self) -> outbound::Timings {
        outbound::Timings::for_calls(self.config.dingtalk.timeout)
    }

    /// Tells the parts that serve all accounts which there are.
    fn serve(&self) {
        let mut policies = policies_of(&self.config);
        // What a removed account still reads while it drains is gated as before.
        for (name, policy) in self.policies.borrow().iter() {
            if self.accounts.contains_key(name) && !policies.contains_key(name) {
                policies.insert(name.clone(), policy.clone());
            }
        }
        self.policies.send_replace(Arc::new(policies));
        let accounts = &self.config.accounts;
        self.served.set(
            accounts
                .iter()
                .map(|(name, account)| (name.clone(), account.client_id.clone())),
        );
    }

    fn start_account(&mut self, name: &AccountName) {
        let Some(account) = self.config.accounts.get(name).cloned() else {
            return;
        };
        let paused = account.paused;
        let connections = if paused { 0 } else { account.connections };
        self.health.account(name, |health| {
            health.paused = paused;
            let down = |slot| (slot, LinkState::Down("starting".to_owned()));
            health.links = (0..connections).map(down).collect();
        });
        if paused {
            info!(dingtalk.account = %name, "account is paused");
            return;
        }
        let (Some(deliveries), Some(events)) = (&self.deliveries, &self.link_events) else {
            return;
        };
        let (deliveries, events) = (deliveries.clone(), events.clone());
        let stop = CancellationToken::new();
        let link = Link::new(LinkConfig {
            name: name.clone(),
            account: account.clone(),
            api_url: self.config.dingtalk.api_url.clone(),
            http: self.http.client().clone(),
            net: self.net.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            timings: LinkTimings::default(),
        });
        self.start_plain(
            Task::Link(name.clone()),
            link.run(deliveries, events, stop.clone()),
        );
        let api = Api::new(
            self.http.clone(),
            &self.config.dingtalk,
            name.clone(),
            &account,
            self.metrics.clone(),
        );
        let outbound = Outbound::new(outbound::Parts {
            account: name.clone(),
            api: Arc::new(api),
            broker: self.broker.clone(),
            subjects: self.config.nats.subjects.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            timings: self.outbound_timings(),
        });
        let token = stop.clone();
        self.start_plain(Task::Outbound(name.clone()), async move {
            outbound.run(token).await;
        });
        self.accounts.insert(name.clone(), stop);
    }

    /// What the end of a task means: the end of the bridge, unless it was asked for.
    fn ended(&mut self, ended: Joined) -> Outcome {
        let (task, outcome) = self.left(ended);
        outcome?;
        match task {
            Some(Task::Streams) => {
                info!("streams are ready");
                Ok(())
            }
            Some(Task::Retirement) | None => Ok(()),
            Some(task) => self.ended_unless_asked(&task),
        }
    }

    /// Takes a task off the list; how it ended.
    fn left(&mut self, ended: Joined) -> (Option<Task>, Outcome) {
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

    fn ended_unless_asked(&mut self, task: &Task) -> Outcome {
        let Some(account) = task.account() else {
            return Err(BridgeError::Task(format!("{task:?}")));
        };
        let asked = self
            .accounts
            .get(account)
            .is_none_or(CancellationToken::is_cancelled);
        if !asked {
            return Err(BridgeError::Task(format!("{task:?}")));
        }
        let account = account.clone();
        let gone = !self
            .alive
            .values()
            .any(|task| task.account() == Some(&account));
        if gone {
            self.accounts.remove(&account);
            if self.config.accounts.contains_key(&account) {
                self.start_account(&account);
            } else {
                self.retire(account);
            }
        }
        Ok(())
    }

    /// Forgets an account that is configured no more; requests that wait for it end as unserved.
    fn retire(&mut self, account: AccountName) {
        self.health.forget(&account);
        let broker = self.broker.clone();
        info!(dingtalk.account = %account, "account removed");
        self.start_plain(Task::Retirement, async move {
            if let Err(error) = broker.retire(&account).await {
                warn!(%error, dingtalk.account = %account, "consumer not deleted");
            }
        });
    }

    /// Follows a changed configuration account by account; an invalid one changes nothing.
    fn reload(&mut self, reload: &Reload) {
        let config = config::load_from(&reload.source, &reload.environment)
            .and_then(|config| config.require_accounts().map(|()| config));
        let config = match config {
            Ok(config) => config,
            Err(problem) => {
                error!(error = %problem, "configuration refused, the bridge goes on with the one it has");
                return;
            }
        };
        let changes = config::diff(&self.config, &config);
        for key in &changes.restart {
            warn!(key, "changed: takes effect at the next start");
        }
        // Sections that need a restart stay as they are.
        self.config.accounts = config.accounts;
        self.serve();
        for change in &changes.accounts {
            match change {
                // One that was removed a moment ago may still be draining.
                AccountChange::Added(name) | AccountChange::Changed(name) => {
                    match self.accounts.get(name) {
                        // Its end starts it anew.
                        Some(stop) => stop.cancel(),
                        None => self.start_account(name),
                    }
                }
                AccountChange::Removed(name) => match self.accounts.get(name) {
                    Some(stop) => stop.cancel(),
                    None => self.retire(name.clone()),
                },
            }
        }
        info!(accounts = changes.accounts.len(), "configuration reloaded");
    }

    /// Stops in the order of the flow: sources stop reading, pipelines finish what they hold, sinks
    /// flush, what serves them goes last.
    async fn drain(&mut self) {
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
        self.broker.close().await;
        self.rest.cancel();
        self.changed.close();
        while self.join().await {}
    }

    /// Waits for one task while draining; false when none is left.
    async fn join(&mut self) -> bool {
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

fn policies_of(config: &Config) -> BTreeMap<AccountName, config::Policy> {
    let policy =
        |(name, account): (&AccountName, &config::Account)| (name.clone(), account.policy.clone());
    config.accounts.iter().map(policy).collect()
}
