//! Robot sends, refused calls and their faults.

use std::time::Duration;

use nats_dingtalk::sim::{
    CallRefusal, FAILED_EVENTS_PATH, Fault, GROUP_SEND_PATH, SentVia, Sim, SimOptions,
    USER_SEND_PATH,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{APP, GROUP, OTHER, PATIENCE, call, http, options, start, to_group, to_user, token};

#[tokio::test]
async fn a_send_is_written_down_with_its_key_and_parameters() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let (_, user) = call(&sim, USER_SEND_PATH, &token, to_user("one")).await;
    let (_, group) = call(&sim, GROUP_SEND_PATH, &token, to_group("two")).await;
    assert_ne!(user["processQueryKey"], group["processQueryKey"]);
    assert_eq!(user["invalidStaffIdList"], json!([]));
    let sent = sim.delivered();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].via, sent[0].text()), (SentVia::User, "one"));
    assert_eq!((sent[1].via, sent[1].text()), (SentVia::Group, "two"));
    assert_eq!(sent[1].to, [GROUP]);
    assert_eq!(sent[0].app, APP);
    assert_eq!(
        sent[0].process_query_key.as_deref(),
        user["processQueryKey"].as_str()
    );
}

/// Sends `base` with one key changed, row by row, and wants each refused with its code.
async fn each_is_refused(sim: &Sim, path: &str, base: Value, rows: &[(&str, Value, &str)]) {
    let token = token(sim).await;
    for (key, value, code) in rows {
        let mut body = base.clone();
        body[*key] = value.clone();
        let (status, answer) = call(sim, path, &token, body).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (400, Some(*code)),
            "{key}"
        );
    }
    assert_eq!(sim.sent().len(), rows.len());
    assert!(sim.delivered().is_empty());
}

#[tokio::test]
async fn bad_sends_to_users_are_refused_with_the_documented_codes() {
    let sim = start(options()).await;
    let many: Vec<String> = (0..21).map(|n| format!("u{n}")).collect();
    let rows = [
        (
            "msgParam",
            json!({"content": "x"}),
            "invalidParameter.msgParam.invalid",
        ),
        (
            "msgParam",
            json!("not json"),
            "invalidParameter.msgParam.invalid",
        ),
        (
            "msgParam",
            json!("{\"content\":5}"),
            "invalidParameter.msgParam.invalid",
        ),
        ("msgParam", json!("{}"), "miss.param.contentOfText"),
        (
            "msgKey",
            json!("sampleNone"),
            "invalidParameter.msgKey.invalid",
        ),
        ("msgKey", json!(""), "invalidParameter.msgKey.empty"),
        ("userIds", json!(many), "invalidParameter.userIds.overMax"),
        ("userIds", json!([]), "invalidParameter.userIds.empty"),
        ("robotCode", json!(OTHER), "invalidParameter.robotCode.auth"),
        (
            "robotCode",
            json!("dingnone"),
            "invalidParameter.robotCode.notExsit",
        ),
        ("robotCode", json!(""), "invalidParameter.robotCode.empty"),
    ];
    each_is_refused(&sim, USER_SEND_PATH, to_user("x"), &rows).await;
}

#[tokio::test]
async fn bad_sends_to_groups_are_refused_with_the_documented_codes() {
    let sim = start(SimOptions {
        groups: Some(vec![GROUP.to_owned()]),
        ..options()
    })
    .await;
    let long = json!({"content": "x".repeat(15_000)}).to_string();
    let rows = [
        ("msgParam", json!(long), "invalidParameter.msgParam.tooLong"),
        (
            "openConversationId",
            json!("cidNone=="),
            "invalid.openConversationId",
        ),
        ("openConversationId", json!(""), "miss.openConversationId"),
    ];
    each_is_refused(&sim, GROUP_SEND_PATH, to_group("x"), &rows).await;
}

#[tokio::test]
async fn unknown_and_flow_controlled_users_are_listed_inside_a_success() {
    let sim = start(SimOptions {
        users: Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]),
        ..options()
    })
    .await;
    sim.inject(Fault::UnknownUser {
        user: "b".to_owned(),
    })
    .await
    .unwrap();
    sim.inject(Fault::FlowControlUser {
        user: "c".to_owned(),
    })
    .await
    .unwrap();
    let token = token(&sim).await;
    let mut body = to_user("x");
    body["userIds"] = json!(["a", "b", "c", "d"]);
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["invalidStaffIdList"], json!(["b", "d"]));
    assert_eq!(answer["flowControlledStaffIdList"], json!(["c"]));
    assert_eq!(sim.sent()[0].to, ["a"]);
    let mut body = to_user("x");
    body["userIds"] = json!(["b"]);
    assert_eq!(call(&sim, USER_SEND_PATH, &token, body).await.0, 200);
    assert_eq!(sim.delivered().len(), 1);
}

#[tokio::test]
async fn the_rate_limit_counts_per_app_and_path() {
    let sim = start(SimOptions {
        calls_per_second: Some(3),
        ..options()
    })
    .await;
    let token = token(&sim).await;
    for _ in 0..3 {
        assert_eq!(
            call(&sim, USER_SEND_PATH, &token, to_user("x")).await.0,
            200
        );
    }
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
    assert_eq!(status, 403);
    assert_eq!(
        answer["code"],
        "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"
    );
    assert_eq!(
        call(&sim, GROUP_SEND_PATH, &token, to_group("x")).await.0,
        200
    );
    assert_eq!(sim.delivered().len(), 4);
    // The block lasts a second, whatever is tried meanwhile.
    let refused_at = tokio::time::Instant::now();
    while call(&sim, USER_SEND_PATH, &token, to_user("x")).await.0 == 403 {
        assert!(refused_at.elapsed() < PATIENCE);
    }
    assert!(refused_at.elapsed() > Duration::from_millis(800));
}

