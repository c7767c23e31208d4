//! Forms and limits of what is sent.

use proptest::prelude::*;

use serde_json::{Value, json};

use super::parts::MARKDOWN_UNITS;
use super::robot::ROBOT_BYTES;
use super::title::{MADE_TITLE, NO_TITLE};
use super::webhook::WEBHOOK_BYTES;
use super::*;
use crate::dingtalk::api::ShipmentBody;
use crate::message::{
    ActionButton, ActionCard, Attachment, Content, Layout, Link, Markdown, MediaKind, Mentions,
    Picture, RawMessage,
};

fn markdown(title: Option<&str>, text: &str) -> Content {
    Content::Markdown(Markdown {
        title: title.map(str::to_owned),
        text: text.to_owned(),
    })
}

fn robot(content: &Content) -> Vec<(String, Value)> {
    let bodies = render_robot(content).into_iter().map(|body| match body {
        ShipmentBody::Robot { msg_key, msg_param } => {
            assert!(msg_param.len() <= ROBOT_BYTES, "{}", msg_param.len());
            (msg_key, serde_json::from_str(&msg_param).unwrap())
        }
        ShipmentBody::Webhook(_) => panic!("a webhook body"),
    });
    bodies.collect()
}

fn webhook(content: &Content, mention: &Mentions) -> Vec<Value> {
    let bodies = render_webhook(content, mention).unwrap();
    let bodies = bodies.into_iter().map(|body| match body {
        ShipmentBody::Webhook(body) => {
            assert!(body.len() <= WEBHOOK_BYTES, "{}", body.len());
            serde_json::from_str(&body).unwrap()
        }
        ShipmentBody::Robot { .. } => panic!("a robot body"),
    });
    bodies.collect()
}

fn card(buttons: usize, layout: Layout) -> ActionCard {
    let button = |number: usize| ActionButton {
        title: format!("t{number}"),
        url: format!("https://x.example/{number}"),
    };
    ActionCard {
        title: "title".to_owned(),
        text: "text".to_owned(),
        buttons: (1..=buttons).map(button).collect(),
        layout,
    }
}

fn people(users: &[&str], mobiles: &[&str]) -> Mentions {
    let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
    Mentions {
        users: owned(users),
        mobiles: owned(mobiles),
        all: false,
    }
}

#[test]
fn each_content_takes_its_template() {
    let text = robot(&Content::Text("hi".to_owned()));
    assert_eq!(text, [("sampleText".to_owned(), json!({"content":"hi"}))]);
    let link = Content::Link(Link {
        title: "t".to_owned(),
        text: "x".to_owned(),
        message_url: "https://x".to_owned(),
        pic_url: None,
    });
    let param = json!({"title":"t","text":"x","messageUrl":"https://x","picUrl":""});
    assert_eq!(robot(&link), [("sampleLink".to_owned(), param.clone())]);
    assert_eq!(
        webhook(&link, &people(&["u"], &[])),
        [json!({"msgtype":"link","link":param})]
    );
    let raw = Content::Raw(RawMessage {
        msg_key: "sampleAudio".to_owned(),
        msg_param: json!({"mediaId":"@x","duration":"1"}),
    });
    assert_eq!(robot(&raw)[0].1, json!({"mediaId":"@x","duration":"1"}));
    assert!(render_webhook(&raw, &Mentions::default()).is_none());
}

#[test]
fn cards_take_the_template_of_their_buttons() {
    let form = |buttons, layout| robot(&Content::ActionCard(card(buttons, layout))).remove(0);
    let (key, param) = form(1, Layout::Horizontal);
    assert_eq!(key, "sampleActionCard");
    assert_eq!(
        param,
        json!({"title":"title","text":"text","singleTitle":"t1","singleURL":"https://x.example/1"})
    );
    let (key, param) = form(2, Layout::Horizontal);
    assert_eq!(key, "sampleActionCard6");
    assert_eq!(
        param,
        json!({"title":"title","text":"text","buttonTitle1":"t1","buttonUrl1":"https://x.example/1",
               "buttonTitle2":"t2","buttonUrl2":"https://x.example/2"})
    );
    for (buttons, layout) in [
        (2, Layout::Vertical),
        (3, Layout::Horizontal),
        (4, Layout::Vertical),
        (5, Layout::Vertical),
    ] {
        let (key, param) = form(buttons, layout);
        assert_eq!(key, format!("sampleActionCard{buttons}"));
        assert_eq!(
            param[format!("actionTitle{buttons}")],
            format!("t{buttons}")
        );
        assert_eq!(
            param[format!("actionURL{buttons}")],
            format!("https://x.example/{buttons}")
        );
        assert_eq!(param.as_object().unwrap().len(), 2 + 2 * buttons);
        assert!(param.as_object().unwrap().values().all(Value::is_string));
    }
    let nobody = Mentions::default();
    let single = webhook(&Content::ActionCard(card(1, Layout::Vertical)), &nobody);
    assert_eq!(
        single,
        [
            json!({"msgtype":"actionCard","actionCard":{"title":"title","text":"text",
            "btnOrientation":"0","singleTitle":"t1","singleURL":"https://x.example/1"}})
        ]
    );
    let two = webhook(&Content::ActionCard(card(2, Layout::Horizontal)), &nobody);
    assert_eq!(two[0]["actionCard"]["btnOrientation"], "1");
    assert_eq!(
        two[0]["actionCard"]["btns"][1],
        json!({"title":"t2","actionURL":"https://x.example/2"})
    );
}

