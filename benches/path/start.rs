//! How soon after its start the bridge has stored a frame.

use std::time::{Duration, Instant};

use super::gateway::Gateway;
use super::pusher::{Pace, push};
use super::setting::Setting;
use super::trial::Bench;
use crate::support::{Page, Spread, size};

/// From the start of the process to an open socket, and to the ack of a frame that was pushed at once.
struct Start {
    open: Duration,
    acked: Duration,
}

/// Measures first lives, which make everything in the broker, and later ones.
pub(super) async fn measure(bench: &Bench, page: &mut Page) {
    let times = size("BENCH_STARTS", 11, 3);
    let mut first = Vec::new();
    let mut later = Vec::new();
    for _ in 0..times {
        let gateway = Gateway::start().await;
        let setting = Setting::empty(&gateway.url(), 1, 1);
        let _ready = setting.broker().jetstream().await;
        first.push(start(bench, &gateway, &setting).await);
        later.push(start(bench, &gateway, &setting).await);
    }
    page.section("In: cold start");
    page.text(&format!(
        "From the start of the process to the ack of a frame that is pushed as soon as the socket is open; the ack follows the PubAck. {times} \
         times each; killed in between."
    ));
    let row = |name: &str, starts: &[Start]| {
        let shown = |span: fn(&Start) -> Duration| {
            let millis = starts
                .iter()
                .map(|start| span(start).as_secs_f64() * 1000.0);
            Spread::of(millis).map_or_else(String::new, |spread| spread.shown(0))
        };
        vec![
            name.to_owned(),
            shown(|start| start.open),
            shown(|start| start.acked),
        ]
    };
    let rows = [
        row("first life: streams and buckets are made", &first),
        row("later life: they are there", &later),
    ];
    page.table(
        &["", "socket open, ms", "first frame stored and acked, ms"],
        &rows,
    );
}

async fn start(bench: &Bench, gateway: &Gateway, setting: &Setting) -> Start {
    let begun = Instant::now();
    let _bridge = setting.bridge();
    let mut sockets = gateway.sockets(1).await;
    let open = begun.elapsed();
    let run = push(&mut sockets, bench.load(1, Pace::Window(1))).await;
    assert_eq!(run.answered, 1, "the first frame is acked");
    Start {
        open,
        acked: begun.elapsed(),
    }
}
