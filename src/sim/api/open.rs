//! `connections/open`: credentials and subscriptions in, endpoint and ticket out
//! (stream-protocol.md, section 1).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::errors::Refusal;
use crate::sim::state::{Shared, Subscription, Ticket, redact, uuid};

/// The request body, secret removed, carried to the log of calls.
#[derive(Clone)]
pub(super) struct OpenBody(pub(super) Value);

pub(super) async fn open(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parsed: Result<Value, _> = serde_json::from_slice(&body);
    let Ok(body) = parsed else {
        return Refusal::bad("invalidParameter", "body is not json").into_response();
    };
    let mut response = match admit(&shared, &body) {
        Ok(ticket)
            if shared.options.xml_without_accept && !headers.contains_key(header::ACCEPT) =>
        {
            xml(&shared.gateway_url, &ticket)
        }
        Ok(ticket) => {
            Json(json!({"endpoint": shared.gateway_url, "ticket": ticket})).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    response.extensions_mut().insert(OpenBody(redact(body)));
    response
}

fn admit(shared: &Shared, body: &Value) -> Result<String, Refusal> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let ua = text("ua");
    if !ua.is_empty() && !ua.contains('/') {
        return Err(Refusal::bad("invalidParameter", "ua invalid"));
    }
    let subscriptions = subscriptions(body)
        .ok_or_else(|| Refusal::bad("invalidParameter", "subscriptions invalid"))?;
    let mut world = shared.world();
    let app = world
        .authenticate(
            text("clientId"),
            text("clientSecret"),
            shared.options.any_app,
        )
        .ok_or_else(|| Refusal::v1(StatusCode::UNAUTHORIZED, "authFailed", "鉴权失败"))?;
    let app = Arc::clone(&app.client_id);
    let now = Instant::now();
    world.tickets.retain(|_, ticket| ticket.expires > now);
    let value = uuid();
    let ticket = Ticket {
        app,
        expires: now + shared.options.ticket_life,
        subscriptions,
        ua: ua.to_owned(),
    };
    world.tickets.insert(value.clone(), ticket);
    Ok(value)
}

/// The subscriptions, when there is at least one and all are well formed.
fn subscriptions(body: &Value) -> Option<Arc<[Subscription]>> {
    let list = body.get("subscriptions")?.as_array()?;
    let read: Option<Vec<Subscription>> = list
        .iter()
        .map(|one| {
            let kind = one.get("type")?.as_str()?;
            let topic = one.get("topic")?.as_str()?;
            let fits = match kind {
                "EVENT" => topic == "*",
                "CALLBACK" | "SYSTEM" => !topic.is_empty(),
                _ => false,
            };
            fits.then(|| Subscription {
                kind: kind.to_owned(),
                topic: topic.to_owned(),
            })
        })
        .collect();
    read.filter(|list| !list.is_empty()).map(Arc::from)
}

/// What a client without an `Accept` header gets.
fn xml(endpoint: &str, ticket: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><endpoint>{endpoint}</endpoint><ticket>{ticket}</ticket></response>"
    );
    ([(header::CONTENT_TYPE, "text/xml;charset=utf-8")], body).into_response()
}
