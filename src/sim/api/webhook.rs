//! Session webhooks: replies into the chat of an inbound message (oapi.md, sections 4.1 and 4.2).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::errors::Refusal;
use super::sends::{conclude, ok, posted};
use super::token::is_json;
use crate::sim::record::{Sent, SentVia};
use crate::sim::state::{Shared, World};

/// Bytes that a body may have.
const MAX_BODY: usize = 20_000;

#[derive(Deserialize)]
pub(super) struct SessionQuery {
    #[serde(default)]
    session: String,
}

pub(super) async fn send_by_session(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<SessionQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut sent = posted(&parsed, SentVia::Webhook);
    let outcome = apply(&shared, &query.session, &mut sent).and_then(|()| {
        if !is_json(&headers) {
            return Err(Refusal::oapi(43004, "无效的HTTP HEADER Content-Type"));
        }
        check(&parsed, body.len())
    });
    conclude(&shared, sent, outcome.map(|()| ok()))
}

/// Finds the session and counts the post.
fn apply(shared: &Shared, session: &str, sent: &mut Sent) -> Result<(), Refusal> {
    let mut world = shared.world();
    let live = world
        .sessions
        .get(session)
        .filter(|session| session.expires > Instant::now())
        .ok_or_else(|| Refusal::oapi(300_001, "session 不存在"))?;
    let app = Arc::clone(&live.app);
    sent.app = app.as_ref().to_owned();
    sent.to = vec![live.chat.clone()];
    if world.is_muted(&app) {
        if let Some(app) = world
            .apps
            .get_mut(&app)
            .filter(|_| shared.options.mute_extends)
        {
            app.muted_until = Some(Instant::now() + shared.options.mute_for);
        }
        return Err(too_fast());
    }
    if !world.may_post(&app, shared) {
        return Err(too_fast());
    }
    if !world.bill_webhook(&app, shared.options.webhook_quota) {
        return Err(Refusal::oapi(90030, "当月Webhook调用次数已达上限"));
    }
    Ok(())
}

pub(super) fn too_fast() -> Refusal {
    Refusal::oapi(130_101, "send too fast, exceed 20 times per minute")
}

/// Checks a body of either kind of webhook.
pub(super) fn check(body: &Value, size: usize) -> Result<(), Refusal> {
    if size > MAX_BODY {
        return Err(Refusal::oapi(
            460_101,
            "description: body 大小不合法;solution:请保持大小在 20000bytes 以内;",
        ));
    }
    let kind = body.get("msgtype").and_then(Value::as_str);
    let needs = match kind {
        None => return Err(Refusal::oapi(40035, "缺少参数 json")),
        Some("empty") => return Ok(()),
        Some("text") => "/text/content",
        Some("markdown") => "/markdown/text",
        Some("actionCard") => "/actionCard/text",
        Some("link") => "/link/messageUrl",
        Some("feedCard") => "/feedCard/links",
        Some(_) => return Err(Refusal::oapi(400_105, "不支持的消息类型")),
    };
    match body.pointer(needs) {
        Some(_) => Ok(()),
        None => Err(Refusal::oapi(40035, "缺少参数 json")),
    }
}

impl World {
    /// Counts one post of the app; past the limit it mutes the app (20 a minute, then 10 minutes).
    fn may_post(&mut self, app: &Arc<str>, shared: &Shared) -> bool {
        let (Some(limit), Some(app)) = (shared.options.webhooks_per_minute, self.apps.get_mut(app))
        else {
            return true;
        };
        let now = Instant::now();
        while let Some(first) = app.webhook_posts.front()
            && now.duration_since(*first) >= shared.options.webhook_span
        {
            app.webhook_posts.pop_front();
        }
        if app.webhook_posts.len() >= limit as usize {
            app.muted_until = Some(now + shared.options.mute_for);
            return false;
        }
        app.webhook_posts.push_back(now);
        true
    }
}
