//! What a frame costs, and how much memory the bridge holds, as accounts and chats become many.

use super::gateway::Gateway;
use super::process::{LOOK, REST, rest};
use super::pusher::{CHATS, Load, Pace};
use super::setting::Setting;
use super::trial::{Bench, Figures, Trial};
use crate::support::{Aim, Axis, Curve, Page, Panel, Spread, bridge, curves, quick, size};

/// Connections of an account: the default, two, so that one is open while the other is renewed.
const CONNECTIONS: u64 = 2;
const WINDOW: u64 = 64;
/// How often a bridge is watched before its first frame at most: nobody reads its sockets meanwhile, and two pings without an answer, 40 s,
/// would end them.
const LOOKS: usize = 8;
/// Most memory of an idle bridge with one account, in MB (10^6 bytes).
const AIM_MB: f64 = 15.0;

/// What one number of accounts or chats came to.
struct Point {
    count: u64,
    idle_mib: f64,
    /// What of it is the bridge's own, and not pages of files.
    own_mib: f64,
    figures: Vec<Figures>,
}

impl Point {
    fn spread(&self, field: fn(&Figures) -> f64) -> Option<Spread> {
        Spread::of(self.figures.iter().map(field))
    }

    fn row(&self) -> Vec<String> {
        let shown = |field, digits| {
            self.spread(field)
                .map_or_else(String::new, |spread| spread.shown(digits))
        };
        let peak = self
            .figures
            .iter()
            .map(|row| row.peak_mib)
            .fold(0.0, f64::max);
        vec![
            self.count.to_string(),
            shown(|row| row.rate, 0),
            shown(|row| row.own, 1),
            shown(|row| row.broker, 1),
            format!("{:.1}", self.idle_mib),
            format!("{:.1}", self.own_mib),
            format!("{peak:.1}"),
        ]
    }
}

/// Measures both series.
pub(super) async fn measure(bench: &Bench, page: &mut Page) {
    let (accounts, chats): (&[u64], &[u64]) = if quick() {
        (&[1, 10, 100], &[1, 100, 10_000])
    } else {
        (&[1, 10, 100, 1_000], &[1, 100, 10_000])
    };
    let most = size("BENCH_ACCOUNTS", 1_000, 1_000);
    let mut by_accounts = Vec::new();
    for count in accounts.iter().filter(|count| **count <= most) {
        by_accounts.push(point(bench, (*count, CHATS), *count).await);
    }
    let mut by_chats = Vec::new();
    for count in chats {
        by_chats.push(point(bench, (1, *count), *count).await);
    }
    page.section("In: cost as accounts and chats become many");
    page.text(&format!(
        "The bridge with {CONNECTIONS} connections an account, {WINDOW} frames unanswered in all, pushed over all connections in turn; three \
         runs after one another in the same process. Idle is once all connections are up, all is set up, and less than {} % of a core is \
         used, before the first frame; the peak is that of all three runs.",
        100 * REST.as_millis() / LOOK.as_millis()
    ));
    let head = |first| {
        [
            first,
            "frames/s",
            "CPU µs/frame",
            "nats-server µs/frame",
            "RSS idle, MiB",
            "anonymous, MiB",
            "RSS peak, MiB",
        ]
    };
    let rows = |points: &[Point]| points.iter().map(Point::row).collect::<Vec<_>>();
    page.table(&head("accounts"), &rows(&by_accounts));
    page.table(&head("chats"), &rows(&by_chats));
    if let Some(one) = by_accounts.first() {
        let bytes = one.idle_mib * 1024.0 * 1024.0 / 1e6;
        let bytes = Spread {
            median: bytes,
            min: bytes,
            max: bytes,
        };
        page.aim(Aim::below("RSS, idle, one account", AIM_MB, bytes, " MB"));
        page.text(&format!(
            "Idle with one account, {:.1} of {:.1} MiB are memory of the process itself. The others are pages of files: the program, \
             {:.1} MiB on the disk, and the C library. The kernel maps them in blocks around whatever was touched once, shares them \
             between all bridges of a machine, and takes them back when it needs the room.",
            one.own_mib,
            one.idle_mib,
            program_mib(),
        ));
    }
    let panels = [
        panel("CPU by accounts", "accounts", &by_accounts, cost),
        panel(
            "memory by accounts, idle",
            "accounts",
            &by_accounts,
            |point| Some(point.idle_mib),
        ),
        panel("CPU by chats", "chats", &by_chats, cost),
    ];
    page.plot(
        "scale",
        "Cost by accounts and chats",
        curves("What the bridge costs as it grows", &panels),
    );
}

fn cost(point: &Point) -> Option<f64> {
    Some(point.spread(|row| row.own)?.median)
}

/// Size of the program file.
fn program_mib() -> f64 {
    let file = std::fs::metadata(bridge());
    file.map_or(f64::NAN, |file| file.len() as f64 / 1024.0 / 1024.0)
}

/// One bridge, idle and then loaded.
async fn point(bench: &Bench, (accounts, chats): (u64, u64), count: u64) -> Point {
    let frames = size("BENCH_FRAMES", 60_000, 10_000) / 2;
    let gateway = Gateway::start().await;
    let setting = Setting::empty(&gateway.url(), accounts, CONNECTIONS);
    let _ready = setting.broker().jetstream().await;
    let process = setting.bridge();
    let mut trial = Trial::around(setting, process, gateway);
    trial.connected(accounts * CONNECTIONS).await;
    rest("the bridge", trial.process.pid(), LOOKS).await;
    let (idle_mib, own_mib) = (
        trial.process.memory("VmRSS"),
        trial.process.memory("RssAnon"),
    );
    trial.warm_up(bench).await;
    let mut figures = Vec::new();
    for _ in 0..3 {
        let load = Load {
            chats,
            ..bench.load(frames, Pace::Window(WINDOW))
        };
        figures.push(trial.measure(load).await);
    }
    Point {
        count,
        idle_mib,
        own_mib,
        figures,
    }
}

fn panel(
    title: &'static str,
    label: &'static str,
    points: &[Point],
    value: impl Fn(&Point) -> Option<f64>,
) -> Panel {
    let points = points
        .iter()
        .filter_map(|point| Some((point.count as f64, value(point)?)));
    Panel {
        title,
        x: Axis { label, log: true },
        y: Axis {
            label: if title.starts_with("memory") {
                "RSS, MiB"
            } else {
                "µs a frame"
            },
            log: false,
        },
        curves: vec![Curve {
            name: "the bridge".to_owned(),
            points: points.collect(),
        }],
    }
}
