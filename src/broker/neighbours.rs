//! The buckets of replicas that belong to other configurations in the same NATS account. It knows
//! their names and not what they hold.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use tracing::debug;

use super::error::BrokerError;
use super::hub::Hub;
use super::keyvalue::Entry;
use super::listing;

/// How the stream of such a bucket is called.
const BUCKET: (&str, &str) = ("KV_", "_FLEET");
/// Most of them that are looked at.
const MOST: usize = 16;

#[derive(Deserialize)]
struct NamePage {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

/// The entries of all of them.
pub(super) async fn entries(hub: &Arc<Hub>) -> Result<Vec<(String, Entry)>, BrokerError> {
    let own = hub.names.of("FLEET");
    let question = json!({"subject": "$KV.*.>"});
    // One page holds a thousand names; whoever has more finds the first of them.
    let page: NamePage = hub.ask("STREAM.NAMES".to_owned(), &question).await?;
    let names = page.streams.unwrap_or_default();
    let buckets = names.iter().filter_map(|name| {
        let bucket = name.strip_prefix(BUCKET.0)?;
        (bucket.ends_with(BUCKET.1) && bucket != own).then_some(bucket)
    });
    let mut found = Vec::new();
    for bucket in buckets.take(MOST) {
        match listing::entries(hub, bucket).await {
            Ok(entries) => found.extend(entries),
            Err(error) => debug!(%error, nats.bucket = bucket, "bucket of another bridge not read"),
        }
    }
    Ok(found)
}
