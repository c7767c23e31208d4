//! Files, and the calls that only ask.

use super::*;

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
