//! What changed between two configurations, and what of it a running bridge can follow. It applies
//! nothing.

use std::collections::BTreeMap;

use super::{Admin, Config, Dingtalk, Inbound, Log, Nats, Ops, ServerLocation, Spool};
use crate::message::AccountName;

/// What differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Accounts to follow, one by one, by name.
    pub accounts: Vec<AccountChange>,
    /// What changed and takes effect at the next start only: dotted keys, or `nats credentials`.
    pub restart: Vec<&'static str>,
}

/// One account that differs; pausing and resuming are changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// It is new.
    Added(AccountName),
    /// It is there in both, with other settings.
    Changed(AccountName),
    /// It is gone.
    Removed(AccountName),
}

/// Compares two configurations. Removals come first, so that a client id that moves to another name
/// is let go before it is taken up.
pub fn diff(old: &Config, new: &Config) -> Changes {
    let mut accounts = Vec::new();
    changes(&old.accounts, &new.accounts, &mut accounts);
    changes(&old.webhooks, &new.webhooks, &mut accounts);
    // An account that changed its kind is gone as one and new as the other.
    accounts.sort_by_key(|change| !matches!(change, AccountChange::Removed(_)));
    Changes {
        accounts,
        restart: restart(old, new),
    }
}

fn changes<A: PartialEq>(
    old: &BTreeMap<AccountName, A>,
    new: &BTreeMap<AccountName, A>,
    changes: &mut Vec<AccountChange>,
) {
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    changes.extend(removed.cloned().map(AccountChange::Removed));
    for (name, account) in new {
        match old.get(name) {
            None => changes.push(AccountChange::Added(name.clone())),
            Some(before) if before != account => {
                changes.push(AccountChange::Changed(name.clone()));
            }
            Some(_) => {}
        }
    }
}

/// Compares the named fields of two values of one section, and fails to build when a field is left
/// out.
macro_rules! changed {
    ($keys:ident, $section:ident { $($field:ident => $key:expr),+ $(,)? }, $old:expr, $new:expr) => {{
        let $section { $($field),+ } = $old;
        $(if *$field != $new.$field { $keys.push($key); })+
    }};
}

/// The key that moved the broker, the first of several.
fn moved(old: &ServerLocation, new: &ServerLocation) -> &'static str {
    let (
        ServerLocation::Managed {
            data_dir, program, ..
        },
        ServerLocation::Managed {
            data_dir: new_data_dir,
            program: new_program,
            ..
        },
    ) = (old, new)
    else {
        return "nats.url";
    };
    if data_dir != new_data_dir {
        "nats.data_dir"
    } else if program != new_program {
        "nats.server"
    } else {
        "nats.port"
    }
}

fn restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    changed!(keys, Nats {
        server => moved(&old.nats.server, &new.nats.server),
        auth => "nats credentials",
        tls => "nats.tls",
        replicas => "nats.replicas",
        subjects => "nats.subject_prefix",
        dedup_window => "nats.dedup_window",
        max_age => "nats.max_age",
        stream_prefix => "nats.subject_prefix",
    }, &old.nats, new.nats);
    changed!(keys, Dingtalk {
        api_url => "dingtalk.api_url",
        oapi_url => "dingtalk.oapi_url",
        ca_file => "dingtalk.ca_file",
        proxy => "dingtalk.proxy",
        no_proxy => "dingtalk.no_proxy",
        media_hosts => "dingtalk.media_hosts",
        timeout => "dingtalk",
    }, &old.dingtalk, new.dingtalk);
    changed!(keys, Inbound {
        ack => "inbound.ack",
        soft_budget => "inbound.soft_budget",
        hard_budget => "inbound.hard_budget",
        media_max_bytes => "inbound.media_max_bytes",
    }, &old.inbound, new.inbound);
    changed!(keys, Spool { dir => "spool.dir", max_bytes => "spool.max_bytes" }, &old.spool, new.spool);
    changed!(keys, Admin { listen => "admin.listen" }, &old.admin, new.admin);
    changed!(keys, Ops { stop_grace => "ops.stop_grace" }, &old.ops, new.ops);
    changed!(keys, Log { filter => "log.filter", format => "log.format" }, &old.log, new.log);
    keys.sort_unstable();
    keys.dedup();
    keys
}
