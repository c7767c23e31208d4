//! The accounts that this replica serves, as far as the fleet has to know them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};

use crate::message::AccountName;

/// Bytes of a hash that are told: enough to tell apart, too few to try backwards.
const TOLD: usize = 8;

/// What the fleet has to know of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Billed calls in a month, when configured.
    pub limit: Option<u64>,
    /// Its client id, hashed.
    pub client: String,
    /// Stream connections that this replica opens.
    pub connections: usize,
    /// Whether this replica sends for it.
    pub sends: bool,
}

/// The accounts; cheap to clone, changed as they come and go.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<RwLock<BTreeMap<AccountName, Charge>>>);

impl Roster {
    /// Says which accounts there are.
    pub fn set(&self, accounts: impl IntoIterator<Item = (AccountName, Charge)>) {
        let accounts = accounts.into_iter().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }

    /// All accounts as they are now.
    pub(super) fn all(&self) -> BTreeMap<AccountName, Charge> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A name that two replicas can compare without telling it.
pub fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(TOLD).map(hex).collect()
}

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}
