//! A body on its way from its host into the store: its beginning looked at, its size limited, its
//! silence cut short. It knows neither.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt, try_unfold};
use tokio::io::AsyncRead;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::verdict::Trouble;
use crate::dingtalk::api::Fetched;

/// Bytes from the beginning that tell what a file is.
const HEAD: usize = 8192;
/// How long a host may be silent in the middle of a body.
const SILENCE: Duration = Duration::from_secs(30);

/// A body whose beginning is known.
pub(super) struct Body {
    /// How it begins.
    pub(super) head: Bytes,
    /// All of it; an error holds a [`Trouble`].
    pub(super) bytes: Pin<Box<dyn AsyncRead + Send>>,
}

/// Begins to read; a body that is or gets larger than `most` fails.
pub(super) async fn open(fetched: Fetched, most: u64) -> Result<Body, Trouble> {
    if fetched.size.is_some_and(|size| size > most) {
        return Err(Trouble::TooLarge(most));
    }
    let mut rest = Rest {
        fetched,
        most,
        seen: 0,
    };
    let mut head = BytesMut::new();
    let mut pieces = Vec::new();
    while head.len() < HEAD
        && let Some(piece) = rest.next().await?
    {
        let room = HEAD - head.len();
        head.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        pieces.push(Ok(piece));
    }
    let rest = try_unfold(rest, |mut rest| async move {
        let piece = rest.next().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, rest)))
    });
    Ok(Body {
        head: head.freeze(),
        bytes: Box::pin(StreamReader::new(Box::pin(
            stream::iter(pieces).chain(rest),
        ))),
    })
}

/// What has not been read yet.
struct Rest {
    fetched: Fetched,
    most: u64,
    seen: u64,
}

impl Rest {
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let next = timeout(SILENCE, self.fetched.chunk()).await;
        let piece = next.map_err(|_| Trouble::Silent)??;
        let size = piece.as_ref().map_or(0, Bytes::len);
        self.seen = self
            .seen
            .saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        if self.seen > self.most {
            return Err(Trouble::TooLarge(self.most));
        }
        Ok(piece)
    }
}
