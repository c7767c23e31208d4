//! Who may come in at the admin port: so many at a time, each for so long. Whoever sends half a request, or
//! takes no answer, holds a place until then and no more than that. It knows no path.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at a time; the next ones wait in the system's queue. Probes and scrapers need a handful.
const PLACES: usize = 64;
/// How long one may last. A scraper that keeps its connection makes another one then.
const LIFE: Duration = Duration::from_secs(10);

/// A listener with a bound.
#[derive(Debug)]
pub(super) struct Doorman {
    listener: TcpListener,
    places: Arc<Semaphore>,
    life: Duration,
}

impl Doorman {
    /// Stands at `listener`.
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(PLACES)),
            life: LIFE,
        }
    }
}

impl Listener for Doorman {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        // It is never closed, so this waits for a place and never fails.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        // Waits out what the system refuses, such as want of descriptors.
        let (socket, from) = Listener::accept(&mut self.listener).await;
        let visitor = Visitor {
            socket,
            over: Box::pin(sleep(self.life)),
            _place: place,
        };
        (visitor, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection, in its place.
#[derive(Debug)]
pub(super) struct Visitor {
    socket: TcpStream,
    over: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Visitor {
    /// What waits is given up once the time is over.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        now: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if now.is_ready() {
            return now;
        }
        ready!(self.over.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let now = Pin::new(&mut this.socket).poll_read(context, buffer);
        this.in_time(context, now)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let now = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.in_time(context, now)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let now = Pin::new(&mut this.socket).poll_flush(context);
        this.in_time(context, now)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let now = Pin::new(&mut this.socket).poll_shutdown(context);
        this.in_time(context, now)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_too_many_waits_until_the_time_of_another_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut doorman = Doorman {
            listener,
            places: Arc::new(Semaphore::new(1)),
            life: Duration::from_millis(300),
        };
        let address = doorman.local_addr().unwrap();
        let _silent = TcpStream::connect(address).await.unwrap();
        let _next = TcpStream::connect(address).await.unwrap();
        let (mut first, _) = doorman.accept().await;
        let early = timeout(Duration::from_millis(50), doorman.accept()).await;
        assert!(early.is_err(), "two at a time");
        let read = first.read_u8().await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(first);
        let late = timeout(Duration::from_secs(10), doorman.accept()).await;
        assert!(late.is_ok(), "the place is free again");
    }
}
