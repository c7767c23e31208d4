//! Checked configuration, one section a file. It knows no feature module.
//!
//! Defaults lie under the TOML file, the file under the environment, the environment under flags
//! ([`load()`]). What comes out is valid; nothing is checked again. An error names the key and where its
//! value came from, and never the value ([`ConfigError`]).

mod account;
mod admin;
mod dingtalk;
mod environment;
mod error;
mod file;
mod inbound;
mod layers;
mod load;
mod log;
mod nats;
mod ops;
mod reload;
mod schema;
mod section;
mod source;
mod spool;
mod suggest;
mod syntax;
mod text;
mod variables;
mod watch;
mod webhook;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use account::{Account, DirectMessages, Gated, Media, Policy};
pub use admin::Admin;
pub use dingtalk::Dingtalk;
pub use environment::Environment;
pub use error::{ConfigError, Origin, Problem};
pub use inbound::{AckMode, Inbound};
pub use load::{load, load_from};
pub use log::{Log, LogFormat};
pub use nats::{Nats, NatsAuth, NatsTls, ServerLocation};
pub use ops::Ops;
pub use reload::{AccountChange, Changes, diff};
pub use schema::schema;
pub use source::{Overrides, Source};
pub use spool::Spool;
pub use watch::Watch;
pub use webhook::WebhookAccount;

use crate::message::AccountName;

/// The whole configuration, valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Broker.
    pub nats: Nats,
    /// DingTalk's hosts and how to reach them.
    pub dingtalk: Dingtalk,
    /// Apps by name of the account.
    pub accounts: BTreeMap<AccountName, Account>,
    /// Custom robots by name of the account; no name is in both.
    pub webhooks: BTreeMap<AccountName, WebhookAccount>,
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

impl Config {
    /// The names of all accounts, of both kinds.
    pub fn account_names(&self) -> impl Iterator<Item = &AccountName> {
        self.accounts.keys().chain(self.webhooks.keys())
    }

    /// Whether there is an account of this name, of either kind.
    pub fn serves(&self, account: &AccountName) -> bool {
        self.accounts.contains_key(account) || self.webhooks.contains_key(account)
    }

    /// Refuses a configuration without accounts: a bridge needs one, commands such as `send` do not.
    ///
    /// # Errors
    /// [`ConfigError`] that says what to set.
    pub fn require_accounts(&self) -> Result<(), ConfigError> {
        if !self.accounts.is_empty() || !self.webhooks.is_empty() {
            return Ok(());
        }
        Err(ConfigError::from(Problem {
            key: "accounts".to_owned(),
            origin: Origin::Default,
            fault: "names no DingTalk app".to_owned(),
            cure: "set DINGTALK_CLIENT_ID and DINGTALK_CLIENT_SECRET in the environment, or add [accounts.<name>] with client_id and client_secret, or with kind = \"webhook\" and webhook_url, to the configuration file".to_owned(),
        }))
    }
}
