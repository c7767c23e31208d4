//! Tokens that are refused, and the call that fetches one.

use super::*;

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
