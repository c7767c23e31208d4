//! Health and metrics over HTTP, for probes, scrapers and people. It changes nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::doorman::Doorman;
use super::ready;
use crate::config;
use crate::message::Timestamp;
use crate::telemetry::{Health, Metrics};

/// How long requests in progress may take once the server is told to stop.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The form that `prometheus-client` writes, and that Prometheus asks for first.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const INDEX: &str = "nats-dingtalk\n\n\
    /live     200 while the process runs\n\
    /ready    200 when every part and every link is up, else 503; ?format=json for programs\n\
    /metrics  for Prometheus\n";

/// Why the admin server cannot be reached.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address cannot be bound.
    #[error(
        "cannot serve admin.listen = \"{listen}\"; choose a free address and port, or port 0 for any"
    )]
    Bind {
        /// What was configured.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket failed while it was served.
    #[error("the admin server stopped")]
    Serve(#[source] io::Error),
}

/// The admin server: bound, and served while [`Admin::run`] runs.
#[derive(Debug)]
pub struct Admin {
    bound: Option<(TcpListener, SocketAddr)>,
    board: Board,
}

#[derive(Debug, Clone)]
struct Board {
    health: Health,
    metrics: Metrics,
}

impl Admin {
    /// Binds `admin.listen`; without one, nothing is served and [`Admin::run`] only waits.
    ///
    /// # Errors
    /// [`AdminError::Bind`], which names the key.
    pub async fn bind(
        admin: config::Admin,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, AdminError> {
        let bound = match admin.listen {
            None => None,
            Some(listen) => {
                let failed = |source| AdminError::Bind { listen, source };
                let listener = TcpListener::bind(listen).await.map_err(failed)?;
                let addr = listener.local_addr().map_err(failed)?;
                tracing::info!(admin.addr = %addr, "admin server listens");
                Some((listener, addr))
            }
        };
        Ok(Self {
            bound,
            board: Board { health, metrics },
        })
    }

    /// Where it listens, with the port that was picked; `None` when nothing is served.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.bound.as_ref().map(|(_, addr)| *addr)
    }

    /// Serves until `stop` is cancelled; requests in progress get a second to end.
    ///
    /// # Errors
    /// [`AdminError::Serve`] when the socket fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AdminError> {
        let Some((listener, _)) = self.bound else {
            stop.cancelled().await;
            return Ok(());
        };
        let serve = axum::serve(Doorman::new(listener), routes(self.board))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(CLOSE_GRACE).await;
        };
        tokio::select! {
            served = serve.into_future() => served.map_err(AdminError::Serve),
            () = overdue => Ok(()),
        }
    }
}

fn routes(board: Board) -> Router {
    Router::new()
        .route("/", get(async || answer(StatusCode::OK, TEXT, INDEX)))
        .route(
            "/live",
            get(async || answer(StatusCode::OK, TEXT, "live\n")),
        )
        .route("/ready", get(show_ready))
        .route("/metrics", get(show_metrics))
        .fallback(async |uri: Uri| {
            let body = format!("nothing at {}\n\n{INDEX}", uri.path());
            answer(StatusCode::NOT_FOUND, TEXT, body)
        })
        .method_not_allowed_fallback(async || {
            answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "read with GET\n")
        })
        .with_state(board)
}

/// Form of `/ready`.
#[derive(Debug, Default, Deserialize)]
struct Form {
    #[serde(default)]
    format: String,
}

async fn show_ready(
    State(board): State<Board>,
    form: Result<Query<Form>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let snapshot = board.health.snapshot();
    let status = if snapshot.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let format = form.map(|Query(form)| form.format).unwrap_or_default();
    if wants_json(&format, &headers) {
        match serde_json::to_string_pretty(&snapshot) {
            Ok(body) => answer(status, JSON, body + "\n"),
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        }
    } else {
        answer(status, TEXT, ready::page(&snapshot, Timestamp::now()))
    }
}

async fn show_metrics(State(board): State<Board>) -> Response {
    answer(StatusCode::OK, OPENMETRICS, board.metrics.encode())
}

