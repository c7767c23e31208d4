//! What every part of the broker module shares: the connections, the names, and one way to ask
//! JetStream something. It knows no message of the bridge.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::client::Request;
use async_nats::jetstream::Context;
use async_nats::jetstream::response::Response;
use async_nats::{Client, Event};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::connection::Route;
use super::error::BrokerError;
use super::lasting::Lasting;
use super::outgoing::{Outgoing, Stored, read_puback};
use crate::config;
use crate::message::Subjects;
use crate::telemetry::{Health, Metrics, PartState};

/// How long one request to JetStream may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request looks whether the connection came back.
const READY_POLL: Duration = Duration::from_millis(25);
/// Where JetStream's API listens.
const API: &str = "$JS.API";
/// Name of this part on the health board.
const PART: &str = "broker";

/// Names of what the bridge keeps at the broker.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    /// The bridge's subjects.
    pub(super) subjects: Subjects,
}

impl Names {
    /// The names of a bridge with this configuration.
    pub(super) fn new(nats: &config::Nats) -> Self {
        Self {
            prefix: nats.stream_prefix.clone(),
            subjects: nats.subjects.clone(),
        }
    }

    /// `<prefix>_<what>`, the name of a stream or bucket.
    pub(super) fn of(&self, what: &str) -> String {
        format!("{}_{what}", self.prefix)
    }
}

/// The shared inside of a [`super::Broker`].
pub(super) struct Hub {
    /// How connections are made.
    pub(super) route: Route,
    /// Names of streams, buckets and subjects.
    pub(super) names: Names,
    /// The section of the configuration.
    pub(super) settings: config::Nats,
    /// Requests, single stores, key-value, objects.
    control: Lasting,
    /// Pulls and acknowledgements.
    consume: Lasting,
    /// Messages of all publishers that wait for their PubAck.
    pub(super) window: Window,
    /// When it was seen that no account has a backlog, if none had.
    pub(super) no_backlog: Mutex<Option<Instant>>,
    presence: Arc<Presence>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("servers", &self.route.names())
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

/// How often each connection was made up to some moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Connects {
    control: u64,
    consume: u64,
}

impl Connects {
    /// Whether the consuming connection broke by itself since `before`: with the broker, both break.
    pub(super) fn consuming_alone_since(self, before: Self) -> bool {
        let control = self.control.saturating_sub(before.control);
        self.consume.saturating_sub(before.consume) > control
    }
}

/// Whether the broker is there, as far as the last event said.
#[derive(Debug)]
struct Presence {
    health: Health,
    servers: String,
    trouble: Mutex<String>,
}

impl Presence {
    fn down(&self) {
        let trouble = self.trouble();
        let text = format!("no connection to {}: {trouble}", self.servers);
        self.health.part(PART, PartState::Down(text));
    }

    fn trouble(&self) -> String {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    fn set_trouble(&self, text: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn notice(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.health.part(PART, PartState::Up);
                info!(nats.servers = %self.servers, "broker connected");
            }
            Event::Disconnected => {
                self.set_trouble("the connection broke".to_owned());
                self.down();
                warn!(nats.servers = %self.servers, "broker connection lost");
            }
            Event::ServerError(error) => {
                warn!(error = %error, "broker reports an error");
                self.set_trouble(error.to_string());
            }
            Event::ClientError(error) => {
                self.set_trouble(error.to_string());
                self.down();
                debug!(error = %error, "broker cannot be reached");
            }
            Event::LameDuckMode => info!("broker is about to stop; moving to another server"),
            Event::SlowConsumer(_) => warn!("broker subscription overran; messages come again"),
            Event::Draining | Event::Closed => {}
        }
    }
}

/// The gauge of messages without a PubAck, over all publishers.
#[derive(Debug, Clone)]
pub(super) struct Window {
    open: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl Window {
    pub(super) fn opened(&self) {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        self.metrics.publish_window(before + 1);
    }

    pub(super) fn closed(&self, by: usize) {
        let before = self.open.fetch_sub(by, Ordering::Relaxed);
        self.metrics.publish_window(before.saturating_sub(by));
    }
}

impl Hub {
    pub(super) async fn connect(
        nats: &config::Nats,
        url: &str,
        metrics: Metrics,
        health: Health,
    ) -> Result<Self, BrokerError> {
        let route = Route::new(nats, url).await?;
        let presence = Arc::new(Presence {
            health,
            servers: route.names(),
            trouble: Mutex::new("connecting".to_owned()),
        });
        presence.down();
        let noticed = Arc::clone(&presence);
        let notice = move |event| noticed.notice(&event);
        let control = Lasting::open(&route, "control", notice).await?;
        let consume = Lasting::open(&route, "consume", |event| {
            debug!(nats.event = %event, "consuming connection");
        })
        .await?;
        Ok(Self {
            names: Names::new(nats),
            settings: nats.clone(),
            control,
            consume,
            window: Window {
                open: Arc::default(),
                metrics,
            },
            no_backlog: Mutex::default(),
            route,
            presence,
        })
    }

