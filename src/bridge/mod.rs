//! The composition root: builds every part, spawns it, supervises it, and stops it in the order of
//! the flow. The only place that knows all parts, and the only one that spawns.

mod accounts;
mod running;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::running::Running;
use self::tasks::Outcome;
use crate::broker::{Broker, BrokerError, ManagedError, ManagedServer};
use crate::config::{self, Config, ServerLocation};
use crate::dingtalk::api::{Fetcher, Http};
use crate::dingtalk::net::Net;
use crate::ops::{Admin, AdminError, Stop};
use crate::spool::{Spool, SpoolError};
use crate::telemetry::{Health, Metrics, PartState};

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

/// What a bridge reads its configuration from, at start and again.
#[derive(Debug)]
pub struct Reload {
    /// Notified when it is to be read now.
    pub wanted: Arc<Notify>,
    source: config::Source,
    environment: config::Environment,
    /// Taken by the bridge that runs it.
    watch: Option<config::Watch>,
}

impl Reload {
    /// Remembers the files as they are now, so that no change after the first load is missed.
    pub fn new(source: config::Source, environment: config::Environment) -> Self {
        Self {
            wanted: Arc::default(),
            watch: Some(config::Watch::new(source.clone(), environment.clone())),
            source,
            environment,
        }
    }

    /// Reads the configuration as it is now.
    ///
    /// # Errors
    /// [`config::ConfigError`] with every problem and its cure.
    pub fn load(&self) -> Result<Config, config::ConfigError> {
        config::load_from(&self.source, &self.environment)
    }
}

/// A bridge that is built and not running yet: ports are bound, files are open.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    broker: Broker,
    server: Option<ManagedServer>,
    spool: Spool,
    /// The admin port serves from the start: a probe must not kill a bridge whose nats-server or spool
    /// takes minutes to recover.
    tasks: JoinSet<Outcome>,
    admin: task::Id,
    admin_addr: Option<SocketAddr>,
    http: Http,
    fetcher: Fetcher,
    net: Net,
    metrics: Metrics,
    health: Health,
    /// Stops what serves the others, the admin port first of all.
    rest: CancellationToken,
}

impl Bridge {
    /// Binds and opens everything that can be wrong at start. The broker may be away; DingTalk is
    /// not called yet. The admin port answers before this returns.
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
        let fetcher =
            Fetcher::new(&config.dingtalk).map_err(|error| BridgeError::Net(error.to_string()))?;
        let rest = CancellationToken::new();
        let admin = Admin::bind(config.admin.clone(), health.clone(), metrics.clone()).await?;
        let admin_addr = admin.addr();
        let mut tasks = JoinSet::new();
        let stop = rest.clone();
        let admin = tasks.spawn(async move { Ok(admin.run(stop).await?) }).id();
        let spool = Spool::open(&config.spool.dir, config.spool.max_bytes)?;
        let (server, url) = match &config.nats.server {
            ServerLocation::Url(url) => (None, url.clone()),
            ServerLocation::Managed {
                data_dir,
                program,
                port,
            } => {
                let recovers = "the nats-server of this bridge is starting".to_owned();
                health.part("broker", PartState::Down(recovers));
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
            tasks,
            admin,
            admin_addr,
            http,
            fetcher,
            net,
            metrics,
            health,
            rest,
        })
    }

    /// Where health and metrics are served, once bound.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Runs until `stop` has drained or aborted everything; a part that fails begins the drain of
    /// the others.
    ///
    /// # Errors
    /// [`BridgeError`] when a part ended unasked or the streams do not fit.
    pub async fn run(self, stop: Stop, mut reload: Reload) -> Result<Ended, BridgeError> {
        let mut running = Running::spawn(self, reload.watch.take());
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
            Ended::CutShort => warn!(tasks = running.names(), "drain cut short"),
        }
        failed.map_or(Ok(ended), Err)
    }
}
