//! Proactive robot sends to people and groups (oapi.md, sections 2.1, 2.2, 2.4 and 2.7).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::errors::Refusal;
use super::sends::conclude;
use super::token::is_json;
use super::upload::check_media;
use super::{GROUP_SEND_PATH, USER_SEND_PATH};
use crate::sim::record::{Sent, SentVia, Verdict};
use crate::sim::state::{Shared, World};

/// Users that one batch may name.
const MAX_USERS: usize = 20;
/// Bytes that `msgParam` may have.
const MAX_PARAM: usize = 15_000;

/// The message kinds and the keys that each one needs.
const MSG_KEYS: [(&str, &[&str]); 13] = [
    ("sampleText", &["content"]),
    ("sampleMarkdown", &["title", "text"]),
    ("sampleImageMsg", &["photoURL"]),
    ("sampleLink", &["text", "title", "messageUrl"]),
    (
        "sampleActionCard",
        &["title", "text", "singleTitle", "singleURL"],
    ),
    (
        "sampleActionCard2",
        &["title", "text", "actionTitle1", "actionURL1"],
    ),
    (
        "sampleActionCard3",
        &["title", "text", "actionTitle3", "actionURL3"],
    ),
    (
        "sampleActionCard4",
        &["title", "text", "actionTitle4", "actionURL4"],
    ),
    (
        "sampleActionCard5",
        &["title", "text", "actionTitle5", "actionURL5"],
    ),
    (
        "sampleActionCard6",
        &["title", "text", "buttonTitle1", "buttonUrl1"],
    ),
    ("sampleAudio", &["mediaId", "duration"]),
    ("sampleFile", &["mediaId", "fileName", "fileType"]),
    ("sampleVideo", &["videoMediaId", "videoType", "picMediaId"]),
];

pub(super) async fn send_to_users(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    send(&shared, &headers, &body, SentVia::User)
}

pub(super) async fn send_to_group(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    send(&shared, &headers, &body, SentVia::Group)
}

/// Checks in the gateway's order (token, rate, body), applies, answers and writes down.
fn send(shared: &Shared, headers: &HeaderMap, body: &[u8], via: SentVia) -> Response {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut sent = draft(&parsed, via);
    let outcome = shared.app_of_call(headers).and_then(|app| {
        sent.app = app.as_ref().to_owned();
        if !is_json(headers) || body.is_empty() {
            return Err(Refusal::missing_body());
        }
        apply(shared, &app, &parsed, &mut sent)
    });
    let answer = outcome.map(|answer| Json(answer).into_response());
    conclude(shared, sent, answer)
}

/// The send as far as the body can be read.
fn draft(body: &Value, via: SentVia) -> Sent {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let to = match via {
        SentVia::User => body
            .get("userIds")
            .and_then(Value::as_array)
            .map(|users| {
                let users = users.iter().filter_map(Value::as_str);
                users.map(str::to_owned).collect()
            })
            .unwrap_or_default(),
        _ => vec![text("openConversationId").to_owned()],
    };
    Sent {
        to,
        msg_key: text("msgKey").to_owned(),
        msg_param: serde_json::from_str(text("msgParam")).unwrap_or_default(),
        ..Sent::draft(via)
    }
}

fn apply(shared: &Shared, app: &Arc<str>, body: &Value, sent: &mut Sent) -> Result<Value, Refusal> {
    let path = match sent.via {
        SentVia::User => USER_SEND_PATH,
        _ => GROUP_SEND_PATH,
    };
    let mut world = shared.world();
    world.admit(&shared.options, app, path)?;
    check_robot(&world, app, body)?;
    check_message(body)?;
    check_media(&world, &sent.msg_key, &sent.msg_param)?;
    match sent.via {
        SentVia::User => check_users(body)?,
        _ => check_group(&world, body)?,
    }
    if world.is_muted(app) {
        return Err(Refusal::bad("send.too.fast", "发送频繁限流"));
    }
    let key = STANDARD.encode(fastrand::u128(..).to_be_bytes());
    sent.process_query_key = Some(key.clone());
    if sent.via != SentVia::User {
        return Ok(json!({"processQueryKey": key}));
    }
    let (known, invalid): (Vec<String>, _) =
        sent.to.drain(..).partition(|user| world.knows_user(user));
    let (slowed, reached) = known
        .into_iter()
        .partition(|user| world.flow_controlled.contains(user));
    sent.to = reached;
    sent.invalid_users = invalid;
    sent.flow_controlled_users = slowed;
    if sent.to.is_empty() {
        let code = "no user reached".to_owned();
        sent.verdict = Verdict::Refused { code };
    }
    Ok(json!({
        "processQueryKey": key,
        "invalidStaffIdList": sent.invalid_users,
        "flowControlledStaffIdList": sent.flow_controlled_users,
    }))
}

