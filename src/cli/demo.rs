//! `demo`: broker, simulated DingTalk, bridge and an echo agent in one process tree, with no account
//! and nothing to set up. It builds the stage; what happens on it is told in `story`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use super::exit::Failure;
use super::life::Life;
use super::print;
use super::story::{self, Stage};
use crate::bridge::{Bridge, Ended, Reload};
use crate::broker::Broker;
use crate::config::{Config, Environment, Overrides, Source};
use crate::dingtalk::api::Http;
use crate::ops::Stop;
use crate::sim::{Sim, SimApp, SimOptions};
use crate::telemetry::{Health, Metrics};

/// The configuration of the demo, as it stands in the repository.
const CONFIG: &str = include_str!("../../config/demo.toml");
/// The app in it.
const CLIENT_ID: &str = "dingdemo";
const CLIENT_SECRET: &str = "demo-secret";
/// How long everything may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// Show the whole thing with no account: broker, simulated DingTalk, bridge and an echo agent
///
/// A simulated user speaks in a group and in a 1:1 chat; every step of the way there and back is printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk demo\n  \
    nats-dingtalk demo --stay   # keeps everything up to play with")]
pub(super) struct DemoArgs {
    /// Keep everything up afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// nats-server 2.12 or newer [default: the one on PATH]
    #[arg(long, value_name = "PROGRAM")]
    nats_server: Option<PathBuf>,
    /// What is logged beside the story
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log_filter: String,
}

/// Sets the stage, tells the story, clears everything away.
pub(super) async fn execute(args: DemoArgs) -> Result<(), Failure> {
    let folder = Folder::create().map_err(Failure::Failed)?;
    let sim = Sim::start(SimOptions {
        apps: vec![SimApp::new(CLIENT_ID, CLIENT_SECRET)],
        ..SimOptions::default()
    })
    .await
    .map_err(Failure::failed)?;
    let port = free_port().map_err(Failure::Failed)?;
    let source = source(&args, &folder.0, port, sim.api_url()).map_err(Failure::Failed)?;
    let reload = Reload::new(source, Environment::default());
    let config = reload.load()?;
    let life = Life::begin(&config, reload)?;
    let told = life
        .spend(|stop, reload| perform(&args, config, sim, stop, reload))
        .await;
    told.map_err(Failure::Failed)
}

async fn perform(
    args: &DemoArgs,
    config: Config,
    sim: Sim,
    stop: Stop,
    reload: Reload,
) -> anyhow::Result<()> {
    let bridge = Bridge::connect(config.clone()).await?;
    let admin = bridge
        .admin_addr()
        .context("the demo serves its admin port")?;
    let admin = format!("http://{admin}");
    let play = async {
        let played = play(args, &config, sim, &admin, &stop).await;
        // A signal may have begun it already; a second step would abort.
        stop.drain.cancel();
        played
    };
    let (ended, played) = tokio::join!(Box::pin(bridge.run(stop.clone(), reload)), Box::pin(play));
    played?;
    match ended? {
        Ended::Clean => Ok(()),
        Ended::CutShort => Err(anyhow!("the demo was cut short")),
    }
}

/// Waits until everything is up, tells the story, and stays when asked to.
async fn play(
    args: &DemoArgs,
    config: &Config,
    sim: Sim,
    admin: &str,
    stop: &Stop,
) -> anyhow::Result<()> {
    let url =
        super::settings::broker_url(config).map_err(|_| anyhow!("the broker has no address"))?;
    tokio::select! {
        ready = tokio::time::timeout(PATIENCE, ready(config, admin)) => {
            ready.context("the bridge did not get ready; try again with --log-filter info")??;
        }
        () = stop.drain.cancelled() => return Ok(()),
    }
    let broker = Broker::connect(&config.nats, &url, Metrics::new(), Health::new(&[])).await?;
    let stage = Stage {
        subjects: config.nats.subjects.clone(),
        client_id: CLIENT_ID,
        broker,
        sim,
    };
    let lines = [
        format!("broker    {url}"),
        format!("dingtalk  {} (simulated)", stage.sim.api_url()),
        format!("bridge    ready, {admin}/ready"),
    ];
    story::say(&lines.join("\n"))?;
    // Before anybody speaks, so that the agent misses nothing.
    let mut heard = story::listen(&stage).await?;
    let told = tokio::select! {
        told = story::tell(&stage) => told,
        ended = story::echo(&stage, &mut heard) => ended,
        () = stop.drain.cancelled() => Ok(()),
    };
    told?;
    if args.stay && !stop.drain.is_cancelled() {
        story::say(&next_steps(&url, stage.sim.api_url()))?;
        tokio::select! {
            ended = story::echo(&stage, &mut heard) => ended?,
            () = stop.drain.cancelled() => {}
        }
    } else {
        story::say(
            "\nNext: `make demo STAY=1` keeps it up to play with; README.md shows how to use your own app.",
        )?;
    }
    stage.broker.close().await;
    Ok(())
}

async fn ready(config: &Config, admin: &str) -> anyhow::Result<()> {
    let http = Http::new(&config.dingtalk)?;
    loop {
        let answer = http.client().get(format!("{admin}/ready")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn next_steps(url: &str, api_url: &str) -> String {
    format!(
        "\nEverything stays up until Ctrl-C. In another terminal:\n  \
         nats-dingtalk tail --nats-url {url}\n  \
         curl {api_url}/sim/say -d '{{\"user\":\"manager1\",\"text\":\"hello\"}}'\n  \
         nats-dingtalk send demo user:manager1 'good morning' --nats-url {url}\n  \
         curl {api_url}/sim/sent"
    )
}

/// Writes the configuration of this demo: the one in the repository, with folders and a broker of
/// its own.
fn source(args: &DemoArgs, folder: &Path, port: u16, api_url: &str) -> anyhow::Result<Source> {
    let mut text = format!(
        "{CONFIG}\n[nats]\nport = {port}\ndata_dir = {:?}\n",
        folder.join("nats")
    );
    if let Some(program) = &args.nats_server {
        text += &format!("server = {program:?}\n");
    }
    text += &format!("[spool]\ndir = {:?}\n", folder.join("spool"));
    let file = folder.join("demo.toml");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Source {
        file: Some(file),
        overrides: Overrides {
            api_url: Some(api_url.to_owned()),
            oapi_url: Some(api_url.to_owned()),
            admin_listen: Some("127.0.0.1:0".to_owned()),
            log_filter: Some(args.log_filter.clone()),
            ..Overrides::default()
        },
    })
}

/// A port that was free a moment ago, for a broker that others are told about.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
    Ok(listener.local_addr()?.port())
}

/// A folder that is gone with the demo.
struct Folder(PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let name = format!(
            "nats-dingtalk-demo-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            print::aside(&format!("{} is left behind: {error}", self.0.display()));
        }
    }
}