    pub(super) fn connected(&self) -> bool {
        self.control.connected()
    }

    /// The control connection.
    pub(super) fn client(&self) -> Client {
        self.control.client()
    }

    /// JetStream on the control connection.
    pub(super) fn jetstream(&self) -> Context {
        self.control.context()
    }

    /// JetStream on the consuming connection.
    pub(super) fn consuming(&self) -> Context {
        self.consume.context()
    }

    /// Number of the connection that consumers are made on.
    pub(super) fn consuming_connects(&self) -> u64 {
        self.consume.connects()
    }

    /// How often either connection was made.
    pub(super) fn connects(&self) -> Connects {
        Connects {
            control: self.control.connects(),
            consume: self.consume.connects(),
        }
    }

    /// Makes connections anew whose tasks have died.
    pub(super) async fn revive(&self) {
        for connection in [&self.control, &self.consume] {
            if let Err(error) = connection.revive(&self.route).await {
                warn!(%error, "a connection cannot be made anew");
            }
        }
    }

    /// Corrects the health board, as an event may have been dropped; says why the broker is away.
    pub(super) fn report(&self) -> Option<String> {
        if self.connected() {
            self.presence.health.part(PART, PartState::Up);
            return None;
        }
        self.presence.down();
        Some(self.presence.trouble())
    }

    /// Other servers of the cluster, as the connected one names them.
    pub(super) fn learned(&self) -> Vec<String> {
        let server = self.client().try_server_info();
        server.map(|known| known.connect_urls).unwrap_or_default()
    }

    pub(super) fn consuming_connected(&self) -> bool {
        self.consume.connected()
    }

    /// Waits for the connection, so that a request is never left in the queue of a broken one.
    pub(super) async fn ready(&self) -> Result<(), BrokerError> {
        self.wait_for(&self.control).await
    }

    /// The same for the consuming connection.
    pub(super) async fn consuming_ready(&self) -> Result<(), BrokerError> {
        self.wait_for(&self.consume).await
    }

    async fn wait_for(&self, connection: &Lasting) -> Result<(), BrokerError> {
        let give_up = Instant::now() + REQUEST_TIMEOUT;
        while !connection.connected() {
            if Instant::now() >= give_up {
                return Err(BrokerError::Away(self.presence.trouble()));
            }
            sleep(READY_POLL).await;
        }
        Ok(())
    }

    /// Asks JetStream's API.
    pub(super) async fn ask<Q, A>(&self, subject: String, question: &Q) -> Result<A, BrokerError>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        let question = serde_json::to_vec(question);
        let question = question.map_err(|error| BrokerError::Away(error.to_string()))?;
        self.call(subject, question.into()).await
    }

    /// Asks JetStream's API something without content, which must be empty: it refuses `null`.
    pub(super) async fn look<A>(&self, subject: String) -> Result<A, BrokerError>
    where
        A: DeserializeOwned,
    {
        self.call(subject, Bytes::new()).await
    }

    async fn call<A>(&self, subject: String, question: Bytes) -> Result<A, BrokerError>
    where
        A: DeserializeOwned,
    {
        self.ready().await?;
        let request = Request::new()
            .payload(question)
            .timeout(Some(REQUEST_TIMEOUT));
        let client = self.client();
        let asking = client.send_request(format!("{API}.{subject}"), request);
        let answer = serde_json::from_slice(&asking.await?.payload);
        match answer.map_err(|error| BrokerError::Away(error.to_string()))? {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(error.into()),
        }
    }

    /// Stores one message; one try.
    pub(super) async fn store(
        &self,
        message: &Outgoing,
        extra: &[(&'static str, String)],
    ) -> Result<Stored, BrokerError> {
        let mut headers = message.header_map()?;
        for (name, value) in extra {
            // The values are numbers, which hold no line break.
            headers.insert(*name, value.as_str());
        }
        self.ready().await?;
        let request = Request::new()
            .headers(headers)
            .payload(message.payload.clone())
            .timeout(Some(REQUEST_TIMEOUT));
        let client = self.client();
        let sent = client.send_request(message.subject.clone(), request);
        read_puback(&sent.await?)
    }
}
