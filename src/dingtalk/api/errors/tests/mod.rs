//! Every code of the reference tables, and every shape of an answer.

mod cards;
mod media;
mod tokens;
mod webhooks;

use std::time::Duration;

use serde_json::json;

use super::calendar::until_next_month;
use super::judge::BAN;
use super::refusal::HOLD;
use super::*;
use crate::dingtalk::api::ErrorClass;
use crate::dingtalk::api::answer::Answer;
use crate::message::Timestamp;
use crate::telemetry::ApiOutcome;

/// 20 November 2026, 18:00:15.250 in Shanghai.
const NOW: Timestamp = Timestamp::from_millis(1_795_168_815_250);

fn answer(status: u16, body: impl ToString) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: body.to_string(),
    }
}

fn refusal(call: Call, status: u16, body: impl ToString) -> Refusal {
    judge(call, &answer(status, body), NOW).unwrap_err()
}

/// The refusal of a code in the envelope of the v1.0 API.
fn named(status: u16, code: &str) -> Refusal {
    let body = json!({"code": code, "requestid": "R", "message": "words"});
    let refusal = refusal(Call::Robot, status, body);
    assert_eq!(refusal.error.code, code);
    assert_eq!(refusal.error.message, "words");
    refusal
}

/// The refusal of an errcode by a webhook, as a number; the same as a string is asserted.
fn numbered(errcode: i64) -> Refusal {
    let number = refusal(
        Call::Webhook,
        200,
        json!({"errcode": errcode, "errmsg": "words"}),
    );
    let text = json!({"errcode": errcode.to_string(), "errmsg": "words"});
    assert_eq!(number, refusal(Call::Webhook, 200, text));
    assert_eq!(number.error.code, errcode.to_string());
    number
}

fn seconds(wait: u64) -> ErrorClass {
    ErrorClass::RetryAfter(Duration::from_secs(wait))
}

#[test]
fn permanent_codes_of_the_robot_api_are_permanent() {
    // Codes that a person can cure stand with a word of the cure.
    let table = [
        ("invalidParameter.robotCode.empty", "robot_code"),
        ("invalidParameter.robotCode.missing", "robot_code"),
        ("invalidParameter.robotCode.invalid", "robot_code"),
        ("invalidParameter.robotCode.notExsit", "机器人"),
        ("resource.not.found", "机器人"),
        ("invalidParameter.robotCode.auth", "Client ID"),
        ("invalidParameter.robotCode.coolApp", "酷应用"),
        ("invalidParameter.userIds.empty", "staffId"),
        ("invalidParameter.userIds.overMax", "20"),
        ("invalidParameter.userId.empty", "staffId"),
        ("staffId.notExisted", "staffId"),
        ("invalidParameter.msgKey.empty", ""),
        ("invalidParameter.msgKey.invalid", ""),
        ("invalidParameter.msgParam.invalid", ""),
        ("invalidParameter.msgParam.tooLong", "less"),
        ("invalidParameter.param.invalid", ""),
        ("invalidParameter.msg.unsupport", ""),
        ("invalidParameter.msgBody.invalid", ""),
        ("miss.param.contentOfText", ""),
        ("miss.param.video", ""),
        ("invalid.param.whatever", ""),
        ("miss.openConversationId", ""),
        ("invalid.openConversationId", ""),
        ("conversation.org.notMatch", ""),
        ("group.disbanded", ""),
        ("group.nonexist", ""),
        ("bot.stopped", "机器人"),
        ("template.stopped", "template"),
        ("template.not.existed", "template"),
        ("bot.forbidden.sendMessage", "群管理"),
        ("send.forbidden", "群管理"),
        ("chatbotId.notAllow.sendOTO", "publish"),
        ("robot.oto.notExist", "publish"),
        ("token.notExisted", ""),
        ("invalidParameter.token.invalid", ""),
        ("unauthorized", "qyapi_robot_sendmsg"),
        ("auth.error", "qyapi_robot_sendmsg"),
        ("auth.failed", "qyapi_robot_sendmsg"),
        ("resource.unavailable", "权限管理"),
        ("session.notExisted", ""),
        ("session.expired", ""),
        ("contain.unsafe.url", ""),
        ("contain.notAllowed.text", ""),
        ("contain.notAllowed.picture", ""),
        ("contain.notAllowed.content", ""),
        ("illegal.receivers", ""),
        ("receivers.exceed", ""),
        ("illegal.excludes", ""),
        ("sendMessage.model.notMatch", ""),
        ("only.groupAdmin.canAtAll", "群管理"),
        ("ip.not.match", "安全设置"),
        ("keywords.not.match", "安全设置"),
        ("sign.not.match", "安全设置"),
        ("Missingbody", ""),
        ("batch.toolarge", "20"),
        ("a.code.that.nobody.knows", ""),
    ];
    for (code, cure) in table {
        let refusal = named(400, code);
        assert_eq!(refusal.error.class, ErrorClass::Permanent, "{code}");
        assert_eq!(refusal.lesson, Lesson::None, "{code}");
        assert_eq!(refusal.error.cure.is_some(), !cure.is_empty(), "{code}");
        assert!(
            refusal.error.cure.unwrap_or_default().contains(cure),
            "{code}"
        );
    }
}

