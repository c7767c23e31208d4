//! How a connection to the broker is made: addresses, credentials, TLS, and the two lives that one
//! can have. It knows no stream.
//!
//! A *lasting* connection reconnects for ever; consuming and requests use it. A *single-life*
//! connection ends when its socket does; publishers use it, because a lasting one would send what
//! waited in its queue ahead of what the broken socket lost, and so turn the order round.

use std::path::Path;
use std::time::Duration;

use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::{Client, ConnectOptions, Event, ReconnectToServer, ServerAddr};

use super::error::BrokerError;
use crate::config::{self, NatsAuth, NatsTls};
use crate::message::Secret;

/// Longest wait between two attempts. The library's own doubling makes an outage of half a second
/// one of two (nats.md, section 3).
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// How long one attempt may take, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence after which the server is asked whether it is there; two misses are a dead socket.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Nothing listens there: where a single-life connection is sent after its life.
const NOWHERE: &str = "nats://127.0.0.1:0";
/// Length of an nkey seed in base32.
const SEED_LENGTH: usize = 58;

/// Where the broker is and who the bridge is there.
#[derive(Debug, Clone)]
pub(super) struct Route {
    servers: Vec<ServerAddr>,
    auth: NatsAuth,
    tls: NatsTls,
}

impl Route {
    /// Takes the comma-separated `url` and proves that credentials and certificates can be read.
    pub(super) async fn new(nats: &config::Nats, url: &str) -> Result<Self, BrokerError> {
        let servers = url
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| part.parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BrokerError::Unfit(format!("nats.url: {error}")))?;
        if servers.is_empty() {
            return Err(BrokerError::Unfit("nats.url names no server".to_owned()));
        }
        let auth = match &nats.auth {
            NatsAuth::None => credentials_of(&servers),
            configured => configured.clone(),
        };
        let route = Self {
            servers,
            auth,
            tls: nats.tls.clone(),
        };
        if let NatsAuth::Nkey(seed) = &route.auth {
            check_seed(seed.expose())?;
        }
        check_tls(&route.tls)?;
        route.options("check").await?;
        Ok(route)
    }

    /// Servers for people: host and port, never credentials that stand in a URL.
    pub(super) fn names(&self) -> String {
        let name = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
        self.servers.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// A connection that comes back for ever; returns at once, connected or not.
    pub(super) async fn lasting<F>(&self, role: &str, on_event: F) -> Result<Client, BrokerError>
    where
        F: Fn(Event) + Send + Sync + Clone + 'static,
    {
        self.options(role)
            .await?
            .retry_on_initial_connect()
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                on_event(event);
                std::future::ready(())
            })
            .connect(self.servers.clone())
            .await
            .map_err(|error| BrokerError::Unfit(format!("nats.url: {error}")))
    }

    /// A connection to one server that ends with its socket: everything it still held is dropped
    /// then, and its subscriptions end. Credentials are read again each time.
    ///
    /// The library has no switch for that. Its reconnection asks a callback for the next server;
    /// the first answer is the real one, every other is an address where nothing listens, and the
    /// limit of one attempt ends the connection.
    pub(super) async fn single_life(
        &self,
        role: &str,
        server: ServerAddr,
        capacity: usize,
    ) -> Result<Client, BrokerError> {
        let nowhere: ServerAddr = NOWHERE
            .parse()
            .map_err(|error| BrokerError::Unfit(format!("{NOWHERE}: {error}")))?;
        let pool = vec![server.clone(), nowhere.clone()];
        let lived = std::sync::atomic::AtomicBool::new(false);
        let next = move || {
            let dead = lived.swap(true, std::sync::atomic::Ordering::Relaxed);
            let addr = if dead { &nowhere } else { &server };
            ReconnectToServer {
                addr: addr.clone(),
                delay: Some(Duration::ZERO),
            }
        };
        self.options(role)
            .await?
            .ignore_discovered_servers()
            .max_reconnects(1)
            .reconnect_to_server_callback(move |_, _| std::future::ready(Some(next())))
            .client_capacity(capacity)
            .subscription_capacity(capacity)
            .connect(pool)
            .await
            .map_err(|error| BrokerError::Away(error.to_string()))
    }

    /// The server to try at the given attempt: the configured ones in turn, then those that the
    /// cluster named.
    pub(super) fn server(&self, attempt: usize, learned: &[String]) -> Option<ServerAddr> {
        let learned = learned.iter().filter_map(|url| url.parse().ok());
        let all: Vec<ServerAddr> = self.servers.iter().cloned().chain(learned).collect();
        let turn = attempt.checked_rem(all.len())?;
        all.into_iter().nth(turn)
    }

    async fn options(&self, role: &str) -> Result<ConnectOptions, BrokerError> {
        let mut options = ConnectOptions::new()
            .name(format!("nats-dingtalk {role}"))
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL);
        options = match &self.auth {
            NatsAuth::None => options,
            NatsAuth::CredsFile(path) => options
                .credentials_file(path)
                .await
                .map_err(|error| unreadable("nats.creds_file", path, &error))?,
            NatsAuth::Nkey(seed) => options.nkey(seed.expose().to_owned()),
            NatsAuth::Token(token) => options.token(token.expose().to_owned()),
            NatsAuth::User { user, password } => options
                .user_and_password(user.clone(), password.expose().to_owned())
                .custom_inbox_prefix(inbox(user)),
        };
        if let Some(ca) = &self.tls.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let (Some(cert), Some(key)) = (&self.tls.cert, &self.tls.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options)
    }
}

