//! Reactions of a robot on people's messages (oapi.md, section 7).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::errors::Refusal;
use super::robot::check_robot;
use super::{EMOTION_PATH, EMOTION_RECALL_PATH};
use crate::message::Timestamp;
use crate::sim::aftermath::Emotion;
use crate::sim::state::{Shared, World};

pub(super) async fn reply(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.v1_call(&headers, &body, EMOTION_PATH, |world, app, body| {
        let emotion = read(world, app, body)?;
        world.react(emotion, shared.options.keep);
        Ok(json!({"success": true}))
    })
}

pub(super) async fn recall(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = EMOTION_RECALL_PATH;
    shared.v1_call(&headers, &body, path, |world, app, body| {
        let emotion = read(world, app, body)?;
        let found = world.unreact(&emotion);
        Ok(json!({"success": found}))
    })
}

/// The reaction that the body describes. A message that the robot never got is answered as one that is
/// not there yet.
fn read(world: &World, app: &Arc<str>, body: &Value) -> Result<Emotion, Refusal> {
    check_robot(world, app, body)?;
    let text = |path: &str| {
        let value = body.pointer(path).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (msg_id, chat) = (text("/openMsgId"), text("/openConversationId"));
    if chat.is_empty() {
        return Err(Refusal::bad(
            "miss.openConversationId",
            "缺少openConversationId",
        ));
    }
    if msg_id.is_empty() || body.get("emotionType").is_some_and(|kind| !kind.is_u64()) {
        return Err(Refusal::bad("invalidParameter.param.invalid", "参数不合法"));
    }
    if world.chat_of(app, &msg_id).ok_or_else(too_new)? != chat {
        return Err(Refusal::bad(
            "invalid.openConversationId",
            "无效的openConversationId",
        ));
    }
    let name = text("/emotionName");
    let shown = text("/textEmotion/text");
    Ok(Emotion {
        at: Timestamp::now(),
        app: app.as_ref().to_owned(),
        msg_id,
        chat,
        text: if shown.is_empty() {
            name.clone()
        } else {
            shown
        },
        name,
        recalled_at: None,
    })
}

fn too_new() -> Refusal {
    Refusal::bad("system.err", "系统错误")
}

impl World {
    /// The chat of a message that the robot of the app was sent.
    fn chat_of(&self, app: &Arc<str>, msg_id: &str) -> Option<String> {
        let mut pushes = self.ledger.pushes_of(msg_id).iter().rev();
        pushes.find_map(|seq| {
            let entry = self.ledger.entry(*seq)?;
            let payload = entry.payload.as_ref().filter(|_| entry.app == *app)?;
            let data = payload.data();
            Some(data.get("conversationId")?.as_str()?.to_owned())
        })
    }
}
