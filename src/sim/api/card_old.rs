//! Interactive cards of the old API, whose one variable is the JSON of the whole card (oapi.md,
//! section 6.9).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::card::{admit, text};
use super::card_delivery::{new_carrier, sent};
use super::errors::Refusal;
use super::{OLD_CARD_SEND_PATH, OLD_CARD_UPDATE_PATH};
use crate::message::Timestamp;
use crate::sim::cards::{Card, CardDelivery, CardRefusal, Change, Draft, UpdateSource};
use crate::sim::state::{Shared, World};

/// The variable that holds the card.
const CARD_DATA: &str = "cardData";

pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let outcome = admit(&shared, &headers, &body, OLD_CARD_SEND_PATH)
        .and_then(|(app, body)| put(&shared, &app, &body));
    answer(outcome)
}

pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let admitted = admit(&shared, &headers, &body, OLD_CARD_UPDATE_PATH);
    let outcome = admitted.and_then(|(app, body)| {
        let data = card_data(&body)?;
        let mut world = shared.world();
        let card = world.deck.card_mut(&app, text(&body, "cardBizId"));
        let card = card.ok_or(CardRefusal::Param("param.cardNotExist"))?;
        let change = Change {
            params: Some(BTreeMap::from([(CARD_DATA.to_owned(), data)])),
            ..Change::default()
        };
        card.update(change, UpdateSource::Api);
        let first = card.view().deliveries.first();
        let key = first.and_then(|one| one.carrier_id.clone());
        Ok(key.unwrap_or_default())
    });
    answer(outcome)
}

fn answer(outcome: Result<String, Refusal>) -> Response {
    match outcome {
        Ok(key) => Json(json!({"processQueryKey": key})).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Sends a card; the same `cardBizId` reaches each chat once.
fn put(shared: &Shared, app: &Arc<str>, body: &Value) -> Result<String, Refusal> {
    let id = text(body, "cardBizId");
    if id.is_empty() {
        return Err(CardRefusal::Param("param.outTrackIdEmpty").into());
    }
    let template_id = text(body, "cardTemplateId");
    if template_id.is_empty() {
        return Err(CardRefusal::Param("param.cardTemplateIdEmpty").into());
    }
    let data = card_data(body)?;
    let mut world = shared.world();
    super::robot::check_robot(&world, app, body)?;
    let delivery = delivery(&world, body)?;
    if let Some(card) = world.deck.card_mut(app, id) {
        if let Some(key) = card.carrier_in(&delivery.space_id) {
            return Ok(key);
        }
    } else {
        let card = Card::new(Draft {
            app: Arc::clone(app),
            out_track_id: id.to_owned(),
            template_id: template_id.to_owned(),
            template: None,
            callback_type: String::new(),
            user_id_type: 1,
            spaces: ["IM_GROUP", "IM_ROBOT"].into(),
            params: BTreeMap::from([(CARD_DATA.to_owned(), data)]),
            private_data: BTreeMap::new(),
        });
        world.deck.add(app, card)?;
    }
    let Some(card) = world.deck.card_mut(app, id) else {
        return Err(CardRefusal::Param("param.cardNotExist").into());
    };
    card.deliver(delivery.clone());
    let mut sent = sent(card.view(), &delivery);
    sent.msg_param = serde_json::from_str(text(body, CARD_DATA)).unwrap_or_default();
    world.carry(app, &delivery);
    world.log_sent(sent, shared.options.keep);
    Ok(delivery.carrier_id.unwrap_or_default())
}

/// Where the card goes: into the named group, or to the one receiver.
fn delivery(world: &World, body: &Value) -> Result<CardDelivery, CardRefusal> {
    let group = text(body, "openConversationId");
    let receiver: Value =
        serde_json::from_str(text(body, "singleChatReceiver")).unwrap_or_default();
    let user = text(&receiver, "userId");
    let (space_type, space_id) = match (group, user) {
        ("", "") => return Err(CardRefusal::Param("param.openSpaceIdEmpty")),
        ("", user) if world.knows_user(user) => ("IM_ROBOT", user),
        (group, _) if world.knows_group(group) => ("IM_GROUP", group),
        _ => return Err(CardRefusal::Param("param.openSpaceIdInvalid")),
    };
    let options = body.get("sendOptions").cloned().unwrap_or_default();
    let all = options.get("atAll").and_then(Value::as_bool) == Some(true);
    let listed: Vec<Value> =
        serde_json::from_str(text(&options, "atUserListJson")).unwrap_or_default();
    let listed = listed.iter().map(|user| text(user, "userId"));
    Ok(CardDelivery {
        at: Timestamp::now(),
        space_type: space_type.to_owned(),
        space_id: space_id.to_owned(),
        at_users: all
            .then_some("@ALL")
            .into_iter()
            .chain(listed)
            .map(str::to_owned)
            .collect(),
        recipients: Vec::new(),
        carrier_id: Some(new_carrier()),
        error: None,
        recalled: false,
    })
}

/// The card itself, which is JSON inside a string.
fn card_data(body: &Value) -> Result<String, CardRefusal> {
    let data = text(body, CARD_DATA);
    if serde_json::from_str::<Value>(data).is_ok_and(|data| data.is_object()) {
        return Ok(data.to_owned());
    }
    Err(CardRefusal::Param("param.cardPublicDataEmpty"))
}
