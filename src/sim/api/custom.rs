//! Custom group robots: posts with a token, an optional signature and keywords (oapi.md, section 4.3).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use tokio::time::Instant;

use super::errors::Refusal;
use super::sends::{conclude, ok, posted};
use super::token::is_json;
use super::webhook::{check, too_fast};
use crate::message::{Secret, Timestamp};
use crate::sim::record::{Sent, SentVia};
use crate::sim::state::Shared;

/// How far the timestamp of a signature may be off.
const SKEW: Duration = Duration::from_secs(3600);
/// Posts per minute before the robot is muted.
const PER_MINUTE: usize = 20;
/// Idempotency keys that are remembered per robot.
const KEPT_UUIDS: usize = 10_000;

/// A custom robot of one group.
#[derive(Debug, Clone)]
pub struct CustomRobot {
    /// The token in its webhook URL.
    pub access_token: String,
    /// The group that it posts to.
    pub group: String,
    /// The `SEC…` secret; present when posts must be signed.
    pub secret: Option<Secret>,
    /// Words of which every post must contain one; empty: no such rule.
    pub keywords: Vec<String>,
}

/// A custom robot and what it did.
pub(in crate::sim) struct CustomState {
    robot: CustomRobot,
    posts: VecDeque<Instant>,
    pub(in crate::sim) muted_until: Option<Instant>,
    uuids: HashSet<String>,
}

impl CustomState {
    pub(in crate::sim) fn new(robot: CustomRobot) -> Self {
        Self {
            robot,
            posts: VecDeque::new(),
            muted_until: None,
            uuids: HashSet::new(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SendQuery {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    sign: String,
}

pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<SendQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut sent = posted(&parsed, SentVia::CustomRobot);
    let outcome = if is_json(&headers) {
        check(&parsed, body.len()).and_then(|()| apply(&shared, &query, &parsed, &mut sent))
    } else {
        Err(Refusal::oapi(43004, "无效的HTTP HEADER Content-Type"))
    };
    match outcome {
        Ok(Applied::Repeated) => ok(),
        Ok(Applied::Sent) => conclude(&shared, sent, Ok(ok())),
        Err(refusal) => conclude(&shared, sent, Err(refusal)),
    }
}

enum Applied {
    Sent,
    /// The `msgUuid` was there before: nothing new is visible.
    Repeated,
}

fn apply(
    shared: &Shared,
    query: &SendQuery,
    body: &Value,
    sent: &mut Sent,
) -> Result<Applied, Refusal> {
    let now = Instant::now();
    let mut world = shared.world();
    let state = world
        .custom_robots
        .get_mut(&query.access_token)
        .ok_or_else(|| Refusal::oapi(300_001, "token is not exist"))?;
    sent.to = vec![state.robot.group.clone()];
    check_sign(&state.robot, query)?;
    let keywords = &state.robot.keywords;
    if !keywords.is_empty() && !keywords.iter().any(|word| says(body, word)) {
        return Err(Refusal::oapi(310_000, "keywords not in content"));
    }
    let uuid = body.get("msgUuid").and_then(Value::as_str);
    if uuid.is_some_and(|uuid| state.uuids.contains(uuid)) {
        return Ok(Applied::Repeated);
    }
    if state.muted_until.is_some_and(|until| until > now) {
        if shared.options.mute_extends {
            state.muted_until = Some(now + shared.options.mute_for);
        }
        return Err(too_fast());
    }
    while let Some(first) = state.posts.front()
        && now.duration_since(*first) >= shared.options.webhook_span
    {
        state.posts.pop_front();
    }
    if state.posts.len() >= PER_MINUTE {
        state.muted_until = Some(now + shared.options.mute_for);
        return Err(too_fast());
    }
    state.posts.push_back(now);
    if let Some(uuid) = uuid
        && state.uuids.len() < KEPT_UUIDS
    {
        state.uuids.insert(uuid.to_owned());
    }
    Ok(Applied::Sent)
}

/// Whether a word stands in what people read of a post: in its content, not in its keys.
fn says(body: &Value, word: &str) -> bool {
    match body {
        Value::String(text) => text.contains(word),
        Value::Array(items) => items.iter().any(|item| says(item, word)),
        Value::Object(keys) => keys
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "msgtype" | "msgUuid" | "at"))
            .any(|(_, value)| says(value, word)),
        _ => false,
    }
}

fn check_sign(robot: &CustomRobot, query: &SendQuery) -> Result<(), Refusal> {
    let Some(secret) = &robot.secret else {
        return Ok(());
    };
    let now = Timestamp::now().as_millis();
    let off = query
        .timestamp
        .parse::<i64>()
        .map_or(i64::MAX, |at| now.saturating_sub(at).saturating_abs());
    if u128::try_from(off).is_ok_and(|off| off > SKEW.as_millis()) {
        return Err(Refusal::oapi(310_000, "invalid timestamp"));
    }
    match signature(secret.expose(), &query.timestamp) {
        Some(sign) if sign == query.sign => Ok(()),
        _ => Err(Refusal::oapi(310_000, "sign not match")),
    }
}

/// `base64(HMAC_SHA256(secret, timestamp + "\n" + secret))`.
fn signature(secret: &str, timestamp: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{timestamp}\n{secret}").as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_documented_vector() {
        let secret = "SECexample0000000000000000000000000000000000000000000000000000000000";
        assert_eq!(
            signature(secret, "1700000000000").as_deref(),
            Some("HVIoyxfUnv8ndjWMmIZ7rGFJNxLlRWMVHn6rvUh7qHQ=")
        );
    }
}
