//! Shapes that stream-protocol.md describes and `tests/frames` does not hold.

use serde_json::json;

use super::*;
use crate::message::ChatType;

/// A 1:1 message with `extra` put into it; `null` takes a member out.
fn direct(extra: Value) -> Frame {
    with(fixture("17"), extra)
}

/// The same in a group that mentions the robot.
fn group(extra: Value) -> Frame {
    with(fixture("21"), extra)
}

fn with(mut data: Value, extra: Value) -> Frame {
    for (name, value) in extra.as_object().unwrap() {
        if value.is_null() {
            data.as_object_mut().unwrap().remove(name);
        } else {
            data[name] = value.clone();
        }
    }
    frame(FrameType::Callback, BOT, data.to_string())
}

/// Type, text, media and quote of what a 1:1 message with `extra` says.
fn said(extra: Value) -> String {
    let frame = direct(extra);
    let line = line(&read(&frame));
    line.split_once(" | ").unwrap().1.to_owned()
}

fn content(message_type: &str, content: Value) -> String {
    said(json!({"msgtype": message_type, "text": null, "content": content}))
}

#[test]
fn text_comes_in_three_shapes_and_may_be_missing() {
    assert_eq!(said(json!({"text": "plain"})), r#"text "plain""#);
    assert_eq!(
        said(json!({"msgtype": null, "text": {"content": "x"}})),
        r#"text "x""#
    );
    assert_eq!(
        said(json!({"text": null, "content": " flat"})),
        r#"text " flat""#
    );
    assert_eq!(
        said(json!({"text": {"content": "{\"a\":1}"}})),
        r#"text "{\"a\":1}""#
    );
    assert_eq!(said(json!({"text": null})), r#"text """#);
    assert_eq!(said(json!({"text": 5, "msgtype": 7})), r#"7 "5""#);
}

#[test]
fn the_space_that_the_cut_mention_left_is_dropped_in_groups_only() {
    for (sent, read_as) in [(" ", ""), ("  a  b ", "a  b "), ("\n x", "\n x")] {
        let extra = json!({"text": {"content": sent}});
        assert_eq!(read(&group(extra.clone())).message.unwrap().text, read_as);
        assert_eq!(read(&direct(extra)).message.unwrap().text, sent);
    }
}

#[test]
fn media_is_listed_with_what_is_told_of_it() {
    let audio = json!({"duration": "2000", "downloadCode": "a", "recognition": "hi"});
    assert_eq!(content("audio", audio), r#"audio "hi" [Audio a 2000]"#);
    let silent = json!({"duration": 3000, "downloadCode": "a"});
    assert_eq!(content("audio", silent), r#"audio "" [Audio a 3000]"#);
    let video = json!({"duration": 4000, "downloadCode": "v", "videoType": "mp4"});
    assert_eq!(
        content("video", video),
        r#"video "" [Video v video/mp4 4000]"#
    );
    let picture = json!({"pictureUrl": "https://x/y.png"});
    assert_eq!(
        content("picture", picture),
        r#"picture "" [Image  https://x/y.png]"#
    );
    let picture = json!({"pictureDownloadCode": "old"});
    assert_eq!(content("picture", picture), r#"picture "" [Image old]"#);
    let sent_by_api = json!({"dentryId": 1, "spaceId": 2, "fileName": "a.pdf", "fileType": "pdf", "fileSize": 9, "filePath": "/a.pdf"});
    assert_eq!(
        content("file", sent_by_api),
        r#"file "a.pdf" [File  a.pdf 9]"#
    );
    let in_string = json!("{\"downloadCode\":\"p\"}");
    assert_eq!(content("picture", in_string), r#"picture "" [Image p]"#);
    assert_eq!(content("picture", json!({})), r#"picture """#);
    let older = json!({"msgtype": "audio", "text": null, "audio": {"recognition": "hi", "downloadCode": "a"}});
    assert_eq!(said(older), r#"audio "hi" [Audio a]"#);
}

#[test]
fn rich_text_is_joined_in_order_in_all_its_shapes() {
    let items = json!([
        {"type": "text", "text": "你好"}, {"type": "at", "atName": "Tom"}, {"text": "\n"},
        {"type": "picture", "downloadCode": "p1", "pictureDownloadCode": "q1"},
        {"type": "skill", "skillData": {"skillId": "s1", "displayName": "周报"}},
        {"msgType": "text", "content": " c"}, {"type": "text", "content": {"text": "d"}},
        {"msgType": "picture", "content": {"downloadCode": "p2"}}, "e", 7, null, {}, []
    ]);
    let expected = r#"richText "你好@Tom\n周报 cde7" [Image p1] [Image p2] @Tom"#;
    assert_eq!(content("richText", json!({"richText": items})), expected);
    assert_eq!(content("richText", items.clone()), expected);
    assert_eq!(content("richText", json!(items.to_string())), expected);
    let text = json!({"richText": items}).to_string();
    assert_eq!(content("richText", json!(text)), expected);
    assert_eq!(
        content("richText", json!({"richText": items.to_string()})),
        expected
    );
    let older = json!({"msgtype": "richText", "text": null, "richText": {"richTextList": items}});
    assert_eq!(said(older), expected);
}

#[test]
fn the_names_in_a_rich_text_of_a_group_add_nothing_to_its_list() {
    let frame = group(json!({"msgtype": "richText", "text": null,
        "content": {"richText": [{"text": "@bot "}, {"type": "at", "atName": "Tom"}]}}));
    let reading = read(&frame);
    assert_eq!(reading.message.unwrap().text, "@bot @Tom");
    assert_eq!(reading.mentions.len(), 1);
    assert_eq!(
        reading.mentions[0].staff_id.as_deref(),
        Some("73388042888411510")
    );
}

#[test]
fn a_chat_record_is_a_title_and_its_lines() {
    let entries = json!([
        {"senderNick": "张三", "msgType": "text", "content": "早"},
        {"senderName": "李四", "msgType": "picture", "downloadCode": "p"},
        {"nick": "王五", "content": {"text": "好"}},
        {"msgType": "unknownMsgType", "senderNick": "赵六", "content": "{\"msgType\":\"unknownMsgType\"}"}
    ]);
    let expected = r#"chatRecord "记录\n张三: 早\n李四: [picture]\n王五: 好\n赵六: [unknownMsgType]" [Image p]"#;
    for list in ["chatRecord", "records", "messages", "contents"] {
        let record = json!({"title": "记录", "summary": "张三:早", list: entries});
        assert_eq!(content("chatRecord", record), expected);
        let record = json!({"title": "记录", list: entries.to_string()});
        assert_eq!(content("chatRecord", record), expected);
    }
    let erased = json!({"title": "记录", "summary": "张三:早\n李四:[文件]",
        "chatRecord": [{"senderNick": "张三", "content": "早"}, {"msgType": "unknownMsgType"}]});
    assert_eq!(
        content("chatRecord", erased),
        r#"chatRecord "记录\n张三: 早\n李四:[文件]""#
    );
    let summary = json!({"summary": "[\"a:1\",\"b:2\"]", "chatRecord": "[]"});
    assert_eq!(content("chatRecord", summary), r#"chatRecord "a:1\nb:2""#);
}

#[test]
fn cards_and_links_show_their_words_and_where_they_lead() {
    let tree = json!({"cardContent": [
        {"elementType": "RICHTEXT", "children": [{"elementType": "TEXT", "value": "@bot "}, {"elementType": "TEXT", "value": "status"}, {"elementType": "UNKNOWN", "value": "{}"}]},
        {"elementType": "RICHTEXT", "children": [{"elementType": "TEXT", "value": "second"}, {"elementType": "IMAGE", "value": "code"}]}
    ]});
    assert_eq!(
        content("interactiveCard", tree),
        r#"interactiveCard "@bot status\nsecond""#
    );
    let titled = json!({"title": "看板", "biz_custom_action_url": "https://x/1"});
    assert_eq!(
        content("interactiveCard", titled),
        r#"interactiveCard "看板\nhttps://x/1""#
    );
    let link =
        json!({"title": "T", "text": "B", "messageUrl": "https://x/2", "picUrl": "https://x/3"});
    assert_eq!(content("link", link), r#"link "T\nB\nhttps://x/2""#);
    assert_eq!(
        content("markdown", json!({"title": "T"})),
        r#"markdown "T""#
    );
    let markdown = json!({"msgtype": "markdown", "text": {"content": "# m"}});
    assert_eq!(said(markdown), r##"markdown "# m""##);
}

#[test]
fn kinds_never_seen_before_go_through_with_what_they_suggest() {
    assert_eq!(content("hologram", json!({"depth": 3})), r#"hologram """#);
    assert_eq!(content("hologram", json!("plain")), r#"hologram "plain""#);
    assert_eq!(
        content("sticker", json!({"downloadCode": "s"})),
        r#"sticker "" [Image s]"#
    );
    assert_eq!(
        content("note", json!({"title": "a", "text": "b"})),
        r#"note "a\nb""#
    );
    let beside = json!({"msgtype": "hologram", "content": {"x": 1}, "text": {"content": "beside"}});
    assert_eq!(said(beside), r#"hologram "beside""#);
}

#[test]
fn a_quote_is_found_wherever_it_stands() {
    let replied = json!({"msgType": "text", "msgId": "q", "content": {"text": "said"}});
    let answers = r#" | answers q text "said""#;
    let in_text = json!({"text": {"content": "x", "isReplyMsg": true, "repliedMsg": replied}});
    assert_eq!(said(in_text), format!(r#"text "x"{answers}"#));
    let rich = json!({"richText": [{"text": "x"}], "isReplyMsg": true, "repliedMsg": replied});
    assert_eq!(
        content("richText", rich.clone()),
        format!(r#"richText "x"{answers}"#)
    );
    assert_eq!(
        content("richText", json!(rich.to_string())),
        format!(r#"richText "x"{answers}"#)
    );
    let top = json!({"msgtype": "reply", "text": null, "content": "x", "isReplyMsg": true, "repliedMsg": replied});
    assert_eq!(said(top), format!(r#"reply "x"{answers}"#));
    let split = json!({"text": {"content": "x", "isReplyMsg": true, "repliedMsg": {"msgType": "text", "msgId": "q"}},
        "content": {"repliedMsg": {"content": {"text": "said"}}}});
    assert_eq!(said(split), format!(r#"text "x"{answers}"#));
    let in_string = json!({"text": {"content": "x", "repliedMsg": replied.to_string()}});
    assert_eq!(said(in_string), format!(r#"text "x"{answers}"#));
    let content_string = json!({"msgType": "text", "msgId": "q", "content": "{\"text\":\"said\"}"});
    let content_string = json!({"text": {"content": "x", "repliedMsg": content_string}});
    assert_eq!(said(content_string), format!(r#"text "x"{answers}"#));
    let words = json!({"text": {"content": "x"}, "content": {"quoteContent": "words"}});
    assert_eq!(said(words), r#"text "x" | answers - - "words""#);
}

#[test]
fn a_quote_of_which_little_is_told_is_still_a_quote() {
    let unknown = json!({"text": {"content": "x", "repliedMsg": {"msgType": "unknownMsgType", "msgId": "m", "createdAt": 5}}});
    assert_eq!(said(unknown), r#"text "x" | answers m unknownMsgType """#);
    let card = json!({"originalProcessQueryKey": "key",
        "text": {"content": "x", "isReplyMsg": true, "repliedMsg": {"senderId": "bot", "msgType": "interactiveCard"}}});
    assert_eq!(said(card), r#"text "x" | answers - interactiveCard """#);
    let key_only =
        json!({"originalProcessQueryKey": "key", "text": {"content": "x", "isReplyMsg": true}});
    assert_eq!(said(key_only), r#"text "x" | answers - - """#);
    for odd in [json!([]), json!(42), json!({}), json!(true), json!("gone")] {
        let odd = json!({"text": {"content": "x", "isReplyMsg": true, "repliedMsg": odd}});
        assert_eq!(said(odd), r#"text "x""#);
    }
    let with_id = json!({"originalMsgId": "o", "text": {"content": "x", "repliedMsg": 42}});
    assert_eq!(said(with_id), r#"text "x" | answers o - """#);
}

#[test]
fn outsiders_and_scene_groups_are_known_by_their_conversation() {
    let outsider = json!({"senderStaffId": "", "conversationId": "cidX"});
    let frame = direct(outsider.clone());
    assert_eq!(
        (read(&frame).kind, read(&frame).chat_key.as_ref()),
        (Kind::User, "cidX")
    );
    assert_eq!(read(&frame).sender.unwrap().staff_id, None);
    let frame = group(outsider);
    assert_eq!(
        (read(&frame).kind, read(&frame).chat_key.as_ref()),
        (Kind::Group, "cidX")
    );
    let frame =
        group(json!({"sceneGroupCode": "project", "chatbotCorpId": null, "senderStaffId": null}));
    assert_eq!(read(&frame).kind, Kind::Group);
}

#[test]
fn a_missing_conversation_type_is_told_by_what_only_groups_have() {
    assert_eq!(
        read(&direct(json!({"conversationType": null}))).kind,
        Kind::User
    );
    assert_eq!(
        read(&direct(json!({"conversationType": 2}))).kind,
        Kind::Group
    );
    for extra in [
        json!({"conversationTitle": "t"}),
        json!({"isInAtList": true}),
        json!({"atUsers": [{"dingtalkId": "x"}]}),
    ] {
        let mut extra = extra;
        extra["conversationType"] = Value::Null;
        let frame = direct(extra);
        assert_eq!(read(&frame).chat.unwrap().chat_type, ChatType::Group);
    }
}

#[test]
fn whether_the_robot_is_mentioned_is_told_or_inferred() {
    let mentioned = |extra| read(&group(extra)).mentioned;
    assert_eq!(mentioned(json!({"isInAtList": "false"})), Some(false));
    assert_eq!(mentioned(json!({"isInAtList": null})), Some(true));
    assert_eq!(
        mentioned(json!({"isInAtList": null, "atUsers": [{"dingtalkId": "x"}]})),
        Some(false)
    );
    assert_eq!(
        mentioned(json!({"isInAtList": null, "atUsers": null})),
        None
    );
    assert_eq!(read(&direct(json!({}))).mentioned, Some(true));
}

#[test]
fn everyone_mentioned_is_listed_once_and_the_robot_never() {
    let robot = fixture("21")["chatbotUserId"].clone();
    let frame = group(json!({
        "atUsers": [{"dingtalkId": robot}, {"dingtalkId": "a", "staffId": "s"}, {"dingtalkId": "a"}, {}, 5, {"dingtalkId": "out"}],
        "text": {"content": "x", "at": {"atDingtalkIds": ["a", robot, "b", ""], "atMobiles": ["1", "1"], "atUserIds": ["s", "t"]}}
    }));
    let expected = r#"group cid9nrxLYtEMKH0MMRUH7EjaZ== | text "x" @s @out @t @b @1"#;
    assert_eq!(line(&read(&frame)), expected);
}

#[test]
fn a_used_up_quota_is_a_notice() {
    for (name, code) in [
        ("errCode", json!(20001)),
        ("errorCode", json!("20001")),
        ("errcode", json!(20001)),
    ] {
        let frame = direct(json!({"text": null, name: code, "errMsg": "额度已用完"}));
        let reading = read(&frame);
        let notice = reading.notice.unwrap();
        assert_eq!(
            (notice.code.as_ref(), notice.message.as_deref()),
            ("20001", Some("额度已用完"))
        );
        assert_eq!(reading.message.unwrap().text, "");
    }
    assert!(
        read(&direct(json!({"errCode": 0, "errMsg": "ok"})))
            .notice
            .is_none()
    );
}

#[test]
fn a_message_without_its_ids_falls_back_to_the_frame() {
    let frame = direct(json!({"msgId": ""}));
    assert_eq!(read(&frame).dedup_id.unwrap(), "push-1");
    let frame = direct(json!({"conversationId": null}));
    let reading = read(&frame);
    assert_eq!(
        (reading.kind, reading.chat_key.as_ref()),
        (Kind::Other, BOT)
    );
    assert_eq!(reading.topic.unwrap(), BOT);
    assert!(reading.readable && reading.chat.is_none());
    assert_eq!(reading.message.unwrap().text, "hello");
}

#[test]
fn the_webhook_expires_when_told_or_ninety_minutes_later() {
    let expires = |extra| {
        read(&direct(extra))
            .webhook
            .map(|webhook| webhook.expires_at.as_millis())
    };
    assert_eq!(
        expires(json!({"sessionWebhookExpiredTime": "1774086394522"})),
        Some(1_774_086_394_522)
    );
    assert_eq!(
        expires(json!({"sessionWebhookExpiredTime": null})),
        Some(1_774_080_994_334 + 5_400_000)
    );
    assert_eq!(expires(json!({"sessionWebhook": ""})), None);
    let before = Timestamp::now();
    let by_clock = expires(json!({"sessionWebhookExpiredTime": null, "createAt": null})).unwrap();
    assert!(by_clock >= before.as_millis() + 5_400_000);
}

#[test]
fn a_webhook_in_the_words_of_a_message_is_cut_from_text_quote_and_original() {
    let url = "https://oapi.dingtalk.com/robot/sendBySession?session=0011";
    let frame = direct(json!({"text": {"content": format!("see {url} !"),
        "repliedMsg": {"msgType": "text", "content": {"text": format!("and {url}")}}}}));
    let reading = read(&frame);
    let message = reading.message.unwrap();
    assert_eq!(message.text, "see  !");
    assert_eq!(message.quoted.unwrap().text, "and ");
    assert!(!reading.raw.contains("sendBySession"));
    assert!(
        reading
            .webhook
            .unwrap()
            .url
            .expose()
            .contains("sendBySession")
    );
}

fn card(data: Value) -> Frame {
    frame(FrameType::Callback, CARD, data.to_string())
}

#[test]
fn a_card_action_is_read_from_either_member_in_either_form() {
    let private =
        json!({"cardPrivateData": {"actionIds": ["a", 2], "params": {"n": 7, "form": {"x": "1"}}}});
    for data in [
        json!({"outTrackId": "t", "content": private}),
        json!({"outTrackId": "t", "content": private.to_string()}),
        json!({"outTrackId": "t", "value": private.to_string()}),
        json!({"outTrackId": "t", "content": "", "value": private}),
        json!({"outTrackId": "t", "content": private["cardPrivateData"]}),
    ] {
        let frame = card(data);
        let expected = r#"card t | pressed ["a", "2"] {"n": Number(7)} {"x": String("1")}"#;
        assert_eq!(line(&read(&frame)), expected);
    }
    let frame = card(json!({"outTrackId": "t", "content": "{broken"}));
    assert_eq!(line(&read(&frame)), "card t | pressed [] {} {}");
}

#[test]
fn who_pressed_a_card_and_where_it_stands() {
    let frame = card(
        json!({"outTrackId": "t", "userId": "u", "userIdType": "2", "spaceType": "im_group", "spaceId": "cidG"}),
    );
    let reading = read(&frame);
    assert_eq!(reading.sender.unwrap().union_id.unwrap(), "u");
    let chat = reading.chat.unwrap();
    assert_eq!(
        (chat.id.as_ref(), chat.chat_type),
        ("cidG", ChatType::Group)
    );
    let frame =
        card(json!({"outTrackId": "t", "userId": "u", "spaceType": "IM_ROBOT", "spaceId": "u"}));
    let reading = read(&frame);
    assert_eq!(reading.sender.unwrap().staff_id.unwrap(), "u");
    assert_eq!(reading.chat.unwrap().chat_type, ChatType::User);
    let frame = card(json!({"outTrackId": "t", "spaceType": "IM", "spaceId": "x"}));
    assert!(read(&frame).chat.is_none());
}

#[test]
fn a_webhook_among_the_values_of_a_card_is_cut() {
    let content =
        json!({"cardPrivateData": {"params": {"sessionWebhook": "https://x/y", "n": "1"}}});
    let frame = card(json!({"outTrackId": "t", "content": content.to_string()}));
    let reading = read(&frame);
    assert_eq!(
        reading.card.unwrap().params.keys().collect::<Vec<_>>(),
        ["n"]
    );
    assert!(!reading.raw.contains("sessionWebhook"));
}

#[test]
fn an_event_is_named_by_its_headers_or_by_its_data() {
    let flat =
        json!({"eventType": "t", "eventId": "e", "eventBornTime": 5, "data": {}}).to_string();
    let mut frame = frame(FrameType::Event, "*", flat);
    assert_eq!(line(&read(&frame)), "event t");
    assert_eq!(read(&frame).dedup_id.unwrap(), "e");
    assert_eq!(read(&frame).sent_at, Some(Timestamp::from_millis(5)));
    frame.event_type = Some("header".to_owned());
    frame.data = "{broken".to_owned();
    assert_eq!(line(&read(&frame)), "event header | unreadable");
    assert_eq!(read(&frame).raw, "\"{broken\"");
    assert_eq!(read(&frame).topic.unwrap(), "header");
}

#[test]
fn a_frame_whose_type_is_missing_is_known_by_its_topic() {
    let known = frame(
        FrameType::Other(String::new()),
        BOT,
        fixture("17").to_string(),
    );
    assert_eq!(read(&known).kind, Kind::User);
    let unknown = frame(FrameType::Other("WAT".to_owned()), "", "[1]");
    assert_eq!(line(&read(&unknown)), "other unknown");
    let list = frame(FrameType::Callback, BOT, "[1]");
    assert_eq!(line(&read(&list)), format!("other {BOT} | unreadable"));
    assert_eq!(read(&list).raw, "[1]");
}

#[test]
fn of_a_frame_without_data_everything_is_kept_but_its_webhook() {
    let url = "https://oapi.dingtalk.com/robot/sendBySession?session=0a1b";
    for (text, kept) in [
        ("no json".to_owned(), r#""no json""#),
        (format!("torn {url}"), r#""torn ""#),
        (
            format!(r#"{{"headers":{{"topic":"{BOT}"}},"sessionWebhook":"{url}","note":1.50}}"#),
            r#"{"headers":{"topic":"BOT"},"note":1.50}"#,
        ),
    ] {
        let frame = Frame::decode(text.into());
        let reading = read(&frame);
        assert!(!reading.readable);
        assert_eq!(reading.raw, kept.replace("BOT", BOT));
    }
}
