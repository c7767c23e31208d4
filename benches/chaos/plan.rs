//! What a row wants to stand on: servers, bridges, load, disks. It starts nothing.

use std::time::Duration;

use nats_dingtalk::sim::SimOptions;

use crate::disk::Ground;
use crate::load::Amount;

/// Longest load after a fault, so that recovery shows.
const TAIL: Duration = Duration::from_secs(10);
/// How long no request may end before the books are settled as they are.
const QUIET: Duration = Duration::from_secs(90);

/// What a row wants to stand on.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Servers of the broker, 1 or 3.
    pub(crate) servers: usize,
    /// More lines in their configuration.
    pub(crate) server_extra: &'static str,
    /// Bridges.
    pub(crate) bridges: usize,
    /// Whether a proxy stands between bridge and broker, bridge and API, bridge and gateway.
    pub(crate) proxied: bool,
    /// Load.
    pub(crate) amount: Amount,
    /// Longest load after the fault, while there is no recovery.
    pub(crate) tail: Duration,
    /// How long no request may end before the books are settled as they are.
    pub(crate) quiet: Duration,
    /// Keys of the account.
    pub(crate) account: &'static str,
    /// Keys of the spool.
    pub(crate) spool: &'static str,
    /// Keys of the broker's section.
    pub(crate) nats: &'static str,
    /// Size of a file system of its own under the spool.
    pub(crate) spool_disk: Option<Ground>,
    /// The same under the store of the broker.
    pub(crate) store_disk: Option<&'static str>,
    /// Changes the simulator.
    pub(crate) sim: fn(&mut SimOptions),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            servers: 1,
            server_extra: "",
            bridges: 1,
            proxied: false,
            amount: Amount::default(),
            tail: TAIL,
            quiet: QUIET,
            account: "rate = 1000",
            spool: "",
            nats: "",
            spool_disk: None,
            store_disk: None,
            sim: |_| {},
        }
    }
}
