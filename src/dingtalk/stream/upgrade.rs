//! The WebSocket handshake on a fresh socket, and the connection that reads well from then on. It knows no gateway.
//!
//! The library keeps what it read past the handshake in a buffer of just that size, and whoever holds on to messages gets every
//! later buffer of the size of one message: a system call for every second frame. So it is given no byte past the handshake, and a
//! full-sized buffer with what came behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Read at once while the handshake runs; of a refusal as much is passed on.
const CHUNK: usize = 4096;
/// How the answer begins when messages come behind its head: what comes behind any other is its body.
const SWITCHED: &[u8] = b"HTTP/1.1 101";

/// Shakes hands on `socket`; messages that come right behind the answer are kept.
pub(super) async fn upgrade<S>(
    request: ClientRequestBuilder,
    socket: S,
    limits: WebSocketConfig,
) -> Result<WebSocketStream<S>, tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let fresh = Upgrading {
        socket,
        held: BytesMut::new(),
        start: Vec::with_capacity(SWITCHED.len()),
        line_is_empty: true,
    };
    let (shaken, _) = client_async_with_config(request, fresh, Some(limits)).await?;
    let Upgrading { socket, held, .. } = shaken.into_inner();
    let mut behind = Vec::with_capacity(limits.read_buffer_size.max(held.len()));
    behind.extend_from_slice(&held);
    Ok(WebSocketStream::from_partially_read(socket, behind, Role::Client, Some(limits)).await)
}

/// A socket that gives out nothing past an empty line in one read: there the head of the answer ends.
struct Upgrading<S> {
    socket: S,
    /// Read and not given out yet.
    held: BytesMut,
    /// The first bytes that were given out.
    start: Vec<u8>,
    /// Nothing but a carriage return was given out of the present line.
    line_is_empty: bool,
}

impl<S> Upgrading<S> {
    /// How many of the first `most` bytes that are held go up to the end of an empty line.
    fn up_to_empty_line(&mut self, most: usize) -> usize {
        for (at, byte) in self.held.iter().take(most).enumerate() {
            if self.start.len() < SWITCHED.len() {
                self.start.push(*byte);
            }
            match byte {
                b'\n' if self.line_is_empty && self.start == SWITCHED => return at + 1,
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        most
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upgrading<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() {
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            this.held.extend_from_slice(read.filled());
        }
        let most = this.held.len().min(buffer.remaining());
        let given = this.up_to_empty_line(most);
        buffer.put_slice(&this.held.split_to(given));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Upgrading<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    use tokio_tungstenite::tungstenite::http::Uri;
    use tokio_util::io::InspectReader;

    use super::*;

    const FRAME: usize = 1200;

    fn frames(count: u8) -> Vec<u8> {
        let frame = |number: u8| {
            let mut frame = vec![0x81, 126];
            frame.extend(u16::try_from(FRAME).unwrap().to_be_bytes());
            frame.extend(vec![b'a' + number % 26; FRAME]);
            frame
        };
        (0..count).flat_map(frame).collect()
    }

    /// A server that sends its answer and `behind` in one go, but for a pause after `pause_after` bytes.
    async fn serve(mut socket: DuplexStream, head: &str, behind: &[u8], pause_after: usize) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = derive_accept_key(key.unwrap().as_bytes());
        let mut all = head.replace("KEY", &accept).into_bytes();
        all.extend(behind);
        let (first, rest) = all.split_at(pause_after);
        socket.write_all(first).await.unwrap();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        socket.write_all(rest).await.unwrap();
    }

    /// The texts that come in, all of them held until the end, and how often the socket was read.
    async fn read(
        head: &str,
        behind: &[u8],
        pause_after: usize,
    ) -> Result<(Vec<Message>, usize), tungstenite::Error> {
        let (near, far) = duplex(256 << 10);
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let near = InspectReader::new(near, move |bytes| {
            counter.fetch_add(usize::from(!bytes.is_empty()), Ordering::Relaxed);
        });
        let limits = WebSocketConfig::default().read_buffer_size(16 << 10);
        let request = ClientRequestBuilder::new(Uri::from_static("ws://gateway/connect"));
        let (client, ()) = tokio::join!(
            upgrade(request, near, limits),
            serve(far, head, behind, pause_after)
        );
        let shaken = reads.swap(0, Ordering::Relaxed);
        assert!(shaken > 0);
        let mut client = client?;
        let mut messages = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            messages.push(message);
        }
        Ok((messages, reads.load(Ordering::Relaxed)))
    }

    const HEAD: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: KEY\r\n\r\n";

    fn texts(count: u8) -> Vec<Message> {
        let text =
            |number: u8| Message::text(char::from(b'a' + number % 26).to_string().repeat(FRAME));
        (0..count).map(text).collect()
    }

    #[tokio::test]
    async fn frames_right_behind_the_answer_are_kept_wherever_it_is_cut() {
        let behind = frames(3);
        for pause_after in 0..=HEAD.len() + 80 {
            let (messages, _) = read(HEAD, &behind, pause_after).await.unwrap();
            assert_eq!(messages, texts(3), "cut after {pause_after}");
        }
    }

    #[tokio::test]
    async fn an_answer_with_bare_line_feeds_ends_where_it_ends() {
        let head = HEAD.replace("\r\n", "\n");
        let (messages, _) = read(&head, &frames(2), 0).await.unwrap();
        assert_eq!(messages, texts(2));
    }

    #[tokio::test]
    async fn frames_that_are_held_are_read_many_at_a_time() {
        let (messages, reads) = read(HEAD, &frames(104), 0).await.unwrap();
        assert_eq!(messages, texts(104));
        // 13 of them fill the buffer, and the one that is cut is read to its end first.
        assert!(reads <= 2 * 104 / 13, "{reads} reads");
    }

    #[tokio::test]
    async fn a_refusal_is_passed_on_with_its_body() {
        let head = "HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nstale";
        match read(head, &[], 0).await {
            Err(tungstenite::Error::Http(answer)) => {
                assert_eq!(answer.status().as_u16(), 403);
                assert_eq!(answer.body().as_deref(), Some(b"stale".as_slice()));
            }
            other => panic!("{other:?}"),
        }
    }
}
