//! Who read a message of a robot (oapi.md, sections 3.3 and 3.4).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::Refusal;
use super::robot::check_robot;
use super::{GROUP_READ_STATUS_PATH, READ_STATUS_PATH};
use crate::message::Timestamp;
use crate::sim::options::SimOptions;
use crate::sim::record::{Sent, SentVia};
use crate::sim::state::{Shared, World};

/// Most readers of one page, and how many when nothing is said.
const MAX_PAGE: u64 = 200;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusQuery {
    #[serde(default)]
    robot_code: String,
    #[serde(default)]
    process_query_key: String,
}

pub(super) async fn of_users(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<StatusQuery>,
    headers: HeaderMap,
) -> Response {
    let body = json!(query);
    shared.v1_query(&headers, READ_STATUS_PATH, |world, app| {
        check_robot(world, app, &body)?;
        let key = &query.process_query_key;
        let sent = of_key(&shared.options, world, app, key)?;
        if sent.via != SentVia::User {
            return Err(unknown());
        }
        let people: Vec<Value> = sent
            .to
            .iter()
            .map(|user| {
                let read = if sent.read_by.contains(user) {
                    "READ"
                } else {
                    "UNREAD"
                };
                json!({"name": user, "userId": user, "readStatus": read})
            })
            .collect();
        Ok(json!({"sendStatus": status(sent), "messageReadInfoList": people}))
    })
}

pub(super) async fn of_group(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = GROUP_READ_STATUS_PATH;
    shared.v1_call(&headers, &body, path, |world, app, body| {
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        if body.get("robotCode").is_some() {
            check_robot(world, app, body)?;
        }
        let group = text("openConversationId");
        if group.is_empty() && text("token").is_empty() {
            return Err(Refusal::bad(
                "miss.openConversationId",
                "缺少openConversationId",
            ));
        }
        let sent = of_key(&shared.options, world, app, text("processQueryKey"))?;
        if sent.via != SentVia::Group {
            return Err(unknown());
        }
        if !group.is_empty() && !sent.to.iter().any(|to| to == group) {
            return Err(Refusal::bad(
                "openConversationId.notExisted",
                "openConversationId不存在",
            ));
        }
        let (sent_status, readers) = (status(sent), sent.read_by.clone());
        let (from, to) = page(body, readers.len())?;
        let page = readers.get(from..to).unwrap_or_default();
        let users: Vec<Value> = page.iter().map(|user| world.reader(user)).collect();
        let mut answer = json!({
            "sendStatus": sent_status,
            "readUserIds": page,
            "readUsers": users,
            "hasMore": to < readers.len(),
        });
        if let Some(answer) = answer.as_object_mut().filter(|_| to < readers.len()) {
            answer.insert("nextToken".into(), json!(STANDARD.encode(to.to_string())));
        }
        Ok(answer)
    })
}

/// The range of the page that is asked for.
fn page(body: &Value, readers: usize) -> Result<(usize, usize), Refusal> {
    let size = match body.get("maxResults") {
        None | Some(Value::Null) => Some(MAX_PAGE),
        Some(size) => size.as_u64().filter(|size| (1..=MAX_PAGE).contains(size)),
    };
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size =
        size.ok_or_else(|| Refusal::bad("invalidParameter.pageSize.invalid", "分页大小不合法"))?;
    let from = match body.get("nextToken").and_then(Value::as_str) {
        None | Some("") => Some(0),
        Some(token) => STANDARD
            .decode(token)
            .ok()
            .and_then(|at| String::from_utf8(at).ok()?.parse::<usize>().ok())
            .filter(|at| *at <= readers),
    };
    let from = from.ok_or_else(|| Refusal::bad("invalidParameter.cursor.invalid", "游标不合法"))?;
    Ok((from, readers.min(from + size)))
}

fn unknown() -> Refusal {
    Refusal::bad("invalid.processQueryKey", "无效的processQueryKey")
}

/// The app's send with this key, once its status exists and as long as it does.
fn of_key<'w>(
    options: &SimOptions,
    world: &'w mut World,
    app: &str,
    key: &str,
) -> Result<&'w Sent, Refusal> {
    let now = Timestamp::now();
    let sent = world.sent_under(key).filter(|sent| sent.app == app);
    let sent = sent.ok_or_else(unknown)?;
    let generated = sent.at.after(options.read_status_after) <= now;
    let lives = sent.at.after(options.key_life) > now;
    if generated && lives {
        return Ok(sent);
    }
    Err(Refusal::bad(
        "processQueryKey.expireTime",
        "processQueryKey未生成或已过期",
    ))
}

fn status(sent: &Sent) -> &'static str {
    if sent.recalled { "RECALLED" } else { "SUCCESS" }
}

impl World {
    fn reader(&self, user: &str) -> Value {
        let mut ids = self.union_ids.iter();
        let union_id = ids.find(|(_, staff)| *staff == user).map(|(id, _)| id);
        json!({"userId": user, "unionId": union_id})
    }
}