/// Between half and all of [`RECONNECT_DELAY`], so that a fleet does not come back in step.
pub(super) fn reconnect_delay(attempt: usize) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    RECONNECT_DELAY.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Where a user is answered: apart from other users, so that permissions can keep them from listening
/// (docs/permissions.md). A name that is no subject token has no place of its own.
pub(super) fn inbox(user: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if user.is_empty() || !user.bytes().all(legal) {
        return "_INBOX".to_owned();
    }
    format!("_INBOX_{user}")
}

/// `nats://user:password@host` and `nats://token@host`, which the library would ignore.
fn credentials_of(servers: &[ServerAddr]) -> NatsAuth {
    let pair = |server: &ServerAddr| {
        let user = server.username()?.to_owned();
        Some(match server.password() {
            Some(password) => NatsAuth::User {
                user,
                password: Secret::new(password),
            },
            None => NatsAuth::Token(Secret::new(user)),
        })
    };
    servers.iter().find_map(pair).unwrap_or(NatsAuth::None)
}

fn check_seed(seed: &str) -> Result<(), BrokerError> {
    let base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    if seed.len() == SEED_LENGTH && seed.starts_with("SU") && seed.bytes().all(base32) {
        return Ok(());
    }
    let text = "nats.nkey is no user seed: 58 characters that begin with `SU` (nsc or `nk -gen user` make one)";
    Err(BrokerError::Unfit(text.to_owned()))
}

fn check_tls(tls: &NatsTls) -> Result<(), BrokerError> {
    for (key, path) in [("nats.tls.ca", &tls.ca), ("nats.tls.cert", &tls.cert)] {
        let Some(path) = path else { continue };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(key, path, &error))?;
        if certificates.is_empty() {
            return Err(unreadable(key, path, &"there is no certificate in it"));
        }
    }
    if let Some(path) = &tls.key {
        PrivateKeyDer::from_pem_file(path)
            .map_err(|error| unreadable("nats.tls.key", path, &error))?;
    }
    Ok(())
}

fn unreadable(key: &str, path: &Path, error: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Unfit(format!("{key}: cannot read {}: {error}", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::ServerLocation;
    use crate::message::Subjects;

    pub(in crate::broker) fn section(auth: NatsAuth, tls: NatsTls) -> config::Nats {
        config::Nats {
            server: ServerLocation::Url(String::new()),
            auth,
            tls,
            replicas: 1,
            subjects: Subjects::new("dingtalk").unwrap(),
            stream_prefix: "DINGTALK".into(),
            dedup_window: Duration::from_secs(1800),
            max_age: Duration::from_secs(604_800),
        }
    }

    async fn refusal(auth: NatsAuth, tls: NatsTls, url: &str) -> String {
        Route::new(&section(auth, tls), url)
            .await
            .unwrap_err()
            .to_string()
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_with_its_key_and_without_its_value() {
        let none = NatsTls::default;
        let url = "nats://localhost";
        let creds = NatsAuth::CredsFile("/nowhere/bridge.creds".into());
        assert!(
            refusal(creds, none(), url)
                .await
                .contains("nats.creds_file")
        );
        let seed = NatsAuth::Nkey(Secret::new("SUNOTASEED"));
        let text = refusal(seed, none(), url).await;
        assert!(text.contains("nats.nkey") && !text.contains("SUNOTASEED"));
        let tls = NatsTls {
            ca: Some("/nowhere/ca.pem".into()),
            ..none()
        };
        assert!(
            refusal(NatsAuth::None, tls, url)
                .await
                .contains("nats.tls.ca")
        );
        assert!(
            refusal(NatsAuth::None, none(), "http://x")
                .await
                .contains("nats.url")
        );
        assert!(
            refusal(NatsAuth::None, none(), " , ")
                .await
                .contains("nats.url")
        );
    }

    #[tokio::test]
    async fn servers_are_tried_in_turn_and_credentials_of_a_url_are_never_named() {
        let config = section(NatsAuth::None, NatsTls::default());
        let route = Route::new(&config, "nats://u:p4ss@a:1, b").await.unwrap();
        assert_eq!(route.names(), "a:1, b:4222");
        let host = |attempt| {
            let learned = ["c:3".to_owned()];
            route.server(attempt, &learned).unwrap().host().to_owned()
        };
        assert_eq!([host(0), host(1), host(2), host(3)], ["a", "b", "c", "a"]);
        assert!(!format!("{:?}", route.auth).contains("p4ss"));
        assert!(matches!(route.auth, NatsAuth::User { .. }));
    }

    #[test]
    fn the_delay_stays_between_a_quarter_and_a_half_second() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        for attempt in 2..50 {
            let delay = reconnect_delay(attempt).as_millis();
            assert!((250..=500).contains(&delay), "{delay}");
        }
    }
}
