//! Cards: create, update, stream, and the chats that a card is made for (oapi.md, sections 6.1 and
//! 6.4 to 6.9).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::errors::Refusal;
use super::token::is_json;
use super::{CARD_PATH, CARD_SPACES_PATH, CARD_STREAMING_PATH};
use crate::sim::cards::{Card, CardRefusal, Change, Draft, Frame, UpdateSource};
use crate::sim::state::{Shared, World};

/// Characters that an `outTrackId` may have.
const MAX_ID: usize = 64;

/// The space model that a card declares for each kind of chat.
const SPACE_MODELS: [(&str, &str); 4] = [
    ("IM_GROUP", "imGroupOpenSpaceModel"),
    ("IM_ROBOT", "imRobotOpenSpaceModel"),
    ("IM_SINGLE", "imSingleOpenSpaceModel"),
    ("ONE_BOX", "topOpenSpaceModel"),
];

impl From<CardRefusal> for Refusal {
    fn from(refusal: CardRefusal) -> Self {
        match refusal {
            CardRefusal::Param(code) => Self::bad(code, code),
            CardRefusal::TooFast => Self::qps(),
            CardRefusal::NoSuchKey => {
                let code = refusal.code();
                Self::v1(StatusCode::INTERNAL_SERVER_ERROR, code, code)
            }
        }
    }
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let outcome = admit(&shared, &headers, &body, CARD_PATH).and_then(|(app, body)| {
        let mut world = shared.world();
        let card = draft(&shared, &world, &app, &body)?;
        let id = card.out_track_id.clone();
        world.deck.add(&app, Card::new(card))?;
        Ok(json!(id))
    });
    answer(outcome)
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let api = format!("PUT {CARD_PATH}");
    let outcome = admit(&shared, &headers, &body, &api).and_then(|(app, body)| {
        let id = out_track_id(&body)?;
        let change = Change::of_request(&body)?;
        if change.is_empty() {
            let code = "param.cardDataAndPrivateDataBothEmpty";
            return Err(CardRefusal::Param(code).into());
        }
        let mut world = shared.world();
        check_readers(&world, &change, &body)?;
        let card = world.deck.card_mut(&app, id);
        let card = card.ok_or(CardRefusal::Param("param.cardNotExist"))?;
        card.update(change, UpdateSource::Api);
        Ok(json!(true))
    });
    answer(outcome)
}

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let outcome = read(&shared, &headers, &body).and_then(|(app, body)| {
        let on = |key: &str| body.get(key).and_then(Value::as_bool).unwrap_or_default();
        let frame = Frame {
            guid: text(&body, "guid"),
            key: text(&body, "key"),
            content: body.get("content").and_then(Value::as_str),
            full: on("isFull"),
            finalize: on("isFinalize"),
            error: on("isError"),
        };
        let mut world = shared.world();
        let admitted = world.admit(&shared.options, &app, CARD_STREAMING_PATH);
        let card = world.deck.card_mut(&app, text(&body, "outTrackId"));
        if let Err(refusal) = admitted {
            if let Some(card) = card {
                card.turn_away(&frame, &refusal.code);
            }
            return Err(refusal);
        }
        out_track_id(&body)?;
        let card =
            card.ok_or_else(|| Refusal::bad("param.stream.outTrackId", "card is not exist"))?;
        card.stream(&frame, Instant::now(), shared.options.card_frame_gap)?;
        Ok(json!(true))
    });
    answer(outcome)
}

pub(super) async fn add_spaces(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let outcome = admit(&shared, &headers, &body, CARD_SPACES_PATH).and_then(|(app, body)| {
        let id = out_track_id(&body)?;
        let mut world = shared.world();
        let card = world.deck.card_mut(&app, id);
        let card = card.ok_or(CardRefusal::Param("param.cardNotExist"))?;
        let spaces = spaces(&body);
        if spaces.is_empty() {
            return Err(CardRefusal::Param("param.openSpaceModelInvalid").into());
        }
        card.add_spaces(spaces);
        Ok(json!(true))
    });
    answer(outcome)
}

/// `{"success":true,"result":…}`, or the refusal.
pub(super) fn answer(outcome: Result<Value, Refusal>) -> Response {
    match outcome {
        Ok(result) => Json(json!({"success": true, "result": result})).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Token and body of a call.
pub(super) fn read(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Arc<str>, Value), Refusal> {
    let app = shared.app_of_call(headers)?;
    if !is_json(headers) || body.is_empty() {
        return Err(Refusal::missing_body());
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if !body.is_object() {
        return Err(CardRefusal::Param("param.invalid").into());
    }
    Ok((app, body))
}

/// Checks in the gateway's order: token, body, rate, month.
pub(super) fn admit(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
    api: &str,
) -> Result<(Arc<str>, Value), Refusal> {
    let (app, body) = read(shared, headers, body)?;
    shared.world().admit(&shared.options, &app, api)?;
    Ok((app, body))
}

/// The card that a body asks to create.
pub(super) fn draft(
    shared: &Shared,
    world: &World,
    app: &Arc<str>,
    body: &Value,
) -> Result<Draft, CardRefusal> {
    let template_id = text(body, "cardTemplateId");
    if template_id.is_empty() {
        return Err(CardRefusal::Param("param.cardTemplateIdEmpty"));
    }
    let out_track_id = out_track_id(body)?;
    let change = Change::of_request(body)?;
    check_readers(world, &change, body)?;
    let params = change.params;
    let params = params.ok_or(CardRefusal::Param("param.cardPublicDataEmpty"))?;
    let template = match &shared.options.card_templates {
        None => None,
        Some(known) => {
            let template = known.iter().find(|one| one.id == template_id);
            let unknown = CardRefusal::Param("param.templateNotExist");
            Some(template.cloned().ok_or(unknown)?)
        }
    };
    Ok(Draft {
        app: Arc::clone(app),
        out_track_id: out_track_id.to_owned(),
        template_id: template_id.to_owned(),
        template,
        callback_type: text(body, "callbackType").to_owned(),
        user_id_type: user_id_type(body),
        spaces: spaces(body),
        params,
        private_data: change.private_data,
    })
}

/// The id of the card, checked for its length.
pub(super) fn out_track_id(body: &Value) -> Result<&str, CardRefusal> {
    match text(body, "outTrackId") {
        "" => Err(CardRefusal::Param("param.outTrackIdEmpty")),
        id if id.chars().count() > MAX_ID => Err(CardRefusal::Param("outTrackId.outOfLimit")),
        id => Ok(id),
    }
}

/// What kind of id the users of a body are named by: 1 staff id, 2 union id.
pub(super) fn user_id_type(body: &Value) -> u64 {
    let given = body.get("userIdType").and_then(Value::as_u64);
    given.unwrap_or(1)
}

pub(super) fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether everybody with private variables exists.
fn check_readers(world: &World, change: &Change, body: &Value) -> Result<(), CardRefusal> {
    let by_staff_id = user_id_type(body) == 1;
    let mut readers = change.private_data.keys();
    if by_staff_id && !readers.all(|user| world.knows_user(user)) {
        return Err(CardRefusal::Param("param.userIdNotExist"));
    }
    Ok(())
}

/// The kinds of chat whose space model the body declares.
fn spaces(body: &Value) -> BTreeSet<&'static str> {
    let declared = SPACE_MODELS
        .iter()
        .filter(|(_, model)| body.get(*model).is_some_and(Value::is_object));
    declared.map(|(space, _)| *space).collect()
}
