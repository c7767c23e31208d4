//! Every code of the reference tables, and every shape of an answer.

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
fn every_shape_of_an_invalid_token_is_known() {
    let shapes = [
        (
            400,
            json!({"code":"InvalidAuthentication","message":"不合法的access_token"}).to_string(),
        ),
        (401, String::new()),
        (
            401,
            json!({"code":"unauthorized","message":"m"}).to_string(),
        ),
        (
            200,
            json!({"errcode":40014,"errmsg":"不合法的access_token"}).to_string(),
        ),
        (200, json!({"errcode":"42001","errmsg":"m"}).to_string()),
        (200, json!({"errcode":40001,"errmsg":"m"}).to_string()),
        (200, json!({"errcode":41001,"errmsg":"m"}).to_string()),
        (
            200,
            json!({"errcode":88,"sub_code":"40014","sub_msg":"不合法的access_token"}).to_string(),
        ),
    ];
    for (status, body) in shapes {
        let robot = refusal(Call::Robot, status, &body);
        assert_eq!(robot.lesson, Lesson::Token, "{body}");
        assert_eq!(robot.error.class, ErrorClass::Park(HOLD), "{body}");
        let webhook = refusal(Call::Webhook, status, &body);
        assert_eq!(webhook.error.class, ErrorClass::WebhookGone, "{body}");
        assert_eq!(webhook.lesson, Lesson::None, "{body}");
    }
    let other = json!({"errcode":88,"sub_code":"60011","sub_msg":"no permission"});
    let other = refusal(Call::Robot, 200, other);
    assert_eq!(
        (other.error.code.as_str(), other.error.class),
        ("60011", ErrorClass::Permanent)
    );
    assert!(other.error.cure.unwrap().contains("权限管理"));
}

