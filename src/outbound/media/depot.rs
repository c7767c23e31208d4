//! Where media of one account pass on their way to DingTalk: found in the object store or fetched
//! into it, checked against the table of limits, uploaded unless DingTalk has the same bytes already.
//! One task at a time; who tries again is decided by the caller.

use std::io;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use reqwest::Body;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio_util::io::{ReaderStream, StreamReader};
use tracing::debug;

use crate::broker::{
    Broker, BrokerError, Bucket, Description, KeyValue, MediaError, MediaObject, MediaReader,
    MediaStore,
};
use crate::dingtalk::api::{Api, ApiError, FetchError, Fetched, Fetcher, Upload, check_upload};
use crate::message::{AccountName, DeadReason, MediaKind, MediaSource, RequestId};
use crate::outbound::resolve::Refusal;

use super::freight::{Done, Task};
use super::length::{audio_millis, video_millis};
use super::piece::{Laid, Piece, Stored, cache_key, file_name};
use super::watched::Damage;

/// Uploads and fetches of one account at once; each holds some chunks of its body.
const AT_ONCE: usize = 4;
/// Most bytes of a voice recording, whose length is read at one go (oapi.md, section 5.1).
const MOST_AUDIO: u64 = 2 * 1024 * 1024;

/// The media of one account on their way out.
#[derive(Debug)]
pub(in crate::outbound) struct Depot {
    account: AccountName,
    store: MediaStore,
    cache: KeyValue,
    fetcher: Fetcher,
    places: Semaphore,
}

/// Why a task was not done.
#[derive(Debug)]
pub(in crate::outbound) enum Trouble {
    /// It never will be.
    Refused(Refusal),
    /// The address did not give its bytes this time.
    NotFetched(String),
    /// The object store did not give its bytes to the end, or gave others, this time.
    Damaged(String),
    /// DingTalk refused the upload, or did not answer.
    Api(ApiError),
}

/// What the cache holds under a key.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    media_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    millis: Option<u64>,
}

/// Why a body that is fetched ends early.
#[derive(Debug, Error)]
enum Cut {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{}", .0.detail)]
    Refused(Refusal),
}

impl Depot {
    pub(in crate::outbound) fn new(
        account: &AccountName,
        broker: &Broker,
        fetcher: &Fetcher,
    ) -> Self {
        Self {
            account: account.clone(),
            store: broker.media(),
            cache: broker.bucket(Bucket::Cache),
            fetcher: fetcher.clone(),
            places: Semaphore::new(AT_ONCE),
        }
    }

    /// Does one task of the request `id`. Nobody sees anything of it, so dropping and repeating it is
    /// harmless.
    ///
    /// # Errors
    /// [`BrokerError`]; what concerns the media is the inner one.
    pub(in crate::outbound) async fn work(
        &self,
        api: &Api,
        id: &RequestId,
        task: Task<'_>,
    ) -> Result<Result<Done, Trouble>, BrokerError> {
        let Ok(_place) = self.places.acquire().await else {
            return Err(BrokerError::Away("the depot is closed".to_owned()));
        };
        match task {
            Task::Find(piece) => {
                let stored = self.find(id, piece).await?;
                Ok(stored.map(|stored| Done::Stored(piece.role, stored)))
            }
            Task::Lay(piece, stored) => {
                let laid = self.lay(api, piece, stored).await?;
                Ok(laid.map(|laid| Done::Laid(piece.role, laid)))
            }
        }
    }

    /// Forgets media ids that DingTalk does not know any more.
    pub(in crate::outbound) async fn forget(&self, keys: &[String]) -> Result<(), BrokerError> {
        for key in keys {
            self.cache.delete(key).await?;
        }
        Ok(())
    }

