//! Answering requests as a micro service that `nats micro` discovers (`$SRV.PING`, `INFO`, `STATS`).
//! It knows no endpoint's meaning.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::HeaderMap;
use async_nats::service::{self, Service, ServiceExt};
use bytes::Bytes;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tracing::debug;

use super::error::BrokerError;
use super::outgoing::{Headers, read_headers};
use super::{Broker, hub::Hub};

/// Header with the number of a failure, by the micro convention.
const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// Header with the words of a failure.
const ERROR: &str = "Nats-Service-Error";
/// Replicas of one installation share the requests.
const QUEUE_GROUP: &str = "q";
/// Longest text in the error header, in characters.
const ERROR_TEXT: usize = 300;

/// A service as it is announced.
#[derive(Debug, Clone)]
pub struct ServicePlan {
    /// Name by which it is found.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// About this replica.
    pub metadata: Vec<(&'static str, String)>,
    /// What it answers.
    pub endpoints: Vec<EndpointPlan>,
}

/// One endpoint as it is announced.
#[derive(Debug, Clone)]
pub struct EndpointPlan {
    /// Name: letters, digits, `_` and `-`.
    pub name: String,
    /// Subject.
    pub subject: String,
    /// About the endpoint: its schemas.
    pub metadata: Vec<(&'static str, String)>,
}

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Like a status of HTTP.
    pub status: u16,
    /// In words.
    pub text: String,
    /// Body of the reply.
    pub body: Bytes,
}

/// Failures by endpoint: the library counts only those that it answers itself, without a body.
type Failures = Arc<Mutex<BTreeMap<String, (u64, u16)>>>;

/// A service that is announced.
pub struct Switchboard {
    service: Option<Service>,
    questions: SelectAll<BoxStream<'static, (usize, service::Request)>>,
    names: Vec<String>,
    failures: Failures,
}

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchboard").finish_non_exhaustive()
    }
}

/// One request to an endpoint.
#[derive(Debug)]
pub struct Question {
    /// Index of the endpoint in the plan.
    pub endpoint: usize,
    /// Headers, by name.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    name: String,
    request: service::Request,
    failures: Failures,
}

impl Broker {
    /// Announces a service and listens; both come back by themselves after a broken connection.
    ///
    /// # Errors
    /// [`BrokerError::Unfit`] for a name that the convention does not allow, [`BrokerError::Away`].
    pub async fn serve(&self, plan: ServicePlan) -> Result<Switchboard, BrokerError> {
        announce(&self.hub, plan).await
    }
}

async fn announce(hub: &Hub, plan: ServicePlan) -> Result<Switchboard, BrokerError> {
    hub.ready().await?;
    let unfit = |error: async_nats::Error| BrokerError::Unfit(format!("service: {error}"));
    let failures = Failures::default();
    let counted = Arc::clone(&failures);
    let service = hub
        .client()
        .service_builder()
        .description(plan.description)
        .metadata(owned(&plan.metadata))
        .queue_group(QUEUE_GROUP)
        .stats_handler(move |endpoint, _| {
            let failures = counted.lock().unwrap_or_else(PoisonError::into_inner);
            let (failures, status) = failures.get(&endpoint).copied().unwrap_or_default();
            json!({"failures": failures, "last_failure": status})
        })
        .start(plan.name, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(unfit)?;
    let mut streams = Vec::new();
    let mut names = Vec::new();
    for (index, endpoint) in plan.endpoints.into_iter().enumerate() {
        let listening = service
            .endpoint_builder()
            .name(&endpoint.name)
            .metadata(owned(&endpoint.metadata))
            .add(endpoint.subject)
            .await
            .map_err(unfit)?;
        streams.push(listening.map(move |request| (index, request)).boxed());
        names.push(endpoint.name);
    }
    Ok(Switchboard {
        service: Some(service),
        questions: select_all(streams),
        names,
        failures,
    })
}

fn owned(metadata: &[(&'static str, String)]) -> HashMap<String, String> {
    let pair = |(name, value): &(&'static str, String)| ((*name).to_owned(), value.clone());
    metadata.iter().map(pair).collect()
}

impl Switchboard {
    /// The next request; pending for ever once it is closed. Cancel-safe.
    pub async fn next(&mut self) -> Question {
        match self.questions.next().await {
            Some((endpoint, request)) => self.question(endpoint, request),
            None => std::future::pending().await,
        }
    }

    /// Takes itself off the list, so that another replica gets what comes; what came already.
    pub async fn close(mut self) -> Vec<Question> {
        let mut left = Vec::new();
        while let Some(Some((endpoint, request))) = self.questions.next().now_or_never() {
            left.push(self.question(endpoint, request));
        }
        if let Some(service) = self.service.take()
            && let Err(error) = service.stop().await
        {
            debug!(%error, "service not stopped, it ends with the connection");
        }
        left
    }

    fn question(&self, endpoint: usize, request: service::Request) -> Question {
        Question {
            endpoint,
            headers: read_headers(request.message.headers.as_ref()),
            payload: request.message.payload.clone(),
            name: self.names.get(endpoint).cloned().unwrap_or_default(),
            request,
            failures: Arc::clone(&self.failures),
        }
    }
}

impl Question {
    /// Answers, and counts the answer. One that asked for no reply is answered by nothing.
    pub async fn answer(self, answer: Result<Bytes, Complaint>) {
        let mut headers = HeaderMap::new();
        let body = match answer {
            Ok(body) => body,
            Err(complaint) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                let failed = failures.entry(self.name.clone()).or_default();
                *failed = (failed.0 + 1, complaint.status);
                drop(failures);
                headers.insert(ERROR_CODE, complaint.status.to_string().as_str());
                headers.insert(ERROR, one_line(&complaint.text).as_str());
                complaint.body
            }
        };
        if let Err(error) = self.request.respond_with_headers(Ok(body), headers).await {
            debug!(%error, "reply not sent");
        }
    }
}

/// A text on one line, cut to a sane length.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(ERROR_TEXT).collect()
}