#[test]
fn a_card_that_is_too_long_ends_with_its_buttons() {
    let long = ActionCard {
        text: "paragraph of some words\n\n".repeat(400),
        ..card(2, Layout::Vertical)
    };
    let parts = robot(&Content::ActionCard(long));
    let keys: Vec<&str> = parts.iter().map(|part| part.0.as_str()).collect();
    assert_eq!(
        keys,
        ["sampleMarkdown", "sampleMarkdown", "sampleActionCard2"]
    );
    assert_eq!(parts[2].1["title"], "title (3/3)");
    assert_eq!(parts[2].1["actionTitle1"], "t1");
}

#[test]
fn a_card_whose_buttons_leave_no_room_for_its_text_becomes_no_message() {
    let wide = |text: &str, url: usize| {
        let mut wide = card(5, Layout::Vertical);
        for button in &mut wide.buttons {
            button.url = "u".repeat(url);
        }
        wide.text = text.to_owned();
        Content::ActionCard(wide)
    };
    let nobody = Mentions::default();
    let text = "a line of the text\n".repeat(200);
    assert!(render_robot(&wide(&text, 2900)).is_empty());
    assert!(render_robot(&wide(&text, 20_000)).is_empty());
    assert!(render_webhook(&wide(&text, 3900), &nobody).is_none());
    // What fits one message needs no room for a second one.
    assert_eq!(robot(&wide("text", 2900))[0].0, "sampleActionCard5");
    assert_eq!(webhook(&wide("text", 3900), &nobody).len(), 1);
    // And two thousand bytes are enough to divide a text.
    let parts = robot(&wide(&text, 2500));
    assert!((2..=3).contains(&parts.len()), "{} parts", parts.len());
}

#[test]
fn a_missing_title_is_the_first_line_that_has_words() {
    let made = |text: &str| robot(&markdown(None, text))[0].1["title"].clone();
    for (text, title) in [
        ("## **Build** `ok`\n\nrest", "Build ok"),
        ("\n\n> 1. first", "first"),
        ("- [x](https://x) and ![pic](https://y)!", "x and pic!"),
        ("```rust\nlet x = 1;\n```", "let x = 1;"),
        ("| a | b |\n|---|---|", "a | b"),
        ("3. third", "third"),
        ("---\n***", NO_TITLE),
        ("**", NO_TITLE),
    ] {
        assert_eq!(made(text), title, "{text}");
    }
    let long = made(&"字".repeat(500));
    assert_eq!(long.as_str().unwrap().chars().count(), MADE_TITLE);
    let given = robot(&markdown(Some(" a\nb "), "x"))[0].1["title"].clone();
    assert_eq!(given, "a b");
    assert_eq!(robot(&markdown(Some(" "), "x"))[0].1["title"], "x");
}

