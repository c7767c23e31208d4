//! A reader that returns full buffers: the object store writes one message for each read (nats.md,
//! section 3), and a network body comes in small pieces.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Collects `size` bytes of `inner` before it hands any out, fewer at the end only.
#[derive(Debug)]
pub(super) struct Filler<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are filled, and those of them that were handed out.
    filled: usize,
    taken: usize,
    ended: bool,
}

impl<R> Filler<R> {
    pub(super) fn new(inner: R, size: usize) -> Self {
        Self {
            inner,
            buffer: vec![0; size],
            filled: 0,
            taken: 0,
            ended: false,
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Filler<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.taken > 0 && this.taken == this.filled {
            (this.filled, this.taken) = (0, 0);
        }
        while this.taken == 0 && !this.ended && this.filled < this.buffer.len() {
            let room = this.buffer.get_mut(this.filled..).unwrap_or_default();
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut room))?;
            let read = room.filled().len();
            this.filled += read;
            this.ended = read == 0;
        }
        let left = this.buffer.get(this.taken..this.filled).unwrap_or_default();
        let piece = left
            .get(..left.len().min(out.remaining()))
            .unwrap_or_default();
        out.put_slice(piece);
        this.taken += piece.len();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn small_reads_become_full_buffers_and_nothing_is_lost() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        let pieces = bytes
            .chunks(7)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        let pieces = tokio_util::io::StreamReader::new(futures_util::stream::iter(
            pieces.map(|piece| piece.map(bytes::Bytes::from)),
        ));
        let mut filler = Filler::new(pieces, 256);
        let mut sizes = Vec::new();
        let mut got = Vec::new();
        let mut buffer = [0; 256];
        loop {
            let read = filler.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            sizes.push(read);
            got.extend_from_slice(&buffer[..read]);
        }
        assert_eq!(sizes, [256, 256, 256, 232]);
        assert_eq!(got, bytes);
    }
}