#[test]
fn every_errcode_of_a_webhook_is_known() {
    use ErrorClass::{Permanent, WebhookGone};
    let table = [
        (-1, seconds(2)),
        (88, Permanent),
        (33012, Permanent),
        (34015, seconds(2)),
        (34016, Permanent),
        (40003, Permanent),
        (40035, Permanent),
        (43004, Permanent),
        (60011, Permanent),
        (60121, Permanent),
        (90002, seconds(1)),
        (90006, seconds(1)),
        (90018, seconds(1)),
        (90019, seconds(1)),
        (101_002, Permanent),
        (130_101, seconds(60)),
        (300_001, WebhookGone),
        (300_005, WebhookGone),
        (302_033, seconds(60)),
        (310_000, Permanent),
        (400_013, Permanent),
        (400_101, WebhookGone),
        (400_102, Permanent),
        (400_105, Permanent),
        (400_106, Permanent),
        (410_100, seconds(60)),
        (430_101, Permanent),
        (430_102, Permanent),
        (430_103, Permanent),
        (430_104, Permanent),
        (460_101, Permanent),
        (999_999, Permanent),
    ];
    for (errcode, class) in table {
        assert_eq!(numbered(errcode).error.class, class, "{errcode}");
    }
    for errcode in [130_101, 302_033, 410_100] {
        assert_eq!(numbered(errcode).lesson, Lesson::Muted, "{errcode}");
    }
    for errcode in [60011, 60020, 310_000, 400_102, 400_106, 40089] {
        assert!(numbered(errcode).error.cure.is_some(), "{errcode}");
    }
    assert!(judge(Call::Webhook, &answer(200, r#"{"errcode":"0"}"#), NOW).is_ok());
    assert!(
        judge(
            Call::Webhook,
            &answer(200, r#"{"errcode":0,"errmsg":"ok"}"#),
            NOW
        )
        .is_ok()
    );
    for status in [404, 410] {
        assert_eq!(refusal(Call::Webhook, status, "").error.class, WebhookGone);
    }
    for code in ["session.expired", "session.notExisted", "token.notExisted"] {
        let body = json!({"code": code, "message": "m"});
        assert_eq!(
            refusal(Call::Webhook, 400, body).error.class,
            WebhookGone,
            "{code}"
        );
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
fn a_token_call_is_never_ambiguous_and_never_permanent() {
    for status in 200..600 {
        for body in [
            "",
            "<html>",
            "{\"code\":\"unknown.send.result\"}",
            "{\"code\":\"x\"}",
        ] {
            let class = refusal(Call::Token, status, body).error.class;
            let fine = matches!(class, ErrorClass::RetryAfter(_) | ErrorClass::Park(_));
            assert!(fine || body.starts_with("{}"), "{status} {body} {class:?}");
        }
    }
    for missing in [
        Lost::Late,
        Lost::Broken(String::new()),
        Lost::Unsent(String::new()),
    ] {
        let class = lost(Call::Token, &missing).error.class;
        assert!(matches!(class, ErrorClass::RetryAfter(_)), "{missing:?}");
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

#[test]
fn a_card_refusal_is_found_at_every_level_of_a_success() {
    let refused = |call, body: &serde_json::Value| refusal(call, 200, body).error;
    let element = json!({"success": false, "errorMsg": "spaceId is illegal"});
    for body in [
        json!({"success": false, "errorMsg": "spaceId is illegal"}),
        json!({"success": true, "result": [element]}),
        json!({"success": true, "result": [{"success": true}, element]}),
        json!({"success": true, "result": {"outTrackId": "o", "deliverResults": [element]}}),
        json!({"success": true, "result": {"success": false, "errorMsg": "spaceId is illegal"}}),
        json!({"deliverResults": [element], "success": true}),
    ] {
        let error = refused(Call::Card, &body);
        assert_eq!(error.class, ErrorClass::Permanent, "{body}");
        assert_eq!(error.message, "spaceId is illegal", "{body}");
    }
    let coded =
        json!({"success": true, "result": [{"success": false, "errorCode": "system.busy"}]});
    assert_eq!(refused(Call::Card, &coded).class, seconds(2));
    let flat = json!({"success": true, "result": false});
    assert_eq!(
        refused(Call::CardStream, &flat).class,
        ErrorClass::Permanent
    );
    // A success that says nothing of one is in doubt.
    assert_eq!(
        refused(Call::CardStream, &json!({})).class,
        ErrorClass::Ambiguous
    );
    for body in [
        json!({"success": true, "result": true}),
        json!({"success": true, "result": "outTrackId"}),
        json!({"success": "true", "result": [{"success": true, "carrierId": "c", "errorMsg": ""}]}),
    ] {
        assert!(
            judge(Call::Card, &answer(200, &body), NOW).is_ok(),
            "{body}"
        );
    }
}

#[test]
fn card_errors_name_their_cure() {
    for (call, status, code, cure) in [
        (Call::Card, 400, "param.templateNotExist", "card_template"),
        (Call::Card, 400, "param.templateUnpublished", "卡片平台"),
        (Call::Card, 400, "param.userIdNotExist", "staffId"),
        (Call::Card, 400, "param.openSpaceIdInvalid", "group"),
        (Call::Card, 400, "param.cardAlreadyExist", ""),
        (Call::Card, 400, "param.contentUnsafe", ""),
        (Call::Card, 400, "outTrackId.outOfLimit", "64"),
        (Call::CardStream, 400, "param.stream.outTrackId", ""),
        (Call::CardStream, 400, "param.stream.content", "less"),
        (Call::CardStream, 500, "unknownError", "card_key"),
    ] {
        let body = json!({"code": code, "message": code, "requestid": "R"});
        let error = refusal(call, status, body).error;
        assert_eq!(error.class, ErrorClass::Permanent, "{code}");
        assert!(error.cure.unwrap_or_default().contains(cure), "{code}");
    }
    let missing =
        json!({"code": "Forbidden.AccessDenied.AccessTokenPermissionDenied", "message": "m"});
    for (call, scope) in [
        (Call::Card, "Card.Instance.Write"),
        (Call::CardStream, "Card.Streaming.Write"),
        (Call::Upload, "qyapi_base"),
        (Call::Recall, "qyapi_robot_sendmsg"),
    ] {
        let error = refusal(call, 403, &missing).error;
        assert!(error.cure.unwrap().contains(scope), "{scope}");
    }
}

#[test]
fn media_errors_are_permanent_and_what_shows_nothing_is_never_in_doubt() {
    for (code, cure) in [
        (40004, "mp4"),
        (40005, "pdf"),
        (40006, "20 MB"),
        (41005, "empty"),
        (44001, "empty"),
        (45001, "20 MB"),
        (43008, ""),
        (60011, "qyapi_base"),
    ] {
        let error = refusal(Call::Upload, 200, json!({"errcode": code, "errmsg": "m"})).error;
        assert_eq!(error.class, ErrorClass::Permanent, "{code}");
        assert!(error.cure.unwrap_or_default().contains(cure), "{code}");
    }
    let gateway = refusal(
        Call::Upload,
        413,
        "<html>413 Request Entity Too Large</html>",
    );
    assert_eq!(gateway.error.class, ErrorClass::Permanent);
    let token = refusal(Call::Upload, 200, json!({"errcode": 40014, "errmsg": "m"}));
    assert_eq!(token.lesson, Lesson::Token);
    let topapi = json!({"errcode": 88, "sub_code": "40014", "sub_msg": "m"});
    assert_eq!(refusal(Call::Contact, 200, topapi).lesson, Lesson::Token);
    for call in [Call::Upload, Call::Query, Call::Contact] {
        let gateway = refusal(call, 502, "");
        assert_eq!(gateway.error.class, seconds(2), "{call:?}");
        assert!(gateway.billed, "{call:?}");
        assert_eq!(lost(call, &Lost::Late).error.class, seconds(2), "{call:?}");
    }
    for call in [Call::Card, Call::CardStream, Call::Recall, Call::Emotion] {
        assert_eq!(lost(call, &Lost::Late).error.class, ErrorClass::Ambiguous);
    }
}

#[test]
fn a_key_of_just_now_is_asked_for_again_but_not_recalled_again() {
    let body = json!({"code": "processQueryKey.expireTime", "message": "m"});
    assert_eq!(refusal(Call::Query, 400, &body).error.class, seconds(2));
    assert_eq!(
        refusal(Call::Recall, 400, &body).error.class,
        ErrorClass::Permanent
    );
    for code in ["not.allowed.robotCode", "robot.processQueryKey.expired"] {
        let body = json!({"code": code, "message": "m"});
        let error = refusal(Call::Recall, 400, body).error;
        assert_eq!(error.class, ErrorClass::Permanent);
        assert!(error.cure.unwrap().contains("24 hours"));
    }
}

#[test]
fn a_custom_robot_is_parked_for_what_concerns_all_its_posts() {
    let error = |errcode: i64, errmsg: &str| {
        let body = json!({"errcode": errcode, "errmsg": errmsg});
        refusal(Call::CustomRobot, 200, body).error
    };
    for (errcode, errmsg, cure) in [
        (300_001, "token is not exist", "webhook"),
        (300_005, "token is not exist", "webhook"),
        (400_101, "access_token不存在", "webhook"),
        (310_000, "sign not match", "安全设置"),
        (310_000, "ip 1.2.3.4 not in whitelist", "安全设置"),
        (310_000, "invalid timestamp", "clock"),
    ] {
        let error = error(errcode, errmsg);
        assert_eq!(error.class, ErrorClass::Park(HOLD), "{errmsg}");
        assert!(error.cure.unwrap().contains(cure), "{errmsg}");
    }
    let keywords = error(310_000, "keywords not in content");
    assert_eq!(keywords.class, ErrorClass::Permanent);
    for errcode in [130_101, 302_033, 410_100] {
        assert_eq!(error(errcode, "send too fast").class, seconds(60));
    }
    let doubt = lost(Call::CustomRobot, &Lost::Late).error;
    assert_eq!(doubt.class, ErrorClass::Ambiguous);
}
