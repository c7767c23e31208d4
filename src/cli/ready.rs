//! `ready`: what a bridge's `/ready` says, as an exit code, for health checks in images without a shell.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use super::exit::{Failure, even_unread};
use super::print;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ask a running bridge whether it is ready; exit 0 when it is, 1 when it is not
#[derive(Debug, Args)]
pub(super) struct ReadyArgs {
    /// Where the bridge serves its health
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8680")]
    url: String,
}

/// Asks once and prints the answer.
pub(super) async fn execute(args: ReadyArgs) -> Result<(), Failure> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(Failure::failed)?;
    let url = format!("{}/ready", args.url.trim_end_matches('/'));
    let answer = client.get(&url).send().await;
    let answer = answer
        .with_context(|| format!("no bridge answers at {url}"))
        .map_err(Failure::Failed)?;
    let ready = answer.status().is_success();
    let body = answer.text().await.map_err(Failure::failed)?;
    for line in body.lines() {
        even_unread(print::line(line))?;
    }
    if ready {
        Ok(())
    } else {
        Err(Failure::Failed(anyhow!("the bridge is not ready")))
    }
}
