//! Access tokens of both families: the same one while it lives (oapi.md, section 1).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::errors::Refusal;
use crate::sim::options::TokenFamilies;
use crate::sim::state::{Family, Shared, Token, uuid};

impl Shared {
    /// The live token of these credentials, and its seconds left; `None` for wrong ones.
    fn token(&self, client_id: &str, secret: &str, family: Family) -> Option<(String, u64)> {
        let life = self.options.token_life;
        let expires = Instant::now() + life;
        let mut world = self.world();
        let app = Arc::clone(
            &world
                .authenticate(client_id, secret, self.options.any_app)?
                .client_id,
        );
        let token = world
            .tokens
            .entry((app, family))
            .and_modify(|token| {
                if token.expires <= Instant::now() {
                    token.value = fresh();
                }
                // A repeated call renews the token.
                token.expires = expires;
            })
            .or_insert_with(|| Token {
                value: fresh(),
                expires,
            });
        Some((token.value.clone(), life.as_secs()))
    }

    /// The app behind the token header of a v1.0 call.
    pub(super) fn app_of_call(&self, headers: &HeaderMap) -> Result<Arc<str>, Refusal> {
        let token = headers
            .get("x-acs-dingtalk-access-token")
            .and_then(|value| value.to_str().ok())
            .ok_or_else(Refusal::invalid_token)?;
        let family = match self.options.token_families {
            TokenFamilies::Shared => None,
            TokenFamilies::Strict => Some(Family::V1),
        };
        self.world()
            .app_of_token(token, family)
            .ok_or_else(Refusal::invalid_token)
    }
}

fn fresh() -> String {
    uuid().replace('-', "")
}

/// Whether the body says it is JSON; v1.0 takes every other one for none.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"))
}

pub(super) async fn access_token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_json(&headers) || body.is_empty() {
        return Refusal::missing_body().into_response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, secret) = (text(&body, "appKey"), text(&body, "appSecret"));
    match shared.token(id, secret, Family::V1) {
        Some((token, left)) => {
            Json(json!({"accessToken": token, "expireIn": left})).into_response()
        }
        None => Refusal::bad("invalidClientIdOrSecret", "无效的clientId或者clientSecret")
            .into_response(),
    }
}

pub(super) async fn corp_token(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if text(&body, "grant_type") != "client_credentials" {
        return Refusal::bad("unsupported.grant.type", "unsupported grant type").into_response();
    }
    let (id, secret) = (text(&body, "client_id"), text(&body, "client_secret"));
    match shared.token(id, secret, Family::V1) {
        Some((token, left)) => {
            Json(json!({"access_token": token, "expires_in": left})).into_response()
        }
        None => Refusal::bad("invalid.client", "invalid client").into_response(),
    }
}

#[derive(Deserialize)]
pub(super) struct LegacyQuery {
    #[serde(default)]
    appkey: String,
    #[serde(default)]
    appsecret: String,
}

pub(super) async fn legacy_token(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<LegacyQuery>,
) -> Response {
    if query.appkey.is_empty() || query.appsecret.is_empty() {
        return Refusal::oapi(40035, "缺少参数 corpid or appkey").into_response();
    }
    match shared.token(&query.appkey, &query.appsecret, Family::Oapi) {
        Some((token, left)) => {
            Json(json!({"errcode": 0, "access_token": token, "errmsg": "ok", "expires_in": left}))
                .into_response()
        }
        None => Refusal::oapi(40089, "不合法的corpid或corpsecret").into_response(),
    }
}

#[derive(Deserialize)]
pub(super) struct TokenQuery {
    #[serde(default)]
    pub(super) access_token: String,
}

/// The events of an app that were given up; each call forgets what it returned
/// (stream-protocol.md, section 4.4).
pub(super) async fn failed_events(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<TokenQuery>,
) -> Response {
    let family = match shared.options.token_families {
        TokenFamilies::Shared => None,
        TokenFamilies::Strict => Some(Family::Oapi),
    };
    let mut world = shared.world();
    let Some(app) = world.app_of_token(&query.access_token, family) else {
        return Refusal::oapi(40014, "不合法的access_token").into_response();
    };
    let all = std::mem::take(&mut world.failed_events);
    let (mine, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|event| event.app == *app);
    world.failed_events = others;
    let list: Vec<Value> = mine
        .iter()
        .map(|event| {
            json!({
                "event_time": event.at.as_millis(),
                "call_back_tag": event.event_type,
                (event.event_type.as_str()): event.data,
            })
        })
        .collect();
    Json(json!({"errcode": 0, "errmsg": "ok", "has_more": false, "failed_list": list}))
        .into_response()
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body.get(key).and_then(Value::as_str).unwrap_or_default()
}
