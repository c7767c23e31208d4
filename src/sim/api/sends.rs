//! What every way to send shares: how its record begins and how it is closed. It knows no way.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::errors::Refusal;
use crate::sim::record::{Sent, SentVia, Verdict};
use crate::sim::state::Shared;

/// A post to a webhook as far as its body can be read.
pub(super) fn posted(body: &Value, via: SentVia) -> Sent {
    let kind = body.get("msgtype").and_then(Value::as_str);
    Sent {
        msg_key: kind.unwrap_or_default().to_owned(),
        msg_param: body.clone(),
        ..Sent::draft(via)
    }
}

/// What oapi answers to a post that it took.
pub(super) fn ok() -> Response {
    Json(json!({"errcode": 0, "errmsg": "ok"})).into_response()
}

/// Writes a send down with its outcome, and answers.
pub(super) fn conclude(
    shared: &Shared,
    mut sent: Sent,
    outcome: Result<Response, Refusal>,
) -> Response {
    let response = outcome.unwrap_or_else(|refusal| {
        let code = refusal.code.clone();
        sent.verdict = Verdict::Refused { code };
        refusal.into_response()
    });
    shared.world().log_sent(sent, shared.options.keep);
    response
}
