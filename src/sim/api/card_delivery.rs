//! Cards on their way into chats: deliver, and create and deliver in one call (oapi.md, sections 6.2
//! and 6.3). A chat that cannot be reached is refused inside a 200.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::card::{admit, answer, draft, out_track_id, text, user_id_type};
use super::errors::Refusal;
use super::{CARD_CREATE_AND_DELIVER_PATH, CARD_DELIVER_PATH};
use crate::message::Timestamp;
use crate::sim::cards::{Card, CardDelivery, CardRefusal, CardView};
use crate::sim::carrier::Carrier;
use crate::sim::options::CardAgain;
use crate::sim::record::{Sent, SentVia, Verdict};
use crate::sim::state::{Shared, World};

/// What every `openSpaceId` begins with.
const SPACE_PREFIX: &str = "dtv1.card//";

/// What a chat that cannot be reached is refused with.
const ILLEGAL_SPACE: &str = "spaceId is illegal";

/// The deliver model that each kind of chat needs.
const DELIVER_MODELS: [(&str, &str); 4] = [
    ("IM_GROUP", "imGroupOpenDeliverModel"),
    ("IM_ROBOT", "imRobotOpenDeliverModel"),
    ("IM_SINGLE", "imSingleOpenDeliverModel"),
    ("ONE_BOX", "topOpenDeliverModel"),
];

/// One chat that a card is to stand in.
struct Target {
    space_type: &'static str,
    space_id: String,
    model: Map<String, Value>,
}

pub(super) async fn deliver(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let admitted = admit(&shared, &headers, &body, CARD_DELIVER_PATH);
    let outcome = logged(&shared, admitted, |world, app, body| {
        let id = out_track_id(body)?;
        let targets = targets(world, app, body)?;
        let card = world.deck.card_mut(app, id);
        let card = card.ok_or(CardRefusal::Param("param.cardNotExist"))?;
        if !targets.iter().all(|one| card.is_made_for(one.space_type)) {
            return Err(CardRefusal::Param("param.openSpaceModelInvalid"));
        }
        Ok(json!(put(&shared, world, app, body, targets)))
    });
    answer(outcome)
}

pub(super) async fn create_and_deliver(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let admitted = admit(&shared, &headers, &body, CARD_CREATE_AND_DELIVER_PATH);
    let outcome = logged(&shared, admitted, |world, app, body| {
        let card = Card::new(draft(&shared, world, app, body)?);
        let targets = targets(world, app, body)?;
        if !targets.iter().all(|one| card.is_made_for(one.space_type)) {
            return Err(CardRefusal::Param("param.openSpaceModelInvalid"));
        }
        world.deck.add(app, card)?;
        let results = put(&shared, world, app, body, targets);
        Ok(json!({"outTrackId": text(body, "outTrackId"), "deliverResults": results}))
    });
    answer(outcome)
}

/// Carries a delivery out; one that is refused as a whole is a refused send.
fn logged(
    shared: &Shared,
    admitted: Result<(Arc<str>, Value), Refusal>,
    act: impl FnOnce(&mut World, &Arc<str>, &Value) -> Result<Value, CardRefusal>,
) -> Result<Value, Refusal> {
    let (app, body) = admitted?;
    let mut world = shared.world();
    act(&mut world, &app, &body).map_err(|refusal| {
        let sent = Sent {
            app: app.as_ref().to_owned(),
            to: vec![text(&body, "openSpaceId").to_owned()],
            msg_key: text(&body, "cardTemplateId").to_owned(),
            verdict: Verdict::Refused {
                code: refusal.code().to_owned(),
            },
            ..Sent::draft(SentVia::Card)
        };
        world.log_sent(sent, shared.options.keep);
        refusal.into()
    })
}

/// The chats that a body names, each with its deliver model.
fn targets(world: &World, app: &Arc<str>, body: &Value) -> Result<Vec<Target>, CardRefusal> {
    let spaces = text(body, "openSpaceId");
    if spaces.is_empty() {
        return Err(CardRefusal::Param("param.openSpaceIdEmpty"));
    }
    let invalid = CardRefusal::Param("param.openSpaceIdInvalid");
    let spaces = spaces.strip_prefix(SPACE_PREFIX).ok_or(invalid)?;
    let read = |space: &str| {
        let (kind, id) = space.split_once('.').ok_or(invalid)?;
        let known = DELIVER_MODELS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(kind));
        let (space_type, model) = known.ok_or(invalid)?;
        let model = body.get(*model).and_then(Value::as_object);
        let model = model.ok_or(CardRefusal::Param("param.spaceDeliverModelEmpty"))?;
        check_model(world, app, space_type, model)?;
        Ok(Target {
            space_type,
            space_id: id.to_owned(),
            model: model.clone(),
        })
    };
    spaces.split(';').map(read).collect()
}

