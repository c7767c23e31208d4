//! Both API families on one port, with faults in front of every route. It knows no WebSocket.

mod admission;
mod card;
mod card_delivery;
mod card_old;
mod contact;
mod custom;
mod download;
mod emotion;
mod errors;
mod listener;
mod open;
mod read_status;
mod recall;
mod robot;
mod sends;
mod spoil;
mod token;
mod upload;
mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tokio::net::TcpListener;

pub use self::custom::CustomRobot;
pub(super) use self::custom::CustomState;
use self::errors::{Refusal, request_id};
use self::listener::{Scissors, Wires};
use self::spoil::spoiled;
use super::armed::CallFault;
use super::control;

use super::record::Call;
use super::state::Shared;
use crate::message::Timestamp;

/// Path of sends to people.
pub const USER_SEND_PATH: &str = "/v1.0/robot/oToMessages/batchSend";
/// Path of sends to groups.
pub const GROUP_SEND_PATH: &str = "/v1.0/robot/groupMessages/send";
/// Path of session webhooks.
pub const WEBHOOK_PATH: &str = "/robot/sendBySession";
/// Path of custom robots.
pub const CUSTOM_ROBOT_PATH: &str = "/robot/send";
/// Path of the events that were given up.
pub const FAILED_EVENTS_PATH: &str = "/call_back/get_call_back_failed_result";
/// Path of creating and updating a card.
pub const CARD_PATH: &str = "/v1.0/card/instances";
/// Path of putting a card into chats.
pub const CARD_DELIVER_PATH: &str = "/v1.0/card/instances/deliver";
/// Path of creating a card in its chats.
pub const CARD_CREATE_AND_DELIVER_PATH: &str = "/v1.0/card/instances/createAndDeliver";
/// Path of naming further kinds of chat for a card.
pub const CARD_SPACES_PATH: &str = "/v1.0/card/instances/spaces";
/// Path of writing into a card.
pub const CARD_STREAMING_PATH: &str = "/v1.0/card/streaming";
/// Path of sending a card of the old API.
pub const OLD_CARD_SEND_PATH: &str = "/v1.0/im/v1.0/robot/interactiveCards/send";
/// Path of updating a card of the old API.
pub const OLD_CARD_UPDATE_PATH: &str = "/v1.0/im/robots/interactiveCards";
/// Path of the v1.0 token.
pub const TOKEN_PATH: &str = "/v1.0/oauth2/accessToken";
/// Path of the legacy token.
pub const LEGACY_TOKEN_PATH: &str = "/gettoken";

/// Path of uploads.
pub const MEDIA_UPLOAD_PATH: &str = "/media/upload";
/// Path that turns download codes into URLs.
pub const MEDIA_DOWNLOAD_PATH: &str = "/v1.0/robot/messageFiles/download";
/// Where those URLs point: a prefix, for faults with a `*` behind it.
pub const MEDIA_OBJECT_PATH: &str = "/sim-oss/";

/// Path that takes messages to people back; DingTalk spells it differently from the send.
pub const RECALL_USER_PATH: &str = "/v1.0/robot/otoMessages/batchRecall";
/// Path that takes messages to groups back.
pub const RECALL_GROUP_PATH: &str = "/v1.0/robot/groupMessages/recall";
/// Path that tells who of the people read a message.
pub const READ_STATUS_PATH: &str = "/v1.0/robot/oToMessages/readStatus";
/// Path that tells who of a group read a message.
pub const GROUP_READ_STATUS_PATH: &str = "/v1.0/robot/groupMessages/query";
/// Path of reactions.
pub const EMOTION_PATH: &str = "/v1.0/robot/emotion/reply";
/// Path that takes reactions back.
pub const EMOTION_RECALL_PATH: &str = "/v1.0/robot/emotion/recall";
/// Path that tells the staff id of a unionId.
pub const UNION_ID_PATH: &str = "/topapi/user/getbyunionid";

