//! The simulator over HTTP, for a person with curl and for programs in other languages: every order
//! of the library as `POST`, everything it saw as `GET`. The table of paths is in the module above.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::SimError;
use super::bot::{CardPress, Message};
use super::burst::Burst;
use super::drive::Push;
use super::fault::Fault;
use super::gateway::{Aim, raw_text};
use super::state::Shared;

/// Frames that one answer lists unless asked otherwise.
const FRAMES: usize = 1000;

/// Bytes that one order to say something may have, attachments included.
const SAID: usize = 64 * 1024 * 1024;

type Answer = Result<Json<Value>, Refused>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/state", get(state))
        .route("/sent", get(sent))
        .route("/calls", get(calls))
        .route("/connections", get(connections))
        .route("/frames", get(frames))
        .route("/uploads", get(uploads))
        .route("/visible", get(visible))
        .route("/emotions", get(emotions))
        .route("/read", post(read))
        .route("/union", post(union_id))
        .route("/month", post(month))
        .route("/say", post(say).layer(DefaultBodyLimit::max(SAID)))
        .route("/event", post(event))
        .route("/card", post(card))
        .route("/cards", get(cards))
        .route("/card/{out_track_id}", get(one_card))
        .route("/push", post(push))
        .route("/redeliver", post(redeliver))
        .route("/burst", post(burst))
        .route("/faults", post(faults).delete(clear_faults))
}

/// An order that could not be carried out, as `{"error":…}`.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<SimError> for Refused {
    fn from(error: SimError) -> Self {
        let status = match error {
            SimError::NoSuchApp(_) | SimError::NoSuchLink(_) | SimError::Unknown(_) => {
                StatusCode::NOT_FOUND
            }
            SimError::NoLink(_) | SimError::SilentCard(_) => StatusCode::CONFLICT,
            SimError::Impossible(_) => StatusCode::BAD_REQUEST,
            SimError::Bind { .. } | SimError::Patience(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

/// An order beside the app that it is for.
fn for_app<T: DeserializeOwned>(shared: &Shared, body: &[u8]) -> Result<(String, T), Refused> {
    let mut body: Value = serde_json::from_slice(body)?;
    let app = body
        .as_object_mut()
        .and_then(|map| map.remove("app"))
        .and_then(|app| app.as_str().map(str::to_owned));
    let app = match app {
        Some(app) => app,
        None => only_app(shared)?,
    };
    Ok((app, serde_json::from_value(body)?))
}

fn only_app(shared: &Shared) -> Result<String, Refused> {
    let world = shared.world();
    let mut apps = world.apps.keys();
    match (apps.next(), apps.next()) {
        (Some(app), None) => Ok(app.as_ref().to_owned()),
        _ => Err(Refused(
            StatusCode::BAD_REQUEST,
            "name the `app`: there is not exactly one".to_owned(),
        )),
    }
}

async fn state(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let counters = shared.counters();
    let world = shared.world();
    let apps: Vec<Value> = world
        .apps
        .values()
        .map(|app| json!({"clientId": &*app.client_id, "robotCode": app.robot_code, "billed": app.billed, "webhookBilled": app.webhook_billed}))
        .collect();
    Json(json!({
        "counters": counters,
        "apps": apps,
        "api_url": shared.api_url,
        "gateway_url": shared.gateway_url,
        "failed_events": world.failed_events,
    }))
}

async fn sent(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.world().sent))
}

async fn visible(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let world = shared.world();
    let visible = world.sent.iter().filter(|sent| sent.visible());
    Json(visible.map(|sent| json!(sent)).collect())
}

async fn emotions(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.world().emotions))
}

async fn uploads(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let world = shared.world();
    Json(world.media.uploads().map(|upload| json!(upload)).collect())
}

async fn calls(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.world().calls))
}

async fn connections(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.links()))
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

async fn frames(State(shared): State<Arc<Shared>>, Query(range): Query<Range>) -> Json<Value> {
    let limit = range.limit.unwrap_or(FRAMES);
    Json(json!(shared.world().ledger.views(range.from, limit)))
}

async fn say(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let (app, message): (_, Message) = for_app(&shared, &body)?;
    let msg_id = shared.say(&app, &message, Aim::Any).await?;
    Ok(Json(json!({"msgId": msg_id})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    event_type: String,
    #[serde(default)]
    data: Value,
}

async fn event(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let (app, event): (_, Event) = for_app(&shared, &body)?;
    let id = shared
        .emit_event(&app, &event.event_type, &event.data)
        .await?;
    Ok(Json(json!({"eventId": id})))
}

async fn card(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let (app, press): (_, CardPress) = for_app(&shared, &body)?;
    let frame = shared.press_card(&app, &press).await?;
    Ok(Json(json!({"frame": frame})))
}

async fn cards(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!(shared.world().cards()))
}

async fn one_card(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Answer {
    let card = shared.world().card(&id);
    let card = card.ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("no card `{id}`")))?;
    Ok(Json(json!(card)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    key: String,
    user: String,
}

async fn read(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let reading: Reading = serde_json::from_slice(&body)?;
    shared.world().read(&reading.key, &reading.user)?;
    shared.notify();
    Ok(Json(json!({"read": true})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    unionid: String,
    user: String,
}

async fn union_id(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let person: Person = serde_json::from_slice(&body)?;
    let mut world = shared.world();
    world.union_ids.insert(person.unionid, person.user);
    Ok(Json(json!({"known": world.union_ids.len()})))
}

async fn month(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.world().turn_month();
    Json(json!({"billed": 0}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    text: String,
    link: Option<u64>,
}

async fn push(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let whole: Value = serde_json::from_slice(&body)?;
    let frame = if whole.get("text").is_some() {
        let (app, raw): (_, RawText) = for_app(&shared, &body)?;
        let aim = raw.link.map_or(Aim::Any, Aim::Link);
        raw_text(&shared, &app, aim, &raw.text).await?
    } else {
        let (app, mut push): (_, Push) = for_app(&shared, &body)?;
        push.app = app;
        shared.push_envelope(&push).await?
    };
    Ok(Json(json!({"frame": frame})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    id: String,
}

async fn redeliver(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let again: Again = serde_json::from_slice(&body)?;
    let frame = shared.push_again(&again.id).await?;
    Ok(Json(json!({"frame": frame})))
}

async fn burst(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let (app, mut burst): (_, Burst) = for_app(&shared, &body)?;
    burst.app = app;
    let report = shared.burst(&burst).await?;
    Ok(Json(json!(report)))
}

async fn faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let faults = match serde_json::from_slice(&body)? {
        Value::Array(faults) => faults,
        fault => vec![fault],
    };
    let only = only_app(&shared).ok();
    let faults: Vec<Fault> = faults
        .into_iter()
        .map(|mut fault| {
            if let (Some(map), Some(app)) = (fault.as_object_mut(), &only) {
                map.entry("app").or_insert_with(|| json!(app));
            }
            serde_json::from_value(fault)
        })
        .collect::<Result<_, _>>()?;
    let count = faults.len();
    for fault in faults {
        shared.inject(fault).await?;
    }
    Ok(Json(json!({"injected": count})))
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.clear_faults();
    Json(json!({"cleared": true}))
}