    async fn find(
        &self,
        id: &RequestId,
        piece: Piece<'_>,
    ) -> Result<Result<Stored, Trouble>, BrokerError> {
        let (object, passing) = match piece.source {
            MediaSource::Object(key) => match self.store.find(key).await? {
                Some(object) => (object, false),
                None => return Ok(Err(missing(key))),
            },
            MediaSource::Url(url) => match self.fetch(id, piece, url).await? {
                Ok(object) => (object, true),
                Err(trouble) => return Ok(Err(trouble)),
            },
            MediaSource::MediaId(_) => {
                return Ok(Err(refused("a media id has no bytes to upload")));
            }
        };
        let name = file_name(piece.name, &object);
        if let Err(error) = check_upload(piece.kind, &name, object.size) {
            return Ok(Err(Trouble::Refused(unfit(&error))));
        }
        Ok(Ok(Stored {
            object,
            name,
            passing,
        }))
    }

    /// Fetches what is at `url` into the store, under a key of its own that is removed after the
    /// upload and expires with the store in any case.
    async fn fetch(
        &self,
        id: &RequestId,
        piece: Piece<'_>,
        url: &str,
    ) -> Result<Result<MediaObject, Trouble>, BrokerError> {
        let fetched = match self.fetcher.open(url).await {
            Ok(fetched) => fetched,
            Err(error) => return Ok(Err(not_fetched(error))),
        };
        let key = format!("outbound/{}/{id}/{}", self.account, piece.role.name());
        let description = Description {
            name: fetched.name.clone(),
            mime: fetched.mime.clone(),
        };
        // Its name may be told by its type only, so that of the object is worked out already here.
        let probe = MediaObject {
            key: key.clone(),
            description: description.clone(),
            size: fetched.size.unwrap_or(1),
            digest: String::new(),
            stored_at: None,
        };
        let name = file_name(piece.name, &probe);
        if let Err(error) = check_upload(piece.kind, &name, probe.size) {
            return Ok(Err(Trouble::Refused(unfit(&error))));
        }
        let body = StreamReader::new(Box::pin(capped(fetched, piece.kind, name)));
        match self.store.put(&key, description, body).await {
            Ok(object) => Ok(Ok(object)),
            Err(MediaError::Broker(error)) => Err(error),
            Err(MediaError::Body(error)) => Ok(Err(cut(error))),
        }
    }

