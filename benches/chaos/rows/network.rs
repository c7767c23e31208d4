//! The network between the bridge and each of its three neighbours.

use std::time::Duration;

use super::{full, short, staged, taken_over};
use crate::proxy::{Mode, Proxy};
use crate::row::Scenario;
use crate::stage::{Net, Plan, Stage};

/// A neighbour: what it is called, and the proxy before it.
type Neighbour = (&'static str, fn(&Net) -> &Proxy);

const NEIGHBOURS: [Neighbour; 3] = [
    ("broker", |net| &net.broker),
    ("gateway", |net| &net.gateway),
    ("API", |net| &net.api),
];

/// A fault: what it is called, what it is, how long it lasts in seconds.
const FAULTS: [(&str, Mode, u64); 6] = [
    ("cut for 3 s", Mode::Cut, 3),
    ("half open for 6 s", Mode::Frozen, 6),
    ("30 % loss for 6 s", Mode::Lossy(0.3), 6),
    (
        "2 s of latency for 8 s",
        Mode::Late(Duration::from_secs(2)),
        8,
    ),
    ("reset in mid-frame", Mode::Tear, 1),
    ("slow reader for 6 s", Mode::Narrow(20_000), 6),
];

/// What the short set has of them.
const SHORT: [&str; 4] = [
    "gateway cut for 3 s",
    "broker half open for 6 s",
    "API reset in mid-frame",
    "gateway reset in mid-frame",
];

pub(super) fn rows() -> Vec<Scenario> {
    let mut rows = Vec::new();
    for (neighbour, proxy) in NEIGHBOURS {
        for (fault, mode, span) in FAULTS {
            let name = format!("{neighbour} {fault}");
            let add = if SHORT.contains(&name.as_str()) {
                short
            } else {
                full
            };
            rows.push(add(name, move |rng| {
                let plan = Plan {
                    proxied: true,
                    ..taken_over()
                };
                staged(plan, rng, async move |stage: &mut Stage| {
                    stage.between(100, 1500).await;
                    let set = |mode| proxy(stage.net.as_ref().unwrap()).set(mode);
                    set(mode);
                    super::seconds(span).await;
                    set(Mode::Open);
                    stage.over();
                })
            }));
        }
    }
    rows
}
