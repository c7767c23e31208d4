//! `run`: the bridge, until a signal stops it. It knows no part of the bridge.

use clap::Args;

use super::exit::Failure;
use super::life::Life;
use super::settings::BridgeArgs;
use crate::bridge::{Bridge, BridgeError, Ended, Reload};
use crate::broker::BrokerError;
use crate::config::{Config, Environment};
use crate::ops::Stop;

/// Run the bridge
///
/// Needs nothing but DINGTALK_CLIENT_ID and DINGTALK_CLIENT_SECRET in the environment: without nats.url it starts a
/// nats-server of its own. SIGTERM or Ctrl-C lets it finish what it holds, a second one ends it at once; SIGHUP
/// reads the configuration again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    DINGTALK_CLIENT_ID=ding… DINGTALK_CLIENT_SECRET=… nats-dingtalk run\n  \
    nats-dingtalk run --config bridge.toml --log-format json\n  \
    nats-dingtalk run --nats-url nats://broker:4222 --admin-listen 0.0.0.0:8680")]
pub(super) struct RunArgs {
    #[command(flatten)]
    bridge: BridgeArgs,
}

/// Runs until stopped.
pub(super) async fn execute(args: RunArgs) -> Result<(), Failure> {
    let reload = Reload::new(args.bridge.source(), Environment::capture());
    let config = reload.load()?;
    config.require_accounts()?;
    let life = Life::begin(&config, reload)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        accounts = config.account_names().count(),
        "bridge starts"
    );
    let ended = life.spend(|stop, reload| serve(config, stop, reload)).await;
    match ended {
        Ok(Ended::Clean) => Ok(()),
        Ok(Ended::CutShort) => Err(Failure::CutShort),
        Err(error) => Err(failure(error)),
    }
}

/// Builds and runs the bridge; a stop while it is being built leaves nothing to drain.
async fn serve(config: Config, stop: Stop, reload: Reload) -> Result<Ended, BridgeError> {
    let bridge = tokio::select! {
        bridge = Bridge::connect(config) => bridge?,
        () = stop.drain.cancelled() => return Ok(Ended::Clean),
    };
    bridge.run(stop, reload).await
}

/// What is wrong with the set-up is said to a person; what failed later belongs into the log.
fn failure(error: BridgeError) -> Failure {
    match error {
        BridgeError::Net(_) | BridgeError::Broker(BrokerError::Unfit(_)) => Failure::usage(error),
        BridgeError::Broker(_)
        | BridgeError::Server(_)
        | BridgeError::Spool(_)
        | BridgeError::Admin(_)
        | BridgeError::Task(_) => {
            let error = anyhow::Error::new(error);
            tracing::error!(error = format!("{error:#}"), "bridge failed");
            Failure::Said
        }
    }
}
