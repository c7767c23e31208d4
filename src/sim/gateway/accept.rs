//! Takes connections and checks their ticket at the upgrade (stream-protocol.md, section 1.2).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::link::{Link, LinkMode, Out};
use super::redelivery::Task;
use super::session;
use crate::message::Timestamp;
use crate::sim::armed::LinkFault;
use crate::sim::state::{LINK_QUEUE, Shared, Ticket};

/// How long a client may take for its upgrade request.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Wait after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the simulator stops.
pub(in crate::sim) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(Arc::clone(&shared), stream, peer);
                shared.tasks.spawn(connection);
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = upgrade(shared, stream, peer) => {}
    }
}

async fn upgrade(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    if shared.world().take_upgrade_hold() {
        // The socket stays up and silent until the simulator stops.
        return std::future::pending().await;
    }
    let mut claimed = None;
    #[expect(clippy::result_large_err, reason = "the shape is tungstenite's")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        match claim(&shared, request) {
            Ok(ticket) => {
                claimed = Some(ticket);
                Ok(response)
            }
            Err(status) => {
                let mut refusal = ErrorResponse::new(Some(format!("refused: {status}")));
                *refusal.status_mut() = status;
                Err(refusal)
            }
        }
    };
    let Ok(Ok(socket)) = timeout(HANDSHAKE, accept_hdr_async(stream, check)).await else {
        return;
    };
    let Some((value, ticket)) = claimed else {
        return;
    };
    let at_once = shared
        .world()
        .take_link_fault(&ticket.app, LinkFault::AcceptAndClose);
    let (out, queue) = mpsc::channel(LINK_QUEUE);
    let kill = CancellationToken::new();
    if at_once {
        let _ = out.try_send(Out::Close(1000));
    }
    let ends = (out, kill.clone());
    let Some(id) = register(&shared, value, &ticket, peer, ends) else {
        return;
    };
    shared.notify();
    let serving = session::run(&shared, id, socket.into_inner(), queue, kill);
    let ended = serving.await;
    let keep = shared.options.keep;
    shared.world().end_link(id, ended, keep);
    shared.notify();
}

/// Takes the ticket of an upgrade request out of circulation.
fn claim(shared: &Shared, request: &Request) -> Result<(String, Ticket), StatusCode> {
    if request.uri().path() != "/connect" {
        return Err(StatusCode::NOT_FOUND);
    }
    let value = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("ticket="))
        .unwrap_or_default();
    let mut world = shared.world();
    if let Some(status) = world.take_upgrade_refusal() {
        return Err(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE));
    }
    let ticket = world.tickets.remove(value).ok_or(StatusCode::BAD_REQUEST)?;
    let full = world
        .by_app
        .get(&ticket.app)
        .is_some_and(|ids| ids.len() >= shared.options.max_links);
    if ticket.expires <= Instant::now() || full {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok((value.to_owned(), ticket))
}

fn register(
    shared: &Shared,
    value: String,
    ticket: &Ticket,
    peer: SocketAddr,
    (out, kill): (mpsc::Sender<Out>, CancellationToken),
) -> Option<u64> {
    let mut world = shared.world();
    let app_id = world.apps.get(&ticket.app)?.app_id.clone();
    let id = world.next_link;
    world.next_link += 1;
    let link = Link {
        id,
        app: Arc::clone(&ticket.app),
        app_id,
        ticket: Arc::from(value),
        subscriptions: Arc::clone(&ticket.subscriptions),
        ua: ticket.ua.clone(),
        peer: peer.to_string(),
        mode: LinkMode::Live,
        out,
        kill,
        opened_at: Timestamp::now(),
        pushed: 0,
        acks: 0,
        pings: 0,
        opaque_echoes: Vec::new(),
    };
    world.links.insert(id, link);
    let app = Arc::clone(&ticket.app);
    world.by_app.entry(app).or_default().push(id);
    if let Some(wait) = shared.options.auto_ping {
        world.plan_in(wait, Task::Ping(id));
        shared.schedule.notify_one();
    }
    Some(id)
}
