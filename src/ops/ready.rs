//! The health of the bridge as a page for people. It knows no HTTP.

use std::fmt::Write;

use crate::message::{AccountName, Timestamp};
use crate::telemetry::{AccountHealth, LinkState, PartState, Snapshot};

/// Writes `snapshot` as seen at `now`: one line for each part, account and link.
pub(super) fn page(snapshot: &Snapshot, now: Timestamp) -> String {
    let mut page = String::new();
    let verdict = if snapshot.ready { "ready" } else { "not ready" };
    line(&mut page, format_args!("{verdict}\n"));
    for (name, state) in &snapshot.parts {
        match state {
            PartState::Up => line(&mut page, format_args!("{name:<9} up")),
            PartState::Down(reason) => {
                line(
                    &mut page,
                    format_args!("{name:<9} down: {}", one_line(reason)),
                );
            }
        }
    }
    if snapshot.replicas.len() > 1 {
        let count = snapshot.replicas.len();
        line(&mut page, format_args!("\n{count} replicas"));
        for replica in &snapshot.replicas {
            let age = now.since(replica.started_at).as_secs();
            let me = if replica.me { "  this one" } else { "" };
            let (id, version) = (one_line(&replica.id), one_line(&replica.version));
            line(
                &mut page,
                format_args!("  {id}  version {version}  up {age} s{me}"),
            );
        }
    }
    for (name, health) in &snapshot.accounts {
        account(&mut page, name, health, now);
    }
    page
}

fn account(page: &mut String, name: &AccountName, health: &AccountHealth, now: Timestamp) {
    let up = health.links.values().filter(|link| **link == LinkState::Up);
    let state = if health.paused {
        "paused".to_owned()
    } else if health.sends_only {
        "sends only".to_owned()
    } else {
        format!("{} of {} links up", up.count(), health.links.len())
    };
    line(page, format_args!("\naccount {name}: {state}"));
    for (slot, link) in &health.links {
        match link {
            LinkState::Up => line(page, format_args!("  link {slot}   up")),
            LinkState::Down(reason) => {
                line(
                    page,
                    format_args!("  link {slot}   down: {}", one_line(reason)),
                );
            }
            LinkState::Parked(reason) => {
                line(
                    page,
                    format_args!("  link {slot}   parked: {}", one_line(reason)),
                );
            }
        }
    }
    if let Some(reason) = &health.sends_parked {
        line(
            page,
            format_args!("  sends    parked: {}", one_line(reason)),
        );
    }
    if let Some(reason) = &health.foreign {
        line(page, format_args!("  foreign  {}", one_line(reason)));
    }
    if let Some(quota) = &health.quota {
        let limit = quota.limit.map_or("no limit".to_owned(), |limit| {
            format!("{limit} a month, brake {}", quota.brake.as_str())
        });
        line(
            page,
            format_args!(
                "  quota    {} calls used, {} at the end of the month; {limit}",
                quota.used, quota.forecast
            ),
        );
    }
    let ago = |at: Option<Timestamp>| {
        at.map_or("never".to_owned(), |at| {
            format!("{} s ago", now.since(at).as_secs())
        })
    };
    line(
        page,
        format_args!("  received {}", ago(health.last_frame_at)),
    );
    line(
        page,
        format_args!("  sent     {}", ago(health.last_sent_at)),
    );
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}

/// Reasons may quote what a server said, which must not draw lines of its own.
fn one_line(reason: &str) -> String {
    reason.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Health;

    #[test]
    fn the_page_says_what_is_down_and_why_in_one_line_each() {
        let health = Health::new(&["broker"]);
        health.part("broker", PartState::Up);
        let sales = AccountName::parse("sales").unwrap();
        health.link(&sales, 0, LinkState::Up);
        health.link(&sales, 1, LinkState::Parked("401\nready".to_owned()));
        let now = Timestamp::now();
        health.account(&sales, |sales| {
            sales.last_frame_at = Some(Timestamp::from_millis(now.as_millis() - 3_000));
        });
        let expected = "not ready\n\nbroker    up\n\naccount sales: 1 of 2 links up\n  link 0   up\n  \
                        link 1   parked: 401 ready\n  received 3 s ago\n  sent     never\n";
        assert_eq!(page(&health.snapshot(), now), expected);
    }
}