/// Whether the model has what its kind of chat needs.
fn check_model(
    world: &World,
    app: &Arc<str>,
    space_type: &str,
    model: &Map<String, Value>,
) -> Result<(), CardRefusal> {
    let robot = model.get("robotCode").and_then(Value::as_str);
    let own = world.apps.get(app);
    let is_own = |code: &str| own.is_some_and(|own| own.improvised || own.robot_code == code);
    let fits = match (space_type, robot) {
        ("IM_GROUP", None | Some("")) => false,
        (_, Some(code)) if !code.is_empty() => is_own(code),
        ("ONE_BOX", _) => model.contains_key("expiredTimeMillis"),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(CardRefusal::Param("param.openDeliverModelError"))
}

/// Puts the card into every chat that can be reached; one result for each.
fn put(
    shared: &Shared,
    world: &mut World,
    app: &Arc<str>,
    body: &Value,
    targets: Vec<Target>,
) -> Vec<Value> {
    let id = text(body, "outTrackId");
    let by_staff_id = user_id_type(body) == 1;
    let mut results = Vec::with_capacity(targets.len());
    for target in targets {
        let reached = world.reaches(&target, by_staff_id);
        let Some(card) = world.deck.card_mut(app, id) else {
            continue;
        };
        let earlier = card
            .carrier_in(&target.space_id)
            .filter(|_| shared.options.card_again == CardAgain::Folded);
        let again = earlier.is_some();
        let carrier = earlier.unwrap_or_else(new_carrier);
        let delivery = target.delivery(reached.then_some(carrier));
        results.push(result(&delivery));
        if again {
            continue;
        }
        card.deliver(delivery.clone());
        let sent = sent(card.view(), &delivery);
        world.carry(app, &delivery);
        world.log_sent(sent, shared.options.keep);
    }
    results
}

impl Target {
    fn delivery(self, carrier_id: Option<String>) -> CardDelivery {
        let at_users = self.model.get("atUserIds").and_then(Value::as_object);
        let recipients = self.model.get("recipients").and_then(Value::as_array);
        let recipients = recipients.into_iter().flatten();
        CardDelivery {
            at: Timestamp::now(),
            space_type: self.space_type.to_owned(),
            at_users: at_users.map_or_else(Vec::new, |users| users.keys().cloned().collect()),
            recipients: recipients
                .filter_map(|user| user.as_str().map(str::to_owned))
                .collect(),
            error: carrier_id.is_none().then(|| ILLEGAL_SPACE.to_owned()),
            carrier_id,
            recalled: false,
            space_id: self.space_id,
        }
    }
}

impl World {
    fn reaches(&self, target: &Target, by_staff_id: bool) -> bool {
        match target.space_type {
            "IM_ROBOT" if by_staff_id => self.knows_user(&target.space_id),
            "IM_ROBOT" => self.knows_union_id(&target.space_id),
            "IM_GROUP" => self.knows_group(&target.space_id),
            _ => target.space_id.starts_with("cid"),
        }
    }

    /// Whether somebody has this union id; where nobody's is known, everybody has one.
    fn knows_union_id(&self, id: &str) -> bool {
        !id.is_empty() && (self.union_ids.is_empty() || self.union_ids.contains_key(id))
    }

    /// Keeps the carrier of a card that stands in a chat, for its recall.
    pub(super) fn carry(&mut self, app: &Arc<str>, delivery: &CardDelivery) {
        let Some(carrier_id) = delivery.carrier_id.clone() else {
            return;
        };
        let carrier = Carrier {
            app: Arc::clone(app),
            chat: delivery.space_id.clone(),
            recalled: false,
        };
        self.carriers.insert(carrier_id, carrier);
    }
}

/// A new carrier id.
pub(super) fn new_carrier() -> String {
    STANDARD.encode(fastrand::u128(..).to_be_bytes())
}

/// The delivery as a send, so that it has its place among the others.
pub(super) fn sent(card: &CardView, delivery: &CardDelivery) -> Sent {
    Sent {
        app: card.app.clone(),
        to: vec![delivery.space_id.clone()],
        msg_key: card.template.clone(),
        msg_param: json!(card.params),
        process_query_key: delivery.carrier_id.clone(),
        verdict: match &delivery.error {
            None => Verdict::Delivered,
            Some(code) => Verdict::Refused { code: code.clone() },
        },
        ..Sent::draft(SentVia::Card)
    }
}

fn result(delivery: &CardDelivery) -> Value {
    json!({
        "spaceType": delivery.space_type,
        "spaceId": delivery.space_id,
        "success": delivery.error.is_none(),
        "carrierId": delivery.carrier_id.as_deref().unwrap_or_default(),
        "errorMsg": delivery.error.as_deref().unwrap_or_default(),
    })
}