/// Serves until the simulator stops.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let stop = shared.stop.clone();
    let app = router(&shared).into_make_service_with_connect_info::<Scissors>();
    let wires = Wires::new(listener, stop.clone());
    tokio::select! {
        () = stop.cancelled() => {}
        _ = axum::serve(wires, app) => {}
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let api = Router::new()
        .route(super::fault::OPEN_PATH, post(open::open))
        .route(TOKEN_PATH, post(token::access_token))
        .route("/v1.0/oauth2/{corp_id}/token", post(token::corp_token))
        .route(LEGACY_TOKEN_PATH, get(token::legacy_token))
        .route(USER_SEND_PATH, post(robot::send_to_users))
        .route(GROUP_SEND_PATH, post(robot::send_to_group))
        .merge(cards())
        .route(WEBHOOK_PATH, post(webhook::send_by_session))
        .route(CUSTOM_ROBOT_PATH, post(custom::send))
        .route(FAILED_EVENTS_PATH, get(token::failed_events))
        .merge(media())
        .merge(verbs())
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || Refusal::not_found())
        .layer(from_fn_with_state(Arc::clone(shared), with_faults));
    Router::new()
        .nest("/sim", control::router())
        .merge(api)
        .with_state(Arc::clone(shared))
}

/// Files, both ways.
fn media() -> Router<Arc<Shared>> {
    Router::new()
        .route(
            MEDIA_UPLOAD_PATH,
            post(upload::upload)
                .get(upload::not_post)
                .layer(DefaultBodyLimit::disable()),
        )
        .route(MEDIA_DOWNLOAD_PATH, post(download::download))
        .route("/sim-oss/{name}", get(download::object))
}

/// What is done with messages that are there, and who people are.
fn verbs() -> Router<Arc<Shared>> {
    Router::new()
        .route(RECALL_USER_PATH, post(recall::from_users))
        .route(RECALL_GROUP_PATH, post(recall::from_group))
        .route(READ_STATUS_PATH, get(read_status::of_users))
        .route(GROUP_READ_STATUS_PATH, post(read_status::of_group))
        .route(EMOTION_PATH, post(emotion::reply))
        .route(EMOTION_RECALL_PATH, post(emotion::recall))
        .route(UNION_ID_PATH, post(contact::by_union_id))
}

/// Interactive cards.
fn cards() -> Router<Arc<Shared>> {
    Router::new()
        .route(CARD_PATH, post(card::create).put(card::update))
        .route(CARD_DELIVER_PATH, post(card_delivery::deliver))
        .route(
            CARD_CREATE_AND_DELIVER_PATH,
            post(card_delivery::create_and_deliver),
        )
        .route(CARD_SPACES_PATH, put(card::add_spaces))
        .route(CARD_STREAMING_PATH, put(card::stream))
        .route(OLD_CARD_SEND_PATH, post(card_old::send))
        .route(OLD_CARD_UPDATE_PATH, put(card_old::update))
}

/// Lets a call through, or does to it what an armed fault says.
async fn with_faults(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let method = request.method().to_string();
    let fault = shared.world().take_call_fault(&path);
    let name = fault.as_ref().map(CallFault::name);
    let answered = match fault {
        None => Some(next.run(request).await),
        Some(fault) => spoiled(fault, request, next).await,
    };
    let call = Call {
        at: Timestamp::now(),
        method,
        path,
        status: answered.as_ref().map(|response| response.status().as_u16()),
        fault: name,
        body: answered
            .as_ref()
            .and_then(|response| response.extensions().get::<open::OpenBody>())
            .map(|body| body.0.clone()),
    };
    let keep = shared.options.keep;
    shared.world().log_call(call, keep);
    shared.notify();
    match (answered, name) {
        (Some(response), _) => branded(response),
        (None, Some("cut_call" | "apply_then_cut")) => {
            scissors.cut();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        // The connection's reads fail when the simulator stops, which drops this request.
        (None, _) => std::future::pending().await,
    }
}

/// Adds the headers that DingTalk's answers carry.
fn branded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let server = HeaderValue::from_static("DingTalk/1.0.0");
    headers.entry(header::SERVER).or_insert(server);
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        headers.insert("x-acs-request-id", id);
    }
    response
}
