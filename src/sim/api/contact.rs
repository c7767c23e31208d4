//! The one question about people that a bridge asks: whose unionId it is (oapi.md, section 10).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::UNION_ID_PATH;
use super::errors::{Refusal, request_id};
use super::token::TokenQuery;
use crate::sim::state::Shared;

/// Not billed.
pub(super) async fn by_union_id(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<TokenQuery>,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let union_id = body.get("unionid").and_then(Value::as_str);
    let mut world = shared.world();
    let outcome = world
        .known_oapi(&shared.options, &query.access_token, UNION_ID_PATH)
        .and_then(|_| {
            let union_id = union_id
                .filter(|id| !id.is_empty())
                .ok_or_else(|| Refusal::oapi(40035, "缺少参数 unionid"))?;
            let user = world.union_ids.get(union_id);
            user.ok_or_else(|| Refusal::oapi(60121, "找不到该用户"))
        });
    match outcome {
        Ok(user) => Json(json!({
            "errcode": 0, "errmsg": "ok", "request_id": request_id(),
            "result": {"contact_type": 0, "userid": user},
        }))
        .into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