/// `?format=` decides; without it, JSON is sent to whom asks for it by name.
fn wants_json(format: &str, headers: &HeaderMap) -> bool {
    match format {
        "json" => true,
        "" => headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains(JSON)),
        _ => false,
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (status, headers, body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::message::AccountName;
    use crate::telemetry::{LinkState, PartState};

    async fn bound(health: &Health) -> Admin {
        let admin = config::Admin {
            listen: Some("127.0.0.1:0".parse().unwrap()),
        };
        Admin::bind(admin, health.clone(), Metrics::new())
            .await
            .unwrap()
    }

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let request = format!("{request}\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn served<T>(health: &Health, questions: impl AsyncFnOnce(SocketAddr) -> T) -> T {
        let admin = bound(health).await;
        let addr = admin.addr().unwrap();
        let stop = CancellationToken::new();
        let asked = async {
            let answer = questions(addr).await;
            stop.cancel();
            answer
        };
        let (run, answer) = tokio::join!(admin.run(stop.clone()), asked);
        run.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_follows_the_board_as_text_and_as_json() {
        let health = Health::new(&["broker"]);
        served(&health, async |addr| {
            let down = ask(addr, "GET /ready HTTP/1.1").await;
            assert!(down.starts_with("HTTP/1.1 503"), "{down}");
            assert!(down.contains("broker    down: starting"), "{down}");

            health.part("broker", PartState::Up);
            health.link(&AccountName::parse("sales").unwrap(), 0, LinkState::Up);
            let up = ask(addr, "GET /ready?format=json HTTP/1.1").await;
            assert!(up.starts_with("HTTP/1.1 200"), "{up}");
            let body = up.split_once("\r\n\r\n").unwrap().1;
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["ready"], true);
            assert_eq!(body["accounts"]["sales"]["links"]["0"]["state"], "up");

            let accept = "GET /ready HTTP/1.1\r\naccept: application/json";
            assert!(
                ask(addr, accept)
                    .await
                    .contains("content-type: application/json")
            );
        })
        .await;
    }

    #[tokio::test]
    async fn live_metrics_index_and_wrong_paths_answer_with_a_body() {
        served(&Health::new(&["broker"]), async |addr| {
            assert!(
                ask(addr, "GET /live HTTP/1.1")
                    .await
                    .starts_with("HTTP/1.1 200")
            );
            let metrics = ask(addr, "GET /metrics HTTP/1.1").await;
            assert!(
                metrics.contains("content-type: application/openmetrics-text"),
                "{metrics}"
            );
            assert!(metrics.ends_with("# EOF\n"), "{metrics}");
            assert!(ask(addr, "GET / HTTP/1.1").await.contains("/ready"));
            let missing = ask(addr, "GET /healthz HTTP/1.1").await;
            assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("nothing at /healthz"));
            let posted = ask(addr, "POST /ready HTTP/1.1").await;
            assert!(
                posted.starts_with("HTTP/1.1 405") && posted.contains("GET"),
                "{posted}"
            );
        })
        .await;
    }

    #[tokio::test]
    async fn an_address_in_use_is_named_with_its_key() {
        let first = bound(&Health::new(&[])).await;
        let admin = config::Admin {
            listen: first.addr(),
        };
        let second = Admin::bind(admin, Health::new(&[]), Metrics::new()).await;
        let error = second.unwrap_err().to_string();
        assert!(error.contains("admin.listen = \"127.0.0.1:"), "{error}");
    }

    #[tokio::test]
    async fn a_client_that_hangs_does_not_hold_up_the_stop() {
        let admin = bound(&Health::new(&[])).await;
        let addr = admin.addr().unwrap();
        let stop = CancellationToken::new();
        let hang = async {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            socket.write_all(b"GET /ready HTTP/1.1\r\n").await.unwrap();
            stop.cancel();
            socket
        };
        let both = async { tokio::join!(admin.run(stop.clone()), hang) };
        let (run, _socket) = tokio::time::timeout(Duration::from_secs(10), both)
            .await
            .unwrap();
        run.unwrap();
    }
}