    async fn lay(
        &self,
        api: &Api,
        piece: Piece<'_>,
        stored: &Stored,
    ) -> Result<Result<Laid, Trouble>, BrokerError> {
        let key = cache_key(self.account.as_str(), piece.kind, stored);
        let laid = |known: Known, uploaded| Laid {
            media_id: known.media_id,
            name: stored.name.clone(),
            millis: known.millis,
            cached_as: key.clone(),
            uploaded,
        };
        let known = self.cache.read(&key).await?;
        let known = known.and_then(|entry| serde_json::from_slice::<Known>(&entry.value).ok());
        if let Some(known) = known.filter(|known| known.millis.is_some() || !piece.timed) {
            self.let_pass(stored).await;
            return Ok(Ok(laid(known, false)));
        }
        let millis = match self.millis(piece, stored).await? {
            Ok(millis) => millis,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let Some(body) = self.open(stored).await? else {
            return Ok(Err(missing(&stored.object.key)));
        };
        let damage = Damage::default();
        let upload = Upload {
            kind: piece.kind,
            name: stored.name.clone(),
            size: stored.object.size,
            body: Body::wrap_stream(ReaderStream::new(damage.watch(body))),
        };
        let media_id = match api.upload(upload).await {
            Ok(media_id) => media_id,
            // An upload whose body breaks off looks like one whose connection does.
            Err(error) => {
                let trouble = damage.found().map(|text| damaged(stored, &text));
                return Ok(Err(trouble.unwrap_or(Trouble::Api(error))));
            }
        };
        let known = Known { media_id, millis };
        // Without the entry the same bytes are uploaded again some day, which is all.
        if let Ok(value) = serde_json::to_vec(&known)
            && let Err(error) = self.cache.write(&key, value.into()).await
        {
            debug!(%error, "a media id was not kept");
        }
        self.let_pass(stored).await;
        Ok(Ok(laid(known, true)))
    }

    /// How long a piece plays, where that has to be known.
    async fn millis(
        &self,
        piece: Piece<'_>,
        stored: &Stored,
    ) -> Result<Result<Option<u64>, Trouble>, BrokerError> {
        if !piece.timed {
            return Ok(Ok(None));
        }
        let Some(reader) = self.open(stored).await? else {
            return Ok(Err(missing(&stored.object.key)));
        };
        let damage = Damage::default();
        let reader = damage.watch(reader);
        let read = if piece.kind == MediaKind::Video {
            video_millis(reader).await
        } else {
            let mut bytes = Vec::new();
            let mut reader = reader.take(MOST_AUDIO);
            let read = reader.read_to_end(&mut bytes).await;
            read.map(|_| audio_millis(&bytes))
        };
        if let Some(text) = damage.found() {
            return Ok(Err(damaged(stored, &text)));
        }
        let millis = read.map_err(|error| BrokerError::Away(error.to_string()))?;
        Ok(match millis {
            Some(_) => Ok(millis),
            None => Err(refused(
                "the length cannot be read from the bytes; say it in `duration_ms`",
            )),
        })
    }

    async fn open(&self, stored: &Stored) -> Result<Option<MediaReader>, BrokerError> {
        let opened = self.store.open(&stored.object.key).await?;
        // Other bytes under the same key are another message.
        let same = opened.filter(|(object, _)| object.digest == stored.object.digest);
        Ok(same.map(|(_, reader)| reader))
    }

    /// Removes what was in the store for this request only; it expires in any case.
    async fn let_pass(&self, stored: &Stored) {
        if stored.passing
            && let Err(error) = self.store.remove(&stored.object.key).await
        {
            debug!(%error, "media that passed through stay in the object store for now");
        }
    }
}

/// A body that ends with an error as soon as it is too large for its kind.
fn capped(
    fetched: Fetched,
    kind: MediaKind,
    name: String,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    try_unfold((fetched, 0_u64), move |(mut fetched, size)| {
        let name = name.clone();
        async move {
            let chunk = fetched.chunk().await;
            let Some(chunk) = chunk.map_err(|error| io::Error::other(Cut::from(error)))? else {
                return Ok(None);
            };
            let size = size + u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            match check_upload(kind, &name, size.max(1)) {
                Ok(()) => Ok(Some((chunk, (fetched, size)))),
                Err(error) => Err(io::Error::other(Cut::Refused(unfit(&error)))),
            }
        }
    })
}

fn cut(error: io::Error) -> Trouble {
    let text = error.to_string();
    match error.into_inner().and_then(|inner| inner.downcast().ok()) {
        Some(cut) => match *cut {
            Cut::Fetch(error) => not_fetched(error),
            Cut::Refused(refusal) => Trouble::Refused(refusal),
        },
        None => Trouble::NotFetched(text),
    }
}

fn not_fetched(error: FetchError) -> Trouble {
    match error {
        FetchError::Forbidden(_) | FetchError::Gone(_) => {
            let detail = format!("the media behind `url` cannot be fetched: {error}");
            Trouble::Refused(Refusal::new(DeadReason::Refused, detail))
        }
        FetchError::Again(reason) => Trouble::NotFetched(reason),
    }
}

fn missing(key: &str) -> Trouble {
    refused(&format!(
        "nothing is stored under the object key `{key}`; put it there first (nats-dingtalk media put), a path on a disk is no key"
    ))
}

fn damaged(stored: &Stored, text: &str) -> Trouble {
    let key = &stored.object.key;
    Trouble::Damaged(format!("the object `{key}` is damaged: {text}"))
}

fn refused(detail: &str) -> Trouble {
    Trouble::Refused(Refusal::new(DeadReason::Refused, detail))
}

/// What the table of limits says, as a refusal before any call.
fn unfit(error: &ApiError) -> Refusal {
    let cure = error.cure.as_deref().unwrap_or_default();
    Refusal::new(DeadReason::Refused, format!("{}; {cure}", error.message))
}
