//! A TCP proxy that misbehaves on command: the network between two processes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes forwarded in one piece.
const CHUNK: usize = 16 * 1024;
/// Pieces on their way in one direction; beyond it the sender is not read.
const UNDER_WAY: usize = 4096;
/// How long a piece waits for its retransmission when it was lost: the least that Linux waits, and
/// the same doubled twice.
const RETRANSMISSION_MS: [u64; 3] = [200, 400, 800];

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Forwards.
    Open,
    /// Resets every connection, new ones included.
    Cut,
    /// Forwards nothing and says nothing: neither FIN nor RST.
    Frozen,
    /// Forwards after this long.
    Late(Duration),
    /// Loses this share of the pieces; TCP sends them again, and all behind waits.
    Lossy(f64),
    /// Forwards so many bytes a second from the client.
    Narrow(u64),
    /// Forwards half of the next piece, then resets the connection.
    Tear,
}

/// One address that forwards to another.
pub(crate) struct Proxy {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    mode: watch::Sender<Mode>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Listens; forwards nowhere before [`Proxy::forward_to`].
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(None));
        let (mode, modes) = watch::channel(Mode::Open);
        let serving = tokio::spawn(serve(listener, Arc::clone(&target), modes));
        Self {
            address,
            target,
            mode,
            serving,
        }
    }

    /// Forwards to this `host:port` from now on.
    pub(crate) fn forward_to(&self, target: &str) {
        *self.target.lock().unwrap() = Some(target.parse().unwrap());
    }

    /// Listens and forwards.
    pub(crate) async fn to(target: &str) -> Self {
        let proxy = Self::listen().await;
        proxy.forward_to(target);
        proxy
    }

    /// `host:port` of it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what the network does.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    target: Arc<Mutex<Option<SocketAddr>>>,
    modes: watch::Receiver<Mode>,
) {
    // The connections end with the proxy.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let target = *target.lock().unwrap();
        connections.spawn(connection(client, target, modes.clone()));
    }
}

async fn connection(
    client: TcpStream,
    target: Option<SocketAddr>,
    mut modes: watch::Receiver<Mode>,
) {
    let _ = client.set_zero_linger();
    let frozen = |mode: &Mode| *mode == Mode::Frozen;
    if modes.wait_for(|mode| !frozen(mode)).await.is_err() || *modes.borrow() == Mode::Cut {
        return;
    }
    let Some(target) = target else { return };
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = server.set_zero_linger();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = forward(from_client, to_server, modes.clone(), true);
    let down = forward(from_server, to_client, modes.clone(), false);
    let cut = async {
        let _ = modes.wait_for(|mode| *mode == Mode::Cut).await;
    };
    // Both halves are dropped together, and a socket without linger is reset.
    tokio::select! {
        () = up => {}
        () = down => {}
        () = cut => {}
    }
}

/// One direction, until it ends or is torn.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    from_client: bool,
) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let mut reader_modes = modes.clone();
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            let mode = *reader_modes.borrow_and_update();
            let wait = match mode {
                Mode::Late(wait) => wait,
                Mode::Lossy(share) if fastrand::f64() < share => {
                    let times = &RETRANSMISSION_MS;
                    Duration::from_millis(*fastrand::choice(times).unwrap())
                }
                Mode::Narrow(rate) if from_client => {
                    let wait = Duration::from_secs_f64(length as f64 / rate as f64);
                    sleep(wait).await;
                    Duration::ZERO
                }
                _ => Duration::ZERO,
            };
            let piece = buffer.get(..length).unwrap().to_vec();
            if queue.send((Instant::now() + wait, piece)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = queued.recv().await {
            sleep_until(due).await;
            let thawed = modes.wait_for(|mode| *mode != Mode::Frozen).await;
            let mode = thawed.map_or(Mode::Cut, |mode| *mode);
            let torn = mode == Mode::Tear;
            let end = if torn { piece.len() / 2 } else { piece.len() };
            let written = to.write_all(piece.get(..end).unwrap()).await;
            if torn || written.is_err() {
                return;
            }
        }
    };
    tokio::pin!(write);
    tokio::select! {
        // What was read goes out before the end is passed on.
        () = read => write.await,
        () = &mut write => {}
    }
}