#[test]
fn limits_of_one_chat_are_retried_without_slowing_the_others() {
    for code in [
        "send.too.fast",
        "send.byToken.tooFast",
        "too.many.group",
        "too.many.people",
        "group.notReady",
        "group.creating",
    ] {
        let refusal = named(400, code);
        assert_eq!(refusal.error.class, seconds(2), "{code}");
        assert_eq!(refusal.lesson, Lesson::Later, "{code}");
        assert_eq!(refusal.outcome(), ApiOutcome::Throttled, "{code}");
    }
}

#[test]
fn rate_limits_come_before_the_permissions_that_share_their_prefix() {
    for code in [
        "QpsLimitForAppkeyAndApi",
        "QpsLimitForApi",
        "QpsLimitForSuitekeyAndOrgAndApi",
    ] {
        let refusal = named(403, &format!("Forbidden.AccessDenied.{code}"));
        assert_eq!(refusal.error.class, seconds(1), "{code}");
        assert_eq!(
            refusal.lesson,
            Lesson::TooFast(Duration::from_secs(1)),
            "{code}"
        );
    }
    for code in ["QpmLimitForAppkeyAndApi", "QpmLimitForSuitekeyAndOrgAndApi"] {
        let refusal = named(403, &format!("Forbidden.AccessDenied.{code}"));
        let next_minute = Duration::from_millis(44_750);
        assert_eq!(
            refusal.error.class,
            ErrorClass::RetryAfter(next_minute),
            "{code}"
        );
        assert_eq!(refusal.lesson, Lesson::TooFast(next_minute), "{code}");
    }
    for code in ["Throttling.Api", "Throttling.User"] {
        assert_eq!(named(400, code).error.class, seconds(1), "{code}");
    }
    let scopes = json!({"code": "Forbidden.AccessDenied.AccessTokenPermissionDenied", "message": "m",
        "accessdenieddetail": {"requiredScopes": ["Card.Streaming.Write", "qyapi_robot_sendmsg"]}});
    let refusal = refusal(Call::Robot, 403, scopes);
    assert_eq!(refusal.error.class, ErrorClass::Permanent);
    let cure = refusal.error.cure.unwrap();
    assert!(
        cure.contains("grant Card.Streaming.Write, qyapi_robot_sendmsg under 权限管理"),
        "{cure}"
    );
    let general = named(403, "Forbidden.AccessDenied.SomethingNew");
    assert_eq!(general.error.class, ErrorClass::Permanent);
    assert!(general.error.cure.unwrap().contains("qyapi_robot_sendmsg"));
}

#[test]
fn what_only_a_person_can_cure_parks_the_account() {
    let address = named(403, "Forbidden.AccessDenied.IpNotInWhiteList");
    assert_eq!(address.error.class, ErrorClass::Park(HOLD));
    assert!(address.error.cure.unwrap().contains("服务器出口IP"));
    for code in [
        "invalidClientIdOrSecret",
        "invalid.client",
        "unauthorized.client",
    ] {
        let refusal = named(400, code);
        assert_eq!(refusal.error.class, ErrorClass::Park(HOLD), "{code}");
        assert!(
            refusal.error.cure.unwrap().contains("凭证与基础信息"),
            "{code}"
        );
    }
    let quota = named(403, "Forbidden.AccessDenied.ApiCountLimitForOrg");
    // To the first of December, midnight in Shanghai.
    let left = Duration::from_millis(((10 * 24 + 6) * 3600 - 15) * 1000 - 250);
    assert_eq!(quota.error.class, ErrorClass::Quota(left));
    assert!(quota.error.cure.is_some());
    for code in [90020, 90030] {
        assert_eq!(
            numbered(code).error.class,
            ErrorClass::Quota(left),
            "{code}"
        );
    }
    for code in [40089, 60020] {
        assert_eq!(numbered(code).error.class, ErrorClass::Park(HOLD), "{code}");
    }
}

#[test]
fn the_month_turns_in_shanghai() {
    let at = |text: &str| until_next_month(Timestamp::parse(text).unwrap());
    assert_eq!(at("2026-12-31T15:59:59Z"), Duration::from_secs(1));
    assert_eq!(at("2026-12-31T16:00:00Z"), Duration::from_secs(31 * 86_400));
    assert_eq!(at("2028-02-29T00:00:00+08:00"), Duration::from_secs(86_400));
}

