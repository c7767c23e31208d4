//! Robots take their messages back (oapi.md, sections 3.1 and 3.2). Cards are taken back by the key of
//! what carries them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::errors::Refusal;
use super::robot::{check_group, check_robot};
use super::{RECALL_GROUP_PATH, RECALL_USER_PATH};
use crate::message::Timestamp;
use crate::sim::record::{Sent, SentVia};
use crate::sim::state::{Shared, World};

/// Keys that one call may name.
const MAX_KEYS: usize = 20;

pub(super) async fn from_users(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.v1_call(&headers, &body, RECALL_USER_PATH, |world, app, body| {
        let code = body.get("robotCode").and_then(Value::as_str);
        if code.unwrap_or_default().is_empty() {
            return Err(Refusal::bad(
                "invalidParameter.robotCode",
                "无效的robotCode",
            ));
        }
        check_robot(world, app, body).map_err(|_| not_allowed())?;
        let keys = keys(body)?;
        recall(world, app, &keys, &From::Users(shared.options.key_life))
    })
}

pub(super) async fn from_group(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.v1_call(&headers, &body, RECALL_GROUP_PATH, |world, app, body| {
        check_robot(world, app, body)?;
        check_group(world, body)?;
        let keys = keys(body)?;
        let group = body.get("openConversationId").and_then(Value::as_str);
        let group = group.unwrap_or_default().to_owned();
        let from = From::Group(shared.options.key_life, group);
        recall(world, app, &keys, &from)
    })
}

/// Where messages are taken back from, and for how long they can be.
enum From {
    Users(Duration),
    Group(Duration, String),
}

impl From {
    fn holds(&self, sent: &Sent) -> bool {
        match self {
            Self::Users(_) => sent.via == SentVia::User,
            Self::Group(_, group) => sent.via == SentVia::Group && sent.to.contains(group),
        }
    }

    fn holds_chat(&self, chat: &str) -> bool {
        match self {
            Self::Users(_) => true,
            Self::Group(_, group) => group == chat,
        }
    }

    fn window(&self) -> Duration {
        match self {
            Self::Users(window) | Self::Group(window, _) => *window,
        }
    }
}

fn not_allowed() -> Refusal {
    Refusal::bad("not.allowed.robotCode", "消息不是该机器人发送的")
}

fn keys(body: &Value) -> Result<Vec<String>, Refusal> {
    let missing = || {
        Refusal::bad(
            "invalidParameter.processQueryKey.missing",
            "缺少processQueryKey",
        )
    };
    let invalid = || Refusal::bad("invalidParameter.param.invalid", "参数不合法");
    let keys = body.get("processQueryKeys").ok_or_else(missing)?;
    let keys = keys.as_array().ok_or_else(invalid)?;
    if keys.is_empty() {
        return Err(missing());
    }
    if keys.len() > MAX_KEYS {
        return Err(Refusal::bad(
            "invalidParameter.processQueryKeys.overMax",
            "processQueryKeys超限",
        ));
    }
    let keys = keys.iter().map(|key| key.as_str().map(str::to_owned));
    keys.collect::<Option<_>>().ok_or_else(invalid)
}

/// Takes back what can be; a key that cannot is listed with its reason inside the success.
fn recall(
    world: &mut World,
    app: &Arc<str>,
    keys: &[String],
    from: &From,
) -> Result<Value, Refusal> {
    for key in keys {
        let foreign = world.sent_under(key).is_some_and(|sent| *sent.app != **app);
        if foreign || world.carrier_mut(key).is_some_and(|card| card.app != *app) {
            return Err(not_allowed());
        }
    }
    let mut done = Vec::new();
    let mut failed = Map::new();
    for key in keys {
        match recall_one(world, key, from) {
            Ok(()) => done.push(key),
            Err(reason) => {
                failed.insert(key.clone(), json!(reason));
            }
        }
    }
    Ok(json!({"successResult": done, "failedResult": failed}))
}

fn recall_one(world: &mut World, key: &str, from: &From) -> Result<(), &'static str> {
    const UNKNOWN: &str = "invalid.processQueryKey";
    if let Some(card) = world.carrier_mut(key) {
        if !from.holds_chat(&card.chat) {
            return Err(UNKNOWN);
        }
        card.recalled = true;
        if let Some(sent) = world.sent_under(key) {
            sent.recalled = true;
        }
        return Ok(());
    }
    let sent = world.sent_under(key).filter(|sent| from.holds(sent));
    let sent = sent.ok_or(UNKNOWN)?;
    if sent.at.after(from.window()) <= Timestamp::now() {
        return Err("robot.processQueryKey.expired");
    }
    sent.recalled = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::carrier::Carrier;
    use crate::sim::options::{SimApp, SimOptions};

    #[test]
    fn a_card_is_taken_back_by_its_carrier_from_its_own_chat_and_robot() {
        let apps = vec![SimApp::new("one", "s"), SimApp::new("two", "s")];
        let options = SimOptions {
            apps,
            ..SimOptions::default()
        };
        let shared = Shared::new(options, String::new(), String::new());
        let mut world = shared.world();
        let (one, two): (Arc<str>, Arc<str>) = (Arc::from("one"), Arc::from("two"));
        let card = Carrier {
            app: Arc::clone(&one),
            chat: "cidA==".to_owned(),
            recalled: false,
        };
        world.carriers.insert("carrier".to_owned(), card);
        let keys = ["carrier".to_owned()];
        let from = |group: &str| From::Group(Duration::ZERO, group.to_owned());
        let elsewhere = recall(&mut world, &one, &keys, &from("cidB==")).unwrap();
        assert_eq!(elsewhere["successResult"], json!([]));
        assert!(recall(&mut world, &two, &keys, &from("cidA==")).is_err());
        assert!(!world.carriers["carrier"].recalled);
        let taken = recall(&mut world, &one, &keys, &from("cidA==")).unwrap();
        assert_eq!(taken["successResult"], json!(["carrier"]));
        assert!(world.carriers["carrier"].recalled);
    }
}
