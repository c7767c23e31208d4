//! A broker, a simulated DingTalk and the pipelines between them, for one test.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream::StorageType};
use futures_util::StreamExt;
use nats_dingtalk::broker::{Broker, Bucket};
use nats_dingtalk::config::{Account, Dingtalk};
use nats_dingtalk::dingtalk::api::{Api, Fetcher, Http};
use nats_dingtalk::message::{
    AccountName, DeadLetter, Kind, Receipt, RequestId, Secret, SessionEntry, Subjects, Timestamp,
};
use nats_dingtalk::outbound::{
    Drain, Mover, MoverParts, Outbound, Parts, Served, Settings, Strays, Timings,
};
use nats_dingtalk::sim::{
    BOT_TOPIC, CallRefusal, Fault, Message, OPEN_PATH, Sim, SimApp, SimOptions,
};
use nats_dingtalk::telemetry::{CardChats, Health, Metrics, Seats, Standings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_util::sync::CancellationToken;

use crate::support::nats::Nats;
use crate::support::sections;
use crate::support::wait;

/// Deadline of a call to DingTalk in these tests.
pub(super) const CALL: Duration = Duration::from_millis(1500);

/// Everything that a test of the outbound side needs.
pub(super) struct Stage {
    pub(super) server: Nats,
    pub(super) sim: Sim,
    pub(super) broker: Broker,
    pub(super) stream: jetstream::Context,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) subjects: Subjects,
    pub(super) settings: Settings,
    pub(super) standings: Standings,
    pub(super) timings: Timings,
}

/// A running pipeline.
pub(super) struct Line {
    stop: CancellationToken,
    task: JoinHandle<Drain>,
}