/// Whether the body names the robot of the app.
pub(super) fn check_robot(world: &World, app: &Arc<str>, body: &Value) -> Result<(), Refusal> {
    let code = match body.get("robotCode") {
        None => {
            return Err(Refusal::bad(
                "invalidParameter.robotCode.missing",
                "缺少robotCode",
            ));
        }
        Some(code) => code.as_str().unwrap_or_default(),
    };
    if code.is_empty() {
        return Err(Refusal::bad(
            "invalidParameter.robotCode.empty",
            "机器人robotCode为空",
        ));
    }
    let own = world.apps.get(app);
    if own.is_some_and(|own| own.improvised || own.robot_code == code) {
        return Ok(());
    }
    if world.apps.values().any(|other| other.robot_code == code) {
        return Err(Refusal::bad(
            "invalidParameter.robotCode.auth",
            "此应用appkey和机器人robotCode不匹配，请使用机器人应用的appkey",
        ));
    }
    Err(Refusal::bad(
        "invalidParameter.robotCode.notExsit",
        "机器人不存在",
    ))
}

fn check_message(body: &Value) -> Result<(), Refusal> {
    let key = body
        .get("msgKey")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if key.is_empty() {
        return Err(Refusal::bad("invalidParameter.msgKey.empty", "缺少msgKey"));
    }
    let needs = MSG_KEYS
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, needs)| *needs)
        .ok_or_else(|| Refusal::bad("invalidParameter.msgKey.invalid", "无效的msgKey"))?;
    let invalid = || {
        Refusal::bad(
            "invalidParameter.msgParam.invalid",
            "msgParam必须是json格式",
        )
    };
    let param = body
        .get("msgParam")
        .and_then(Value::as_str)
        .ok_or_else(invalid)?;
    if param.len() > MAX_PARAM {
        return Err(Refusal::bad(
            "invalidParameter.msgParam.tooLong",
            "消息内容太长",
        ));
    }
    let values: Map<String, Value> = serde_json::from_str(param).map_err(|_| invalid())?;
    if !values.values().all(Value::is_string) {
        return Err(invalid());
    }
    let missing = needs.iter().find(|key| {
        values
            .get(**key)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
    });
    match (key, missing) {
        (_, None) => Ok(()),
        ("sampleText", Some(_)) => Err(Refusal::bad(
            "miss.param.contentOfText",
            "需要text->content属性",
        )),
        (_, Some(_)) => Err(Refusal::bad("invalidParameter.param.invalid", "参数不合法")),
    }
}

fn check_users(body: &Value) -> Result<(), Refusal> {
    let users = body.get("userIds").and_then(Value::as_array);
    match users.map_or(0, Vec::len) {
        0 => Err(Refusal::bad(
            "invalidParameter.userIds.empty",
            "用户userId列表为空",
        )),
        1..=MAX_USERS if names_a_chat(users) => {
            Err(Refusal::bad("staffId.notExisted", "staffId不存在"))
        }
        1..=MAX_USERS => Ok(()),
        _ => Err(Refusal::bad(
            "invalidParameter.userIds.overMax",
            "用户userId列表超限",
        )),
    }
}

/// Whether a conversation stands among the users, which is refused as a whole.
fn names_a_chat(users: Option<&Vec<Value>>) -> bool {
    let mut users = users.into_iter().flatten().filter_map(Value::as_str);
    users.any(|user| user.starts_with("cid"))
}

/// Whether the body names a group that exists.
pub(super) fn check_group(world: &World, body: &Value) -> Result<(), Refusal> {
    let group = body
        .get("openConversationId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if group.is_empty() {
        return Err(Refusal::bad(
            "miss.openConversationId",
            "缺少openConversationId",
        ));
    }
    if world.knows_group(group) {
        return Ok(());
    }
    Err(Refusal::bad(
        "invalid.openConversationId",
        "无效的openConversationId",
    ))
}

impl World {
    /// Whether there is a member with this staff id.
    pub(super) fn knows_user(&self, user: &str) -> bool {
        let members = self.users.as_ref();
        !user.is_empty()
            && !user.starts_with("$:LWCP")
            && !self.unknown_users.contains(user)
            && members.is_none_or(|members| members.contains(user))
    }

    /// Whether there is a group with this open conversation id.
    pub(super) fn knows_group(&self, group: &str) -> bool {
        match &self.groups {
            Some(groups) => groups.contains(group),
            None => group.starts_with("cid"),
        }
    }

    /// Whether the robot may not send now.
    pub(super) fn is_muted(&self, app: &Arc<str>) -> bool {
        let until = self.apps.get(app).and_then(|app| app.muted_until);
        until.is_some_and(|until| until > Instant::now())
    }
}
