//! The bytes of an object on their way out, and whether the object itself is why they broke off: an
//! upload that carries them tells only that it failed. It opens nothing.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// What was found wrong with an object while it was read; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Damage(Arc<OnceLock<String>>);

/// A reader of an object that notes its damage.
#[derive(Debug)]
pub(super) struct Watched<R> {
    reader: R,
    damage: Damage,
}

impl Damage {
    /// Reads on, and notes it when bytes are missing or are others than were stored.
    pub(super) fn watch<R>(&self, reader: R) -> Watched<R> {
        Watched {
            reader,
            damage: self.clone(),
        }
    }

    /// What was found, if anything was.
    pub(super) fn found(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &polled
            && is_damage(error.kind())
        {
            // What was found first is what is wrong.
            let _ = self.damage.0.set(error.to_string());
        }
        polled
    }
}

/// Everything else is the broker's, and passes.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;
    use tokio_util::io::StreamReader;

    use super::*;

    async fn damage_of(kind: io::ErrorKind) -> Option<String> {
        let pieces = [
            Ok(Bytes::from_static(b"abc")),
            Err(io::Error::new(kind, "broken")),
        ];
        let damage = Damage::default();
        let mut reader = damage.watch(StreamReader::new(futures_util::stream::iter(pieces)));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!(bytes, b"abc");
        damage.found()
    }

    #[tokio::test]
    async fn a_damaged_object_is_told_from_a_broker_that_is_away() {
        use io::ErrorKind::{InvalidData, Other, TimedOut, UnexpectedEof};
        for kind in [UnexpectedEof, InvalidData] {
            assert_eq!(damage_of(kind).await.as_deref(), Some("broken"), "{kind}");
        }
        for kind in [Other, TimedOut] {
            assert_eq!(damage_of(kind).await, None, "{kind}");
        }
    }
}
