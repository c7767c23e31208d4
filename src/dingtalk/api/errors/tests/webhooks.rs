//! Session webhooks and custom robots.

use super::*;

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
