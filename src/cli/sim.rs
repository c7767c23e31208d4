//! `sim`: the simulated DingTalk as a process of its own. It knows nothing of the bridge.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::{print, span};
use crate::ops::Signals;
use crate::sim::{Sim, SimApp, SimOptions};

/// Run a simulated DingTalk: gateway, tokens, robot sends, webhooks, faults
///
/// A bridge or any bot built on DingTalk's SDKs connects to it instead of DingTalk. It is driven and observed
/// over HTTP under /sim on the API address.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk sim\n  \
    nats-dingtalk run --api-url http://127.0.0.1:8690 --oapi-url http://127.0.0.1:8690\n  \
    curl http://127.0.0.1:8690/sim/say -d '{\"user\":\"manager1\",\"text\":\"hello\"}'\n  \
    curl http://127.0.0.1:8690/sim/sent")]
pub(super) struct SimArgs {
    /// Address of both API families and of /sim
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8690")]
    listen: SocketAddr,
    /// Address of the WebSocket gateway
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8691")]
    gateway_listen: SocketAddr,
    /// URL of the API as clients see it, when it is not the address [default: http://ADDRESS]
    #[arg(long, value_name = "URL")]
    public_api_url: Option<String>,
    /// URL of the gateway as clients see it [default: ws://ADDRESS/connect]
    #[arg(long, value_name = "URL")]
    public_gateway_url: Option<String>,
    /// App that exists, with a made-up secret; may be repeated. Without any, every app exists
    #[arg(long = "app", value_name = "ID:SECRET", value_parser = app)]
    apps: Vec<SimApp>,
    /// API calls a second for one app and path; 0 switches the limit off
    #[arg(long, value_name = "N", default_value_t = 20)]
    calls_per_second: u32,
    /// How long an ack is waited for before a frame counts as missed
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = span::duration)]
    ack_timeout: Duration,
}

fn app(text: &str) -> Result<SimApp, String> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(SimApp::new(id, secret)),
        _ => Err("write the client id and a made-up secret as ID:SECRET".to_owned()),
    }
}

/// Runs until a signal.
pub(super) async fn execute(args: SimArgs) -> Result<(), Failure> {
    let mut signals = Signals::install().map_err(Failure::failed)?;
    let options = SimOptions {
        api_listen: args.listen,
        gateway_listen: args.gateway_listen,
        public_api_url: args.public_api_url,
        public_gateway_url: args.public_gateway_url,
        any_app: args.apps.is_empty(),
        apps: args.apps,
        calls_per_second: (args.calls_per_second > 0).then_some(args.calls_per_second),
        ack_timeout: args.ack_timeout,
        ..SimOptions::default()
    };
    let sim = Sim::start(options).await.map_err(Failure::failed)?;
    print::line(&format!("api      {}", sim.api_url()))?;
    print::line(&format!("gateway  {}", sim.gateway_url()))?;
    print::line(&format!("control  {}/sim/state", sim.api_url()))?;
    signals.next().await;
    sim.stop().await;
    Ok(())
}
