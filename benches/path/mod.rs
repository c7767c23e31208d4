//! From socket to ack: the bridge beside raw publishing, bare loops and the official SDKs, on the same
//! frames, pusher and broker settings.

mod backlog;
mod bare;
mod contender;
mod drain;
mod gateway;
mod latency;
pub(crate) mod process;
mod publish;
mod pusher;
mod scale;
mod setting;
mod shape;
mod start;
mod table;
mod throughput;
mod trial;

use crate::support::{Page, loops_alone};

/// Does the work of a contender that is part of this program, if the arguments name one.
pub(crate) async fn child(arguments: &[&str]) -> bool {
    match arguments {
        ["--bare", gateway, nats, sample] => bare::run(gateway, nats, sample).await,
        ["--publish", publish @ ..] => publish::run(publish).await,
        _ => return false,
    }
    true
}

/// Measures everything on the way in.
pub(crate) async fn measure(page: &mut Page) {
    let bench = trial::Bench::new().await;
    let limit = throughput::measure(&bench, page).await;
    if loops_alone() {
        return;
    }
    latency::measure(&bench, limit, page).await;
    scale::measure(&bench, page).await;
    backlog::measure(&bench, page).await;
    start::measure(&bench, page).await;
    drain::measure(&bench, page).await;
}
