//! Checked configuration, one section a file. It knows no feature module.

mod account;
mod admin;
mod dingtalk;
mod inbound;
mod log;
mod nats;
mod ops;
mod spool;

use std::collections::BTreeMap;

pub use account::{Account, DirectMessages, Gated, Policy};
pub use admin::Admin;
pub use dingtalk::Dingtalk;
pub use inbound::{AckMode, Inbound};
pub use log::{Log, LogFormat};
pub use nats::{Nats, NatsAuth, NatsTls, ServerLocation};
pub use ops::Ops;
pub use spool::Spool;

use crate::message::AccountName;

/// The whole configuration, valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Broker.
    pub nats: Nats,
    /// DingTalk's hosts and how to reach them.
    pub dingtalk: Dingtalk,
    /// Accounts by name.
    pub accounts: BTreeMap<AccountName, Account>,
    /// When a frame is acknowledged.
    pub inbound: Inbound,
    /// Local spool.
    pub spool: Spool,
    /// Admin HTTP.
    pub admin: Admin,
    /// Stopping.
    pub ops: Ops,
    /// Logging.
    pub log: Log,
}
