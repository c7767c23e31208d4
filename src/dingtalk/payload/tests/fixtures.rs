//! Every payload of `tests/frames`, in the order of its numbers.

use super::*;
use crate::message::ChatType;

/// Number of the fixture and what is read from it.
const READINGS: &[(&str, &str)] = &[
    ("01", r##"other ping"##),
    ("03", r##"other disconnect"##),
    ("05", r##"other KEEPALIVE | unreadable"##),
    ("06", r##"group cidWmGvmcjrsSfKGOwQyZYJtI== | text "ss""##),
    ("07", r##"group cidAsXSBLnA== | text "测试数据""##),
    ("09", r##"user manager733 | text "你好""##),
    ("10", r##"user 042***297 | text "hello DingTalk!""##),
    ("11", r##"user 042***297 | picture "" [Image mIof****]"##),
    (
        "12",
        r##"user 042***297 | video "" [Video mIof**** video/mp4 5000]"##,
    ),
    (
        "14",
        r##"user 042***297 | file "foobar.zip" [File LJYY**** foobar.zip]"##,
    ),
    (
        "15",
        r##"user 042****297 | richText "这个问题示例图如下：通过以上示意图可以明白完整的交互流程" [Image mIof****]"##,
    ),
    (
        "16",
        r##"user 042***297 | unknownMsgType "用户发送了一条消息，机器人暂不支持接收。""##,
    ),
    ("17", r##"user 901102446120188639 | text "hello""##),
    (
        "19",
        r##"user 901102446120188639 | file "一种跨站脚本漏洞攻击防御方法及装置" [File EpYzd/6c 一种跨站脚本漏洞攻击防御方法及装置]"##,
    ),
    (
        "20",
        r##"user 901102446120188639 | richText "\nabc" [Image mBnaE416]"##,
    ),
    (
        "21",
        r##"group cid9nrxLYtEMKH0MMRUH7EjaZ== | text "给 发个消息“你好”" @73388042888411510"##,
    ),
    ("24", r##"group cidjMOsz******AhS4Jg== | text "你好""##),
    ("25", r##"other /v1.0/im/bot/messages/get | unreadable"##),
    ("26", r##"group xxx | text "你好" @xxx"##),
    (
        "27",
        r##"user 901102446120188639 | audio "钉钉，让进步发生" [Audio mIofN681 4000]"##,
    ),
    (
        "32",
        r##"user 012345678901234567 | text "当前消息" | answers quoted_text_2 text "被引用文字""##,
    ),
    (
        "33",
        r##"user 012345678901234567 | text "/issue explain the quoted failure" | answers quoted-message text "/clear historical text""##,
    ),
    (
        "34",
        r##"user 012345678901234567 | text "看这张图" | answers - picture "" [Image dl_pic_1]"##,
    ),
    (
        "36",
        r##"user 012345678901234567 | text "看这个文件" | answers msg456 file "report.pdf" [File DOWNLOAD report.pdf]"##,
    ),
    (
        "37",
        r##"user 012345678901234567 | text "听这段" | answers msg_audio_1 audio "" [Audio AUDIO_DL 2000]"##,
    ),
    (
        "38",
        r##"user 012345678901234567 | text "看这段" | answers msg_video_1 video "" [Video VIDEO_DL video/mp4 1000]"##,
    ),
    (
        "40",
        r##"user 012345678901234567 | text "关于文档" | answers doc_msg_1 interactiveCard """##,
    ),
    (
        "41",
        r##"user 012345678901234567 | text "Please verify this information" | answers bot-message interactiveCard "Date lookup\nThe date is August 27, 2026.\n\nThe lunar date is the fifteenth day of the seventh month.""##,
    ),
    (
        "43",
        r##"user 012345678901234567 | text "当前消息" | answers legacy_rich_msg_1 - "你好😀@Tom" [Image dl_pic_l]"##,
    ),
    (
        "46",
        r##"user 012345678901234567 | text "当前消息" | answers orig_msg_001 - """##,
    ),
    (
        "48",
        r##"user 012345678901234567 | text "当前消息" | answers legacy_quote_message_1 - "旧引用""##,
    ),
    (
        "50",
        r##"group cid9LyNuAQClKA+qo8ww0iPZW== | text "重新学习一下" | answers msglFOStQWEPN4Kb1zvyec0vS== chatRecord "李四与张三的聊天记录\n张三:[消息]\n李四:[分享]\n李四:[图片]\n李四:这个就是""##,
    ),
    (
        "53",
        r##"user 012345678901234567 | interactiveCard "dingtalk://dingtalkclient/page/yunpan?route=previewDentry&spaceId=28299679864&fileId=211213307938&type=file""##,
    ),
    (
        "55",
        r##"user 012345678901234567 | markdown "> 🤖 **墨客**:\n\n## 长城\n\n它不是用砖砌的""##,
    ),
    (
        "56",
        r##"user 012345678901234567 | actionCard "审批提醒\n请处理""##,
    ),
    (
        "58",
        r##"user 012345678901234567 | richText "看图" [Image dcp]"##,
    ),
    (
        "61",
        r##"user 012345678901234567 | text "hi" @id1 @13800000000"##,
    ),
    ("64", r##"user 012345678901234567 | text "hello""##),
    ("67", r##"user 012345678901234567 | text "hi""##),
    (
        "70",
        r##"card 76c6bfc884a18a1c65fe4610741b5f59e795a7dceeea9c6b11fe09c3c3d063cc | pressed ["button_node_ocljnpbz4i4"] {} {}"##,
    ),
    (
        "71",
        r##"card XXXXXX | pressed ["1"] {"action": String("accept")} {}"##,
    ),
    (
        "72",
        r##"card track_form_01 | pressed ["approval0"] {} {"amount": String("100"), "reason": String("同意")}"##,
    ),
    (
        "73",
        r##"card unknown | pressed ["meritButton"] {"merit": String("1")} {}"##,
    ),
    ("75", r##"other /v1.0/card/dynamicData/get"##),
    ("76", r##"other /v1.0/graph/api/invoke"##),
    ("77", r##"other /v1.0/graph/api/invoke"##),
    ("78", r##"other /v1.0/graph/api/invoke"##),
    ("79", r##"user 012345678901234567 | text "在吗""##),
    ("81", r##"event user_add_org"##),
    ("82", r##"event chat_update_title"##),
    ("84", r##"event bpms_instance_change"##),
    ("85", r##"event bpms_task_change"##),
    ("87", r##"event suite_ticket"##),
    ("89", r##"event attendance_check_record"##),
    ("90", r##"event robot_msg_recall"##),
    ("92", r##"event meeting_asr_result_event"##),
    ("93", r##"event isw_user_msg_received"##),
    ("95", r##"event user_modify_org"##),
    ("96", r##"event user_im_message_receive_o2o"##),
    ("99", r##"other unknown | unreadable"##),
    ("100", r##"event unknown"##),
    ("103", r##"other /v1.0/im/bot/messages/get | unreadable"##),
    ("104", r##"other /v1.0/im/bot/messages/get | unreadable"##),
    ("106", r##"other /v1.0/some/future/topic"##),
];

#[test]
fn every_recorded_payload_is_read_as_a_person_would_read_it() {
    for (number, expected) in READINGS {
        let frame = fixture_frame(number);
        assert_eq!(line(&read(&frame)), *expected, "fixture {number}");
    }
}

#[test]
fn the_original_is_the_data_without_its_session_webhook() {
    for (number, _) in READINGS {
        let frame = fixture_frame(number);
        let reading = read(&frame);
        let Ok(mut data) = serde_json::from_str::<Value>(&frame.data) else {
            let kept: Value = serde_json::from_str(&reading.raw).unwrap();
            assert!(
                !kept.to_string().contains("sendBySession"),
                "fixture {number}"
            );
            let empty = frame.data.is_empty() && frame.text.is_empty();
            assert_eq!(kept == "", empty, "fixture {number}");
            continue;
        };
        if let Some(data) = data.as_object_mut() {
            let had = data.remove("sessionWebhook").is_some() || *number == "77";
            assert_eq!(had, reading.raw.len() < frame.data.len());
            if *number == "77" {
                let body: Value = serde_json::from_str(data["body"].as_str().unwrap()).unwrap();
                let mut body = body.as_object().unwrap().clone();
                body.remove("sessionWebhook").unwrap();
                data["body"] = Value::String(serde_json::to_string(&body).unwrap());
            }
        }
        let kept: Value = serde_json::from_str(&reading.raw).unwrap();
        assert_eq!(in_strings(kept), in_strings(data), "fixture {number}");
    }
}

/// The value with every JSON text in it read, as the order of members is not kept.
fn in_strings(value: Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => in_strings(inner),
            _ => Value::String(text),
        },
        Value::Object(members) => members
            .into_iter()
            .map(|(k, v)| (k, in_strings(v)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(in_strings).collect(),
        other => other,
    }
}

#[test]
fn a_redelivery_has_the_id_of_the_message_and_not_of_the_push() {
    let frame = fixture_frame("09");
    assert_eq!(
        read(&frame).dedup_id.unwrap(),
        "msgThxM+niaAK6CjeXuk5BKgH=="
    );
    let frame = fixture_frame("82");
    assert_eq!(
        read(&frame).dedup_id.unwrap(),
        "3b65568637c5457cad561604d51f9e34"
    );
    let frame = fixture_frame("70");
    assert_eq!(
        read(&frame).dedup_id.unwrap(),
        "212b9d7c_165f_19bfa1a500a_1463a01"
    );
    let frame = fixture_frame("100");
    assert_eq!(read(&frame).dedup_id.unwrap(), "e1");
    let frame = fixture_frame("99");
    assert_eq!(read(&frame).dedup_id, None);
}

#[test]
fn a_group_message_tells_chat_sender_time_and_webhook() {
    let frame = fixture_frame("21");
    let reading = read(&frame);
    let chat = reading.chat.unwrap();
    assert_eq!(chat.chat_type, ChatType::Group);
    assert_eq!(chat.title.unwrap(), "机器人测试");
    let sender = reading.sender.unwrap();
    assert_eq!(sender.staff_id.unwrap(), "9155036848771872");
    assert_eq!(sender.id.unwrap(), "$:LWCP_v1:$KTp0TaWhwTCH2eBrddb/GK==");
    assert_eq!(sender.union_id.unwrap(), "caj3l9lNdvuxTP2YZdHOZIaSbE");
    assert_eq!(sender.nick.unwrap(), "小白");
    assert_eq!(
        sender.corp_id.unwrap(),
        "dinge6fcc444cda12712def95313381e0045"
    );
    assert_eq!(sender.admin, Some(true));
    assert_eq!(reading.mentioned, Some(true));
    assert_eq!(
        reading.mentions[0].union_id.as_deref(),
        Some("wEqzJlpWMNkBaAg1iap8EaqKoQ")
    );
    assert_eq!(
        reading.sent_at,
        Some(Timestamp::from_millis(1_772_376_934_909))
    );
    let webhook = reading.webhook.unwrap();
    assert!(
        webhook
            .url
            .expose()
            .ends_with("session=8a6b2a2b7c0d6284e5d9d0f3b9a66229")
    );
    assert_eq!(
        webhook.expires_at,
        Timestamp::from_millis(1_772_382_335_198)
    );
}

#[test]
fn the_misspelt_time_of_the_documentation_is_understood() {
    let frame = fixture_frame("07");
    assert_eq!(
        read(&frame).sent_at,
        Some(Timestamp::from_millis(1_690_362_101_894))
    );
}

#[test]
fn a_quoted_message_tells_who_said_it_and_when() {
    let frame = fixture_frame("33");
    let quoted = read(&frame).message.unwrap().quoted.unwrap();
    let sender = quoted.sender.unwrap();
    assert_eq!(sender.id.unwrap(), "quoted-user-id");
    assert_eq!(sender.nick.unwrap(), "Alice");
    assert_eq!(
        quoted.sent_at,
        Some(Timestamp::from_millis(1_785_405_000_000))
    );
}