#[tokio::test]
async fn an_unknown_path_is_refused_in_the_v1_form() {
    let sim = start(options()).await;
    let (status, body) = call(&sim, "/v1.0/calendar/events", "", json!({})).await;
    assert_eq!(status, 404);
    assert!(body["code"].is_string() && body["requestid"].is_string());
}

#[tokio::test]
async fn call_faults_tell_applied_from_not_applied() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let path = || USER_SEND_PATH.to_owned();
    let times = Some(1);
    for (fault, status, delivered) in [
        (
            Fault::Reject {
                path: path(),
                status: 502,
                body: "<html>".to_owned(),
                times,
            },
            502,
            0,
        ),
        (
            Fault::ApplyThenFail {
                path: "/v1.0/robot/*".to_owned(),
                status: 500,
                times,
            },
            500,
            1,
        ),
        (
            Fault::Delay {
                path: path(),
                ms: 50,
                times,
            },
            200,
            2,
        ),
    ] {
        sim.inject(fault.clone()).await.unwrap();
        let (got, _) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
        assert_eq!(got, status, "{fault:?}");
        assert_eq!(sim.delivered().len(), delivered, "{fault:?}");
    }
    for (fault, delivered) in [
        (
            Fault::Hold {
                path: path(),
                times,
            },
            2,
        ),
        (
            Fault::ApplyThenHold {
                path: path(),
                times,
            },
            3,
        ),
        (
            Fault::CutCall {
                path: path(),
                times,
            },
            3,
        ),
        (
            Fault::ApplyThenCut {
                path: path(),
                times,
            },
            4,
        ),
    ] {
        sim.inject(fault.clone()).await.unwrap();
        let lost = http()
            .post(format!("{}{USER_SEND_PATH}", sim.api_url()))
            .header("x-acs-dingtalk-access-token", &token)
            .timeout(Duration::from_millis(500))
            .json(&to_user("x"))
            .send()
            .await
            .unwrap_err();
        let held = matches!(fault, Fault::Hold { .. } | Fault::ApplyThenHold { .. });
        assert_eq!(lost.is_timeout(), held, "{fault:?}: {lost:?}");
        assert_eq!(sim.delivered().len(), delivered, "{fault:?}");
    }
    assert_eq!(
        call(&sim, USER_SEND_PATH, &token, to_user("x")).await.0,
        200
    );
    let calls = sim.calls_of(USER_SEND_PATH);
    assert_eq!(calls[3].fault, Some("hold"));
    assert_eq!(calls[3].status, None);
    timeout(PATIENCE, sim.stop())
        .await
        .expect("held calls keep the simulator up");
}

#[tokio::test]
async fn a_conversation_among_the_users_is_refused_and_an_encrypted_id_is_invalid() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    let mut body = to_user("x");
    body["userIds"] = json!([GROUP]);
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, body).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("staffId.notExisted"))
    );
    let mut body = to_user("x");
    body["userIds"] = json!(["$:LWCP_v1:$abc=="]);
    let (status, answer) = call(&sim, USER_SEND_PATH, &token, body).await;
    assert_eq!(
        (status, &answer["invalidStaffIdList"][0]),
        (200, &json!("$:LWCP_v1:$abc=="))
    );
    assert!(sim.delivered().is_empty());
}

#[tokio::test]
async fn each_refusal_of_a_call_has_its_status_and_applies_nothing() {
    let sim = start(options()).await;
    let token = token(&sim).await;
    for (how, status, code) in [
        (CallRefusal::InvalidToken, 400, "InvalidAuthentication"),
        (
            CallRefusal::Permission,
            403,
            "Forbidden.AccessDenied.AccessTokenPermissionDenied",
        ),
        (
            CallRefusal::Qpm,
            403,
            "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi",
        ),
        (
            CallRefusal::MonthlyQuota,
            403,
            "Forbidden.AccessDenied.ApiCountLimitForOrg",
        ),
        (CallRefusal::EmptyForbidden, 403, ""),
        (CallRefusal::SystemError, 500, "system.error"),
        (CallRefusal::UnknownSendResult, 400, "unknown.send.result"),
        (CallRefusal::GatewayTimeout, 504, "service.timeout"),
        (CallRefusal::Html, 502, ""),
    ] {
        let path = USER_SEND_PATH.to_owned();
        sim.inject(Fault::Refuse {
            path,
            how,
            times: Some(1),
        })
        .await
        .unwrap();
        let (got, answer) = call(&sim, USER_SEND_PATH, &token, to_user("x")).await;
        assert_eq!(
            (got, answer["code"].as_str().unwrap_or("")),
            (status, code),
            "{how:?}"
        );
    }
    assert!(sim.sent().is_empty());
}

#[tokio::test]
async fn failed_events_are_listed_once() {
    let sim = start(SimOptions {
        event_retries: Vec::new(),
        ..options()
    })
    .await;
    sim.emit_event(APP, "user_add_org", json!({"userId": ["u1"]}))
        .await
        .unwrap();
    assert_eq!(sim.failed_events().len(), 1);
    let url = format!(
        "{}{FAILED_EVENTS_PATH}?access_token={}",
        sim.oapi_url(),
        token(&sim).await
    );
    let list = async || -> Value { http().get(&url).send().await.unwrap().json().await.unwrap() };
    let first = list().await;
    assert_eq!(first["failed_list"][0]["call_back_tag"], "user_add_org");
    assert_eq!(
        first["failed_list"][0]["user_add_org"],
        json!({"userId": ["u1"]})
    );
    assert_eq!(list().await["failed_list"], json!([]));
}
