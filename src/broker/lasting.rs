//! A connection that comes back for ever: the library reconnects after a broken socket, and the
//! connection is made anew when the library's own task for it has died. It knows no subject.
//!
//! The library reads the headers of what it is given before anybody else can, and panics at a
//! carriage return in one of them; any login at the broker can publish such a header.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::client::FlushErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Event};
use tokio::time::timeout;
use tracing::error;

use super::connection::Route;
use super::error::BrokerError;
use super::hub::REQUEST_TIMEOUT;

/// How long the task of a connection may take to show that it lives; a slow one is not dead.
const LIFE_SIGN: Duration = Duration::from_millis(200);

type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// The connection; its client changes when it is made anew.
pub(super) struct Lasting {
    role: &'static str,
    listener: Listener,
    life: Mutex<Life>,
}

/// One client, from its making to the death of its task.
struct Life {
    client: Client,
    context: Context,
    /// Connections that former clients had.
    former: u64,
}

impl Lasting {
    /// Connects; returns at once, connected or not.
    pub(super) async fn open(
        route: &Route,
        role: &'static str,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, BrokerError> {
        let listener: Listener = Arc::new(listener);
        let client = connect(route, role, &listener).await?;
        Ok(Self {
            role,
            listener,
            life: Mutex::new(Life {
                context: context(&client),
                client,
                former: 0,
            }),
        })
    }

    /// The client of now.
    pub(super) fn client(&self) -> Client {
        self.life().client.clone()
    }

    /// JetStream on the client of now.
    pub(super) fn context(&self) -> Context {
        self.life().context.clone()
    }

    /// Whether it is connected, as far as its task knows.
    pub(super) fn connected(&self) -> bool {
        self.life().client.connection_state() == State::Connected
    }

    /// How often it was connected so far.
    pub(super) fn connects(&self) -> u64 {
        let life = self.life();
        life.former + connects(&life.client)
    }

    /// Makes it anew when its task has died.
    pub(super) async fn revive(&self, route: &Route) -> Result<(), BrokerError> {
        let client = self.client();
        // One that is disconnected is at work on that, and its queue must not fill meanwhile.
        if client.connection_state() != State::Connected || lives(&client).await {
            return Ok(());
        }
        error!(
            nats.connection = self.role,
            "the connection's task has died, the connection is made anew"
        );
        let anew = connect(route, self.role, &self.listener).await?;
        let mut life = self.life();
        life.former += connects(&life.client);
        life.context = context(&anew);
        life.client = anew;
        Ok(())
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(
    route: &Route,
    role: &'static str,
    listener: &Listener,
) -> Result<Client, BrokerError> {
    let listener = Arc::clone(listener);
    route.lasting(role, move |event| listener(event)).await
}

fn context(client: &Client) -> Context {
    jetstream::ContextBuilder::new()
        .timeout(REQUEST_TIMEOUT)
        .build(client.clone())
}

fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

/// Whether anybody still takes what the client is asked to do.
async fn lives(client: &Client) -> bool {
    match timeout(LIFE_SIGN, client.flush()).await {
        Ok(Err(error)) => error.kind() != FlushErrorKind::SendError,
        Ok(Ok(())) | Err(_) => true,
    }
}