impl Line {
    /// As `kill -9` would end it: in the middle of whatever it does.
    pub(super) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// As SIGTERM ends it.
    pub(super) async fn stop(self) -> Drain {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

pub(super) fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

pub(super) fn app_of(name: &str) -> String {
    format!("ding{name}")
}

pub(super) fn timings() -> Timings {
    Timings {
        margin: Duration::from_millis(300),
        retry_first: Duration::from_millis(100),
        sweep: Duration::from_millis(100),
        stray_age: Duration::from_millis(300),
        review: Duration::from_millis(100),
        drain: Duration::from_secs(5),
        ..Timings::for_calls(CALL)
    }
}

impl Stage {
    /// Opens the stage for these accounts.
    pub(super) async fn open(accounts: &[&str]) -> Self {
        let server = Nats::start().await;
        let broker = server.broker().await;
        let sim = Sim::start(SimOptions {
            apps: accounts
                .iter()
                .map(|name| SimApp::new(app_of(name), format!("secret-{name}")))
                .collect(),
            calls_per_second: None,
            auto_ping: None,
            ..SimOptions::default()
        })
        .await
        .unwrap();
        let stream = server.jetstream().await;
        Self {
            server,
            sim,
            broker,
            stream,
            metrics: Metrics::new(),
            health: Health::new(&["outbound"]),
            subjects: Subjects::new("dingtalk").unwrap(),
            settings: Settings {
                mention_all: true,
                card_template: None,
                card_key: "content".to_owned(),
                custom_robot: None,
            },
            standings: Standings::default(),
            timings: timings(),
        }
    }

    fn api(&self, name: &str, secret: &str) -> Api {
        let dingtalk = sections::dingtalk(&self.sim, CALL);
        let section = Account {
            rate: NonZeroU32::new(500).unwrap(),
            ..sections::account(&app_of(name), secret)
        };
        let http = Http::new(&dingtalk).unwrap();
        Api::new(
            http,
            &dingtalk,
            account(name),
            &section,
            self.metrics.clone(),
        )
    }

    /// Fetches from this host, where tests serve files.
    fn fetcher(&self) -> Fetcher {
        let dingtalk = Dingtalk {
            media_hosts: vec!["127.0.0.1".to_owned()],
            ..sections::dingtalk(&self.sim, CALL)
        };
        Fetcher::new(&dingtalk).unwrap()
    }

    /// Starts the pipeline of an account.
    pub(super) fn start(&self, name: &str) -> Line {
        self.start_with(name, &format!("secret-{name}"))
    }

    /// Starts it with a secret of its own.
    pub(super) fn start_with(&self, name: &str, secret: &str) -> Line {
        self.start_on(&self.broker, name, secret)
    }

    /// Starts the pipeline of another replica, which has connections of its own.
    pub(super) fn start_on(&self, broker: &Broker, name: &str, secret: &str) -> Line {
        let outbound = Outbound::new(Parts {
            account: account(name),
            api: Arc::new(self.api(name, secret)),
            fetcher: self.fetcher(),
            settings: self.settings.clone(),
            broker: broker.clone(),
            subjects: self.subjects.clone(),
            standings: self.standings.clone(),
            seats: Seats::default(),
            card_chats: CardChats::default(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            timings: self.timings.clone(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(outbound.run(stop.clone()));
        Line { stop, task }
    }

    /// Starts the mover for these accounts.
    pub(super) fn start_mover(&self, accounts: &[&str]) {
        let served = Served::default();
        served.set(accounts.iter().map(|name| (account(name), app_of(name))));
        let mover = Mover::new(MoverParts {
            broker: self.broker.clone(),
            subjects: self.subjects.clone(),
            served,
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            timings: timings(),
        });
        tokio::spawn(mover.run(CancellationToken::new()));
    }

    /// Starts the sweep.
    pub(super) fn start_strays(&self) {
        self.start_strays_serving(Served::default());
    }

    /// Starts the sweep of a bridge that serves these accounts.
    pub(super) fn start_strays_serving(&self, served: Served) {
        let strays = Strays::new(
            &self.broker,
            self.subjects.clone(),
            served,
            self.metrics.clone(),
            timings(),
        );
        tokio::spawn(strays.run(CancellationToken::new()));
    }

    /// Lets DingTalk misbehave.
    pub(super) async fn inject(&self, fault: Fault) {
        self.sim.inject(fault).await.unwrap();
    }

    /// Lets DingTalk refuse calls of `path`, so many or all.
    pub(super) async fn refuse(&self, path: &str, how: CallRefusal, times: Option<u32>) {
        let path = path.to_owned();
        self.inject(Fault::Refuse { path, how, times }).await;
    }

    /// Publishes `count` requests `r0`, `r1`, … that say their number, in turn to `users` people.
    pub(super) async fn publish_load(&self, count: usize, users: usize) {
        for n in 0..count {
            let body = json!({"id": format!("r{n}"), "text": n.to_string()});
            let subject = format!(".sales.user.u{}", n % users);
            self.publish(&subject, body).await;
        }
    }

    /// Publishes a request; its stream sequence.
    pub(super) async fn publish(&self, subject: &str, payload: impl ToString) -> u64 {
        self.publish_with(subject, &[], payload).await
    }

    /// Publishes a request with headers; its stream sequence.
    pub(super) async fn publish_with(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl ToString,
    ) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let subject = format!("dingtalk.outbound{subject}");
        let payload = payload.to_string();
        let sent = self
            .stream
            .publish_with_headers(subject, map, payload.into());
        sent.await.unwrap().await.unwrap().sequence
    }

    /// When a request was published.
    pub(super) async fn published_at(&self, sequence: u64) -> Timestamp {
        let stream = self.stream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
        let message = stream.get_raw_message(sequence).await.unwrap();
        let millis = message.time.unix_timestamp_nanos() / 1_000_000;
        Timestamp::from_millis(i64::try_from(millis).unwrap())
    }

    /// Waits for the receipt of a request.
    pub(super) async fn receipt(&self, name: &str, id: &str) -> Receipt {
        let id = RequestId::parse(id).unwrap();
        let subject = self.subjects.receipt(&account(name), &id);
        let stream = self.stream.get_stream("DINGTALK_RECEIPT").await.unwrap();
        let found = || async { stream.get_last_raw_message_by_subject(&subject).await.ok() };
        wait::until_true(&format!("a receipt on {subject}"), || async {
            found().await.is_some()
        })
        .await;
        serde_json::from_slice(&found().await.unwrap().payload).unwrap()
    }

    /// Receipts so far.
    pub(super) async fn receipts(&self) -> u64 {
        let stream = self.stream.get_stream("DINGTALK_RECEIPT").await.unwrap();
        stream.cached_info().state.messages
    }

    /// Dead letters so far.
    pub(super) async fn dead(&self) -> Vec<DeadLetter> {
        let stream = self.stream.get_stream("DINGTALK_DEAD").await.unwrap();
        let mut letters = Vec::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            letters.push(serde_json::from_slice(&message.payload).unwrap());
        }
        letters
    }

    /// Waits until every request is acknowledged.
    pub(super) async fn done(&self) {
        wait::until_true("every request to be acknowledged", || async {
            let mut left = 0;
            for name in ["DINGTALK_OUTBOUND", "DINGTALK_BACKLOG"] {
                match self.stream.get_stream(name).await {
                    Ok(stream) => left += stream.cached_info().state.messages,
                    Err(_) => return false,
                }
            }
            left == 0
        })
        .await;
    }

    /// What people can see, in order.
    pub(super) fn texts(&self) -> Vec<String> {
        let delivered = self.sim.delivered();
        delivered
            .iter()
            .map(|sent| sent.text().to_owned())
            .collect()
    }

    /// What people of one chat can see, in order.
    pub(super) fn texts_to(&self, chat: &str) -> Vec<String> {
        let delivered = self.sim.delivered();
        let to_chat = delivered
            .iter()
            .filter(|sent| sent.to.iter().any(|to| to == chat));
        to_chat.map(|sent| sent.text().to_owned()).collect()
    }

    /// Somebody speaks, and the inbound side keeps the session of it; the inbound id.
    pub(super) async fn hear(&self, name: &str, message: Message, kind: Kind) -> String {
        let app = app_of(name);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let opening = http
            .post(format!("{}{OPEN_PATH}", self.sim.api_url()))
            .header("accept", "application/json")
            .json(&json!({
                "clientId": app, "clientSecret": format!("secret-{name}"), "ua": "test/1",
                "subscriptions": [{"type": "CALLBACK", "topic": BOT_TOPIC}],
            }));
        let opened: Value = opening.send().await.unwrap().json().await.unwrap();
        let url = format!(
            "{}?ticket={}",
            opened["endpoint"].as_str().unwrap(),
            opened["ticket"].as_str().unwrap()
        );
        let (mut socket, _) = connect_async(url).await.unwrap();
        self.sim.connected(&app, 1).await.unwrap();
        let id = self.sim.say(&app, message).await.unwrap();
        let data = loop {
            let frame = socket.next().await.unwrap().unwrap();
            let Ok(text) = frame.to_text() else { continue };
            let frame: Value = serde_json::from_str(text).unwrap();
            let data = frame["data"].as_str().unwrap_or("{}");
            let data: Value = serde_json::from_str(data).unwrap();
            if data["sessionWebhook"].is_string() {
                break data;
            }
        };
        drop(socket);
        wait::until_true("the connection to be gone", || async {
            self.sim.live_links(&app).is_empty()
        })
        .await;
        let chat = match kind {
            Kind::User => data["senderStaffId"].as_str().filter(|id| !id.is_empty()),
            _ => None,
        };
        let chat = chat.or(data["conversationId"].as_str()).unwrap().to_owned();
        let entry = SessionEntry {
            url: Secret::new(data["sessionWebhook"].as_str().unwrap()),
            expires_at: Timestamp::from_millis(data["sessionWebhookExpiredTime"].as_i64().unwrap()),
            account: account(name),
            kind,
            chat: chat.clone(),
            conversation: None,
        };
        let inbound = format!("{app}:{id}");
        self.keep(&SessionEntry::message_key(&inbound), &entry)
            .await;
        let key = SessionEntry::chat_key(&account(name), kind, &chat);
        self.keep(&key, &entry).await;
        inbound
    }

    /// Writes a session into the bucket.
    pub(super) async fn keep(&self, key: &str, entry: &SessionEntry) {
        let until = Timestamp::now().after(Duration::from_secs(3600));
        let bucket = self.broker.bucket(Bucket::Webhooks);
        let value = entry.encode().unwrap().into();
        bucket.put_until(key, value, until).await.unwrap();
    }

    /// Reads a session from the bucket.
    pub(super) async fn session(&self, inbound: &str) -> SessionEntry {
        let bucket = self.broker.bucket(Bucket::Webhooks);
        let key = SessionEntry::message_key(inbound);
        let entry = bucket.read(&key).await.unwrap().unwrap();
        SessionEntry::decode(&entry.value).unwrap()
    }

    /// Writes a ledger record as an earlier life of a bridge left it.
    pub(super) async fn leave(&self, name: &str, id: &str, record: Value) {
        let bucket = self.broker.bucket(Bucket::Ledger);
        let value = record.to_string().into();
        bucket.create(&format!("{name}:{id}"), value).await.unwrap();
    }

    /// The streams are on disk: a stage that is not would prove nothing.
    pub(super) async fn is_on_disk(&self) -> bool {
        let stream = self.stream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
        stream.cached_info().config.storage == StorageType::File
    }

    /// One metric, by its line's beginning.
    pub(super) fn metric(&self, start: &str) -> Option<String> {
        let text = self.metrics.encode();
        let line = text.lines().find(|line| line.starts_with(start))?;
        Some(line.rsplit(' ').next()?.to_owned())
    }
}