#[test]
fn in_doubt_means_ambiguous() {
    let doubtful = [
        (400, "unknown.send.result"),
        (500, "system.error"),
        (500, "send.ding.exception"),
        (500, "system.busy"),
        (500, "server.error"),
        (500, "internalError"),
        (500, "unknownError"),
        (504, "service.timeout"),
    ];
    for (status, code) in doubtful {
        let refusal = named(status, code);
        assert_eq!(
            refusal.error.class,
            ErrorClass::Ambiguous,
            "{status} {code}"
        );
        assert_eq!(refusal.outcome(), ApiOutcome::Ambiguous);
    }
    for status in [500, 502, 504, 599] {
        for body in ["", "<html>bad gateway</html>", "upstream timed out", "[]"] {
            let refusal = refusal(Call::Robot, status, body);
            assert_eq!(
                refusal.error.class,
                ErrorClass::Ambiguous,
                "{status} {body}"
            );
            assert_eq!(refusal.error.code, format!("http-{status}"));
        }
    }
    for body in ["", "ok", "[]", "{\"processQueryKey\":"] {
        assert_eq!(
            refusal(Call::Robot, 200, body).error.class,
            ErrorClass::Ambiguous,
            "{body}"
        );
    }
    for body in ["{}", "{\"errcode\":{}}", "ok"] {
        assert_eq!(
            refusal(Call::Webhook, 200, body).error.class,
            ErrorClass::Ambiguous,
            "{body}"
        );
    }
}

#[test]
fn busy_without_doubt_is_retried() {
    for (status, code) in [
        (503, "serviceBusy"),
        (503, "operationTimeout"),
        (503, "system.error"),
        (400, "system.busy"),
    ] {
        let refusal = named(status, code);
        assert_eq!(refusal.error.class, seconds(2), "{status} {code}");
        assert_eq!(refusal.outcome(), ApiOutcome::Failed);
    }
    for code in ["system.busy", "systemBusy", "whatever"] {
        let refusal = named(429, code);
        assert_eq!(
            refusal.lesson,
            Lesson::TooFast(Duration::from_secs(1)),
            "{code}"
        );
    }
    for (status, body) in [(503, ""), (503, "<html>"), (408, "")] {
        assert_eq!(
            refusal(Call::Robot, status, body).error.class,
            seconds(2),
            "{status}"
        );
    }
    let asked = Answer {
        retry_after: Some(Duration::from_secs(7)),
        ..answer(429, "")
    };
    let refusal = judge(Call::Robot, &asked, NOW).unwrap_err();
    assert_eq!(refusal.error.class, seconds(7));
    let endless = Answer {
        retry_after: Some(Duration::from_secs(u64::MAX)),
        ..answer(503, "")
    };
    let refusal = judge(Call::Robot, &endless, NOW).unwrap_err();
    assert_eq!(refusal.error.class, seconds(600));
}

#[test]
fn a_banned_address_waits_five_minutes() {
    let ban = json!({"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"xxx"});
    for status in [200, 403, 429, 503] {
        let refusal = refusal(Call::Robot, status, &ban);
        assert_eq!(refusal.error.class, seconds(300), "{status}");
        assert_eq!(refusal.lesson, Lesson::Banned(BAN));
        assert_eq!(refusal.outcome(), ApiOutcome::Throttled);
    }
    for status in [200, 403, 405] {
        let page = refusal(
            Call::Webhook,
            status,
            "\u{feff} <!DOCTYPE html><html>1111</html>",
        );
        assert_eq!(page.error.class, seconds(300), "{status}");
    }
}

#[test]
fn a_refusal_inside_http_200_is_one() {
    let refused = json!({"success":false,"errorCode":"staffId.notExisted","errorMsg":"m"});
    let refused = refusal(Call::Robot, 200, refused).error;
    assert_eq!(
        (refused.code.as_str(), refused.message.as_str()),
        ("staffId.notExisted", "m")
    );
    let bare = refusal(Call::Robot, 200, json!({"success":false})).error;
    assert_eq!(bare.class, ErrorClass::Permanent);
    let code = json!({"code":"system.error","message":"m"});
    assert_eq!(
        refusal(Call::Robot, 200, code).error.class,
        ErrorClass::Ambiguous
    );
    assert!(judge(Call::Robot, &answer(200, r#"{"processQueryKey":"k"}"#), NOW).is_ok());
    assert!(
        judge(
            Call::Robot,
            &answer(200, r#"{"invalidStaffIdList":["a"]}"#),
            NOW
        )
        .is_ok()
    );
}

#[test]
fn bodies_without_words_are_judged_by_their_status() {
    let table = [
        (301, ErrorClass::Park(HOLD)),
        (407, ErrorClass::Park(HOLD)),
        (400, ErrorClass::Permanent),
        (403, ErrorClass::Permanent),
        (404, ErrorClass::Permanent),
        (413, ErrorClass::Permanent),
    ];
    for (status, class) in table {
        for body in ["", "nothing", "{}"] {
            let error = refusal(Call::Robot, status, body).error;
            assert_eq!(error.class, class, "{status} {body}");
            assert_eq!(error.code, format!("http-{status}"));
            assert!(!error.message.is_empty());
        }
    }
}

#[test]
fn only_an_unsent_call_is_retried_when_no_answer_comes() {
    let class = |missing| lost(Call::Robot, &missing).error.class;
    assert_eq!(class(Lost::Unsent(String::new())), seconds(1));
    assert_eq!(class(Lost::Late), ErrorClass::Ambiguous);
    assert_eq!(class(Lost::Broken(String::new())), ErrorClass::Ambiguous);
    assert_eq!(
        class(Lost::Unwritable(String::new())),
        ErrorClass::Permanent
    );
}
