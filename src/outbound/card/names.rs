//! Names and texts that are derived from others: outTrackIds, fingerprints, parameters. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::message::{RequestId, param_strings};

/// Before an outTrackId that the bridge made.
pub(super) const OWN: &str = "nd-";

/// An outTrackId that only these names lead to.
pub(super) fn derived(names: &[&str]) -> String {
    let mut digest = Sha256::new();
    for name in names {
        digest.update(name.len().to_be_bytes());
        digest.update(name);
    }
    let hex = format!("{:x}", digest.finalize());
    format!("{OWN}{}", hex.get(..48).unwrap_or(&hex))
}

/// What stands for a key that a caller gave.
pub(super) fn fingerprint(id: &RequestId) -> u64 {
    let digest = Sha256::digest(id.as_str());
    digest
        .iter()
        .take(8)
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Parameters that single users see, as DingTalk takes them.
pub(super) fn private_strings(
    private: &BTreeMap<String, BTreeMap<String, Value>>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let users = private.iter();
    users
        .map(|(user, params)| (user.clone(), param_strings(params)))
        .collect()
}
