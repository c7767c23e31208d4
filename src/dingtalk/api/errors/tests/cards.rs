//! Cards.

use super::*;

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
