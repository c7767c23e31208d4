//! The buckets of replicas that belong to other configurations in the same NATS account. It knows
//! their names and not what they hold.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use tracing::debug;

use super::error::BrokerError;
use super::hub::Hub;
use super::keyvalue::Entry;
use super::listing;

/// How the stream of such a bucket is called.
const BUCKET: (&str, &str) = ("KV_", "_FLEET");
/// Most of them that are looked at.
const MOST: usize = 16;
/// How long one look may take. A user without rights over it is not answered at all, and whoever asks
/// has others to hear.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct NamePage {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

/// What is in the buckets of other configurations.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// The entries that could be read, by key.
    pub entries: Vec<(String, Entry)>,
    /// Buckets that could not be read, mostly for want of rights.
    pub hidden: Vec<String>,
}

/// Looks into all of them at once.
pub(super) async fn look(hub: &Arc<Hub>) -> Result<Neighbours, BrokerError> {
    let own = hub.names.of("FLEET");
    let question = json!({"subject": "$KV.*.>"});
    // One page holds a thousand names; whoever has more finds the first of them.
    let page: NamePage = hub.ask("STREAM.NAMES".to_owned(), &question).await?;
    let names = page.streams.unwrap_or_default();
    let buckets = names.iter().filter_map(|name| {
        let bucket = name.strip_prefix(BUCKET.0)?;
        (bucket.ends_with(BUCKET.1) && bucket != own).then_some(bucket)
    });
    let looks = buckets.take(MOST).map(async |bucket| {
        let looked = timeout(PATIENCE, listing::entries(hub, bucket)).await;
        (
            bucket,
            looked.unwrap_or_else(|late| Err(BrokerError::Away(late.to_string()))),
        )
    });
    let mut found = Neighbours::default();
    for (bucket, looked) in join_all(looks).await {
        match looked {
            Ok(entries) => found.entries.extend(entries),
            Err(error) => {
                debug!(%error, nats.bucket = bucket, "bucket of another bridge not read");
                found.hidden.push(bucket.to_owned());
            }
        }
    }
    Ok(found)
}