#[test]
fn long_markdown_comes_in_numbered_parts() {
    let parts = robot(&markdown(Some("Report"), &"word word word\n\n".repeat(500)));
    let titles: Vec<&str> = parts
        .iter()
        .map(|part| part.1["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["Report (1/3)", "Report (2/3)", "Report (3/3)"]);
    assert_eq!(robot(&Content::Text("x\n".repeat(20_000))).len(), 5);
    // White space alone makes no part of its own.
    assert_eq!(
        robot(&Content::Text(format!("x{}", "\n".repeat(20_000)))).len(),
        1
    );
}

#[test]
fn mentions_and_texts_agree() {
    let mention = people(&["u1", "u2"], &["13800000000"]);
    let body = webhook(&Content::Text("hi @u12 and @u2, go".to_owned()), &mention).remove(0);
    assert_eq!(
        body["text"]["content"],
        "hi @u12 and @u2, go @u1 @13800000000"
    );
    assert_eq!(
        body["at"],
        json!({"atUserIds":["u1","u2"],"atMobiles":["13800000000"],"isAtAll":false})
    );
    let body = webhook(&markdown(None, "hi"), &people(&["u1"], &[])).remove(0);
    assert_eq!(body["markdown"], json!({"title":"hi","text":"hi\n\n@u1"}));
    let card = webhook(
        &Content::ActionCard(card(1, Layout::Vertical)),
        &people(&["u1"], &[]),
    );
    assert_eq!(card[0]["actionCard"]["text"], "text\n\n@u1");
    assert_eq!(card[0]["at"]["atUserIds"], json!(["u1"]));
    let all = Mentions {
        all: true,
        ..Mentions::default()
    };
    let body = webhook(&Content::Text("hi".to_owned()), &all).remove(0);
    assert_eq!(body["at"]["isAtAll"], true);
    let body = webhook(&Content::Text("hi".to_owned()), &Mentions::default()).remove(0);
    assert!(body.get("at").is_none());
    let crowd = Mentions {
        users: (0..51).map(|number| format!("u{number}")).collect(),
        ..Mentions::default()
    };
    assert!(render_webhook(&Content::Text("hi".to_owned()), &crowd).is_none());
}

#[test]
fn each_person_is_mentioned_in_one_part_only() {
    let text = format!("{}\n\nask @u2 and @u3", "word word word\n\n".repeat(500));
    let mention = Mentions {
        all: true,
        ..people(&["u1", "u2", "u3"], &[])
    };
    let bodies = webhook(&markdown(None, &text), &mention);
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0]["at"]["atUserIds"], json!(["u1"]));
    assert_eq!(bodies[0]["at"]["isAtAll"], true);
    assert!(bodies[1].get("at").is_none());
    assert_eq!(bodies[2]["at"]["atUserIds"], json!(["u2", "u3"]));
    assert_eq!(bodies[2]["at"]["isAtAll"], false);
}

#[test]
fn uploaded_media_become_the_message_of_their_kind() {
    let media = |kind, attachment: Attachment| robot(&Content::Media(kind, attachment));
    let at = |id: &str| Attachment {
        media_id: Some(id.to_owned()),
        ..Attachment::default()
    };
    assert_eq!(
        media(MediaKind::Image, at("@lADP")),
        [("sampleImageMsg".to_owned(), json!({"photoURL":"@lADP"}))]
    );
    let file = Attachment {
        name: Some("报表.XLSX".to_owned()),
        ..at("@lAz")
    };
    assert_eq!(
        media(MediaKind::File, file),
        [(
            "sampleFile".to_owned(),
            json!({"mediaId":"@lAz","fileName":"报表.XLSX","fileType":"xlsx"})
        )]
    );
    let audio = Attachment {
        duration_ms: Some(2345),
        ..at("@voice")
    };
    assert_eq!(
        media(MediaKind::Audio, audio),
        [(
            "sampleAudio".to_owned(),
            json!({"mediaId":"@voice","duration":"2345"})
        )]
    );
    let video = Attachment {
        duration_ms: Some(2345),
        cover: Some(Picture {
            media_id: Some("$pic".to_owned()),
            ..Picture::default()
        }),
        ..at("$video")
    };
    assert_eq!(
        media(MediaKind::Video, video.clone()),
        [(
            "sampleVideo".to_owned(),
            json!({"duration":"3","videoMediaId":"$video","videoType":"mp4","picMediaId":"$pic"})
        )]
    );
    let coverless = Attachment {
        cover: None,
        ..video
    };
    assert_eq!(
        media(MediaKind::Video, coverless),
        [(
            "sampleFile".to_owned(),
            json!({"mediaId":"$video","fileName":"video.mp4","fileType":"mp4"})
        )]
    );
    let nowhere = Attachment {
        object: Some("key".to_owned()),
        ..Attachment::default()
    };
    assert!(media(MediaKind::Image, nowhere).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_message_is_within_its_limits(
        lines in prop::collection::vec("[a-z\"\\\\\u{1}一-十😀 `@]{0,400}", 0..120),
        title in prop::option::of("[a-z\"\u{1}一-十]{0,400}"),
        users in prop::collection::vec("[a-z0-9\"]{1,60}", 0..50),
    ) {
        let text = lines.join("\n");
        let mention = Mentions { users, ..Mentions::default() };
        let long = ActionCard { text: text.clone(), ..card(5, Layout::Vertical) };
        let contents = [
            Content::Text(text.clone()),
            markdown(title.as_deref(), &text),
            Content::ActionCard(long),
        ];
        for content in &contents {
            let parts = robot(content);
            prop_assert!(!parts.is_empty());
            for (key, param) in parts {
                let text = param["text"].as_str().unwrap_or_default();
                prop_assert!(key == "sampleText" || text.chars().count() <= MARKDOWN_UNITS);
            }
            // Each body asserts its own size.
            prop_assert!(!webhook(content, &mention).is_empty());
        }
    }
}
