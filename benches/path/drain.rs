//! The spool: how fast it takes frames while the broker is away, and how fast it is drained after.

use std::time::{Duration, Instant};

use super::gateway::Gateway;
use super::pusher::Pace;
use super::setting::Setting;
use super::trial::{Bench, Trial, WARM_UP};
use crate::support::{Page, Spread, size};

const WINDOW: u64 = 256;
const LOOK: Duration = Duration::from_millis(10);
/// How long the drain may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One outage.
struct Outage {
    /// Frames a second that were acked out of the spool.
    taken: f64,
    /// From the start of the broker to the first record that was moved.
    pause: f64,
    /// Records a second from then on.
    drained: f64,
}

/// Measures some outages of one bridge.
pub(super) async fn measure(bench: &Bench, page: &mut Page) {
    let (rounds, records) = (
        size("BENCH_OUTAGES", 3, 1),
        size("BENCH_SPOOL", 50_000, 5_000),
    );
    let gateway = Gateway::start().await;
    let setting = Setting::new(&gateway.url()).await;
    let process = setting.bridge();
    let mut trial = Trial::around(setting, process, gateway);
    trial.connected(1).await;
    trial.warm_up(bench).await;
    let mut outages = Vec::new();
    for _ in 0..rounds {
        outages.push(outage(bench, &mut trial, records).await);
    }
    page.section("In: the spool");
    page.text(&format!(
        "The broker is killed; {records} frames come with {WINDOW} unanswered and are acked once they are on the disk, written with one \
         fsync for up to 256; then the broker is started again and takes them in order. {rounds} times, one bridge."
    ));
    let shown = |field: fn(&Outage) -> f64, digits| {
        Spread::of(outages.iter().map(field))
            .map_or_else(String::new, |spread| spread.shown(digits))
    };
    page.table(
        &["", "measured"],
        &[
            vec![
                "taken into the spool, frames/s".to_owned(),
                shown(|outage| outage.taken, 0),
            ],
            vec![
                "drained, records/s".to_owned(),
                shown(|outage| outage.drained, 0),
            ],
            vec![
                "broker started to first record moved, s".to_owned(),
                shown(|outage| outage.pause, 2),
            ],
        ],
    );
}

async fn outage(bench: &Bench, trial: &mut Trial, records: u64) -> Outage {
    let stored = trial.setting.stored().await;
    trial.setting.broker_mut().kill();
    // These wait out the soft budget; those that follow go to the spool at once.
    trial.warm_up(bench).await;
    let figures = trial
        .measure(bench.load(records, Pace::Window(WINDOW)))
        .await;
    assert!(figures.whole, "every frame is acked out of the spool");
    let before = moved(trial).await;
    trial.setting.broker_mut().restart();
    let begun = Instant::now();
    let first = until_moved(trial, before + 1.0).await;
    let first_at = Instant::now();
    let all = until_moved(trial, before + (WARM_UP + records) as f64).await;
    let drained = (all - first) / first_at.elapsed().as_secs_f64();
    assert!(
        trial.setting.stored().await >= stored + records,
        "all of it is stored"
    );
    Outage {
        taken: figures.rate,
        pause: first_at.duration_since(begun).as_secs_f64(),
        drained,
    }
}

/// Records moved so far.
async fn moved(trial: &Trial) -> f64 {
    let moved = trial
        .setting
        .metric("nats_dingtalk_spool_drained_total")
        .await;
    moved.unwrap_or_default()
}

/// Waits until that many have been moved; how many have.
async fn until_moved(trial: &Trial, wanted: f64) -> f64 {
    let begun = Instant::now();
    loop {
        let moved = moved(trial).await;
        if moved >= wanted {
            return moved;
        }
        assert!(begun.elapsed() < PATIENCE, "{moved} of {wanted} were moved");
        tokio::time::sleep(LOOK).await;
    }
}
