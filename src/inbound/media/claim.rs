//! Who fetches an item: one bridge at a time, and nobody once its end is known. It knows keys and
//! times.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::broker::{BrokerError, KeyValue, MediaObject, MediaStore};
use crate::message::Timestamp;

/// How long a claim holds that is not renewed: after that its bridge is taken for dead.
const LEASE: Duration = Duration::from_secs(15);
/// How often a claim is renewed.
const RENEWAL: Duration = Duration::from_secs(5);
/// How long the end of an item is remembered: longer than a later life looks back.
const MEMORY: Duration = Duration::from_secs(30 * 60);
/// When to look again at a claim that changed while it was looked at.
const SOON: Duration = Duration::from_millis(500);

/// A value of the bucket.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Bridge that fetches.
    owner: String,
    /// Until when, unless it is renewed.
    until: Timestamp,
    /// Name of the chunks that it writes.
    upload: String,
    /// Its end is known and told.
    over: bool,
}

/// The claim of this bridge on one item.
#[derive(Debug)]
pub(super) struct Claim {
    bucket: KeyValue,
    key: String,
    owner: String,
    /// Name for the chunks of this try.
    pub(super) upload: String,
    /// What an earlier try stored.
    pub(super) stored: Option<MediaObject>,
    /// Revision of the object's key, which this try is to find again when it stores.
    pub(super) place: u64,
    revision: u64,
}

/// What came of claiming.
#[derive(Debug)]
pub(super) enum Claimed {
    /// This bridge fetches it, unless it is stored already.
    Taken(Box<Claim>),
    /// Another one does; look again after this long.
    Busy(Duration),
    /// Its end is known.
    Over,
}

impl Claim {
    /// Claims `object` for `owner`, and settles the try of whoever had it before: what that stored is
    /// kept, what it did not is removed and can never be stored.
    ///
    /// A try sees the key of its object while nobody can have taken the claim from it yet. Who takes it
    /// changes the key first, and so the slower one of two is refused, and not stored over the other.
    pub(super) async fn take(
        bucket: KeyValue,
        media: &MediaStore,
        object: &str,
        owner: &str,
    ) -> Result<Claimed, BrokerError> {
        let (stored, place) = media.place(object).await?;
        let mut claim = Self {
            bucket,
            key: format!("media:{object}"),
            owner: owner.to_owned(),
            upload: MediaStore::new_upload(),
            stored,
            place,
            revision: 0,
        };
        match claim.write(false, LEASE).await {
            Err(BrokerError::Conflict) => {}
            written => return written.map(|()| Claimed::Taken(Box::new(claim))),
        }
        let Some(found) = claim.bucket.read(&claim.key).await? else {
            return Ok(Claimed::Busy(SOON));
        };
        // Of another version: taken over like one that has lapsed.
        let entry: Option<Entry> = serde_json::from_slice(&found.value).ok();
        if let Some(entry) = &entry {
            if entry.over {
                return Ok(Claimed::Over);
            }
            let left = entry.until.since(Timestamp::now());
            if entry.owner != owner && !left.is_zero() {
                return Ok(Claimed::Busy(left.min(LEASE) + SOON));
            }
        }
        claim.revision = found.revision;
        match claim.write(false, LEASE).await {
            Err(BrokerError::Conflict) => return Ok(Claimed::Busy(SOON)),
            written => written?,
        }
        let before = match &entry {
            Some(entry) => media.settle(object, &entry.upload).await?,
            None => media.place(object).await?,
        };
        (claim.stored, claim.place) = before;
        // Still its own, so nobody can have changed the key for having taken it.
        match claim.rewrite(false, LEASE).await {
            Err(BrokerError::Conflict) => Ok(Claimed::Busy(SOON)),
            written => written.map(|()| Claimed::Taken(Box::new(claim))),
        }
    }

    /// Renews the claim until another bridge has it.
    pub(super) async fn keep(&mut self) {
        loop {
            sleep(RENEWAL).await;
            match self.rewrite(false, LEASE).await {
                // While the broker is away nobody else can take it either.
                Ok(()) | Err(BrokerError::Away(_) | BrokerError::Refused { .. }) => {}
                Err(BrokerError::Conflict | BrokerError::Unfit(_)) => return,
            }
        }
    }

    /// Says that the end is known and told.
    pub(super) async fn close(mut self) {
        // Otherwise it is looked at once more, and found stored or failing again.
        let _ = self.rewrite(true, LEASE).await;
    }

    /// Lets another bridge, or the next life of this one, have it at once.
    pub(super) async fn release(mut self) {
        // It lapses by itself soon.
        let _ = self.rewrite(false, Duration::ZERO).await;
    }

    /// Writes what is this bridge's own, also when the answer to an earlier write was lost.
    async fn rewrite(&mut self, over: bool, lease: Duration) -> Result<(), BrokerError> {
        match self.write(over, lease).await {
            Err(BrokerError::Conflict) => {}
            written => return written,
        }
        let found = self.bucket.read(&self.key).await?;
        let found = found.ok_or(BrokerError::Conflict)?;
        let entry: Option<Entry> = serde_json::from_slice(&found.value).ok();
        if entry.is_none_or(|entry| entry.upload != self.upload) {
            return Err(BrokerError::Conflict);
        }
        self.revision = found.revision;
        self.write(over, lease).await
    }

    async fn write(&mut self, over: bool, lease: Duration) -> Result<(), BrokerError> {
        let now = Timestamp::now();
        let entry = Entry {
            owner: self.owner.clone(),
            until: now.after(lease),
            upload: self.upload.clone(),
            over,
        };
        let value = Bytes::from(serde_json::to_vec(&entry).unwrap_or_default());
        let (key, revision) = (&self.key, self.revision);
        let written = self
            .bucket
            .update_until(key, value, revision, now.after(MEMORY));
        self.revision = written.await?;
        Ok(())
    }
}
