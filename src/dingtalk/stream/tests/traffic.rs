//! Frames in, answers out.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::{Ack, FrameType};
use super::gateway::{Gateway, bot, event, until_true, within};
use super::*;

#[tokio::test]
async fn a_session_asks_opens_delivers_answers_and_pings() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;
    assert_eq!(peer.ticket, "ticket%2F1");
    assert_eq!(link.change().await, LinkChange::Up);
    assert_eq!(link.state(), LinkState::Up);

    let (headers, request) = gateway.requests().remove(0);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(request["clientSecret"], SECRET);
    assert_eq!(request["subscriptions"][0]["type"], "EVENT");

    // The WebSocket ping comes by itself.
    assert!(matches!(
        within(peer.ws.next()).await,
        Some(Ok(Message::Ping(_)))
    ));

    peer.push(&bot("m1")).await;
    let delivery = link.delivery().await;
    assert_eq!(delivery.frame.frame_type, FrameType::Callback);
    assert_eq!(delivery.frame.data, r#"{"msgId":"m1"}"#);
    assert_eq!(&*delivery.client_id, "dingid");
    assert!(delivery.ticket.answer(Ack::Done));
    assert_eq!(
        peer.text().await,
        r#"{"code":200,"headers":{"contentType":"application/json","messageId":"m1"},"message":"OK","data":"{\"response\": null}"}"#
    );

    let ping = include_str!("../../../../tests/frames/01-system-ping.json");
    peer.push_text(ping).await;
    let expected: serde_json::Value = serde_json::from_str(include_str!(
        "../../../../tests/frames/120-ack-system-ping.json"
    ))
    .unwrap();
    assert_eq!(peer.json().await, expected);
    link.finish().await;
}

#[tokio::test]
async fn only_an_event_can_be_put_off() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;
    peer.push(&event("e1")).await;
    peer.push(&bot("m1")).await;
    peer.push(&event("e2")).await;
    assert!(link.delivery().await.ticket.answer(Ack::Later));
    assert!(!link.delivery().await.ticket.answer(Ack::Later));
    assert!(link.delivery().await.ticket.answer(Ack::Done));
    let later = peer.json().await;
    assert_eq!(later["code"], 500);
    assert_eq!(later["headers"]["messageId"], "e1");
    assert!(later["data"].as_str().unwrap().contains("LATER"));
    // The bot message stays without an answer.
    let done = peer.json().await;
    assert_eq!(done["headers"]["messageId"], "e2");
    assert!(done["data"].as_str().unwrap().contains("SUCCESS"));
    link.finish().await;
}

#[tokio::test]
async fn no_frame_ends_a_session_however_odd_it_is() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;

    peer.push_text("this is no json").await;
    let garbage = link.delivery().await;
    assert_eq!(garbage.frame.frame_type, FrameType::Other(String::new()));
    assert_eq!(garbage.frame.text.as_str(), "this is no json");
    assert!(!garbage.ticket.answer(Ack::Done));

    peer.push(&json!({"type": "WAT", "headers": {"messageId": "w"}}))
        .await;
    let unknown = link.delivery().await;
    assert_eq!(unknown.frame.frame_type, FrameType::Other("WAT".to_owned()));
    assert!(unknown.ticket.answer(Ack::Done));
    assert_eq!(peer.json().await["headers"]["messageId"], "w");

    // An unknown system topic is answered and goes no further.
    peer.push_text(include_str!(
        "../../../../tests/frames/05-system-keepalive-topic.json"
    ))
    .await;
    assert_eq!(peer.json().await["code"], 200);

    within(peer.ws.send(Message::binary(vec![0xff_u8, 0xfe])))
        .await
        .unwrap();
    within(
        peer.ws
            .send(Message::binary(bot("b").to_string().into_bytes())),
    )
    .await
    .unwrap();
    let spelt = link.delivery().await;
    assert_eq!(spelt.frame.text.as_str(), r"\xff\xfe");
    assert!(!spelt.ticket.answer(Ack::Done));
    assert_eq!(link.delivery().await.frame.message_id.as_deref(), Some("b"));

    // In three fragments.
    let text = bot("f").to_string();
    let (head, tail) = text.split_at(20);
    let (middle, tail) = tail.split_at(20);
    for (part, code, last) in [
        (head, Data::Text, false),
        (middle, Data::Continue, false),
        (tail, Data::Continue, true),
    ] {
        let part = RawFrame::message(part.to_owned(), OpCode::Data(code), last);
        within(peer.ws.send(Message::Frame(part))).await.unwrap();
    }
    assert_eq!(link.delivery().await.frame.message_id.as_deref(), Some("f"));

    // Far above what DingTalk's own clients take.
    let large =
        json!({"type": "CALLBACK", "headers": {"messageId": "l"}, "data": "x".repeat(3 << 20)});
    peer.push(&large).await;
    assert_eq!(link.delivery().await.frame.data.len(), 3 << 20);

    let metrics = link.metrics.encode();
    assert!(
        metrics.contains("frames_undecodable_total{account=\"sales\"} 2"),
        "{metrics}"
    );
    link.finish().await;
}

#[tokio::test]
async fn a_frame_beyond_the_limit_costs_the_connection_and_a_new_one_is_opened() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    // Only the announcement of the size is needed.
    let pushed = peer.ws.send(Message::text("x".repeat((4 << 20) + 1)));
    let (_, mut next) = tokio::join!(pushed, gateway.accept());
    let down = link.change().await;
    assert!(
        matches!(&down, LinkChange::Down(reason) if reason.contains("too large")),
        "{down:?}"
    );
    next.push(&bot("after")).await;
    assert_eq!(
        link.delivery().await.frame.message_id.as_deref(),
        Some("after")
    );
    link.finish().await;
}

#[tokio::test]
async fn while_nobody_takes_deliveries_answers_are_still_written() {
    let mut gateway = Gateway::start().await;
    let mut link = start_with(&dingtalk(&gateway.api_url), account(), brisk(), 2);
    let mut peer = gateway.accept().await;
    peer.push(&bot("first")).await;
    let first = link.delivery().await;
    // More than the channel holds: the reader now waits for room.
    for n in 0..50 {
        peer.push(&bot(&format!("m{n}"))).await;
    }
    until_true(|| link.deliveries.len() >= 2).await;
    assert!(first.ticket.answer(Ack::Done));
    assert_eq!(peer.json().await["headers"]["messageId"], "first");
    for n in 0..50 {
        let delivery = link.delivery().await;
        assert_eq!(delivery.frame.message_id, Some(format!("m{n}")));
        assert!(delivery.ticket.answer(Ack::Done));
    }
    for n in 0..50 {
        assert_eq!(peer.json().await["headers"]["messageId"], format!("m{n}"));
    }
    link.finish().await;
}

#[tokio::test]
async fn large_frames_wait_until_earlier_ones_are_answered() {
    const BYTES: usize = 3 << 20;
    let mut gateway = Gateway::start().await;
    // Nobody reads at the other end, so nothing may be judged by its answers to pings.
    let mut link = start(&gateway, Timings::default());
    let mut peer = gateway.accept().await;
    let pushing = aside(async move {
        for n in 0..12 {
            let mut frame = bot(&format!("m{n}"));
            frame["data"] = "x".repeat(BYTES).into();
            peer.push(&frame).await;
        }
        peer
    });
    let mut held = VecDeque::new();
    while (held.len() + 1) * BYTES < 32 << 20 {
        held.push_back(link.delivery().await);
    }
    let early = timeout(Duration::from_millis(200), link.deliveries.recv()).await;
    assert!(early.is_err(), "one more than there is room for");
    for n in 0..12 {
        let delivery = held.pop_front().unwrap();
        assert_eq!(delivery.frame.message_id, Some(format!("m{n}")));
        assert!(delivery.ticket.answer(Ack::Done));
        if n + held.len() + 1 < 12 {
            held.push_back(link.delivery().await);
        }
    }
    let mut peer = within(pushing).await.unwrap();
    for n in 0..12 {
        assert_eq!(peer.json().await["headers"]["messageId"], format!("m{n}"));
    }
    link.finish().await;
}

#[tokio::test]
async fn a_burst_of_ten_thousand_is_delivered_in_order_and_answered_whole() {
    const BURST: usize = 10_000;
    let mut gateway = Gateway::start().await;
    let mut link = start_with(&dingtalk(&gateway.api_url), account(), brisk(), BURST);
    let peer = gateway.accept().await;
    let (mut push, mut answers) = peer.ws.split();
    let pushing = aside(async move {
        for n in 0..BURST {
            let text = bot(&format!("m{n}")).to_string();
            push.feed(Message::text(text)).await.unwrap();
        }
        push.flush().await.unwrap();
    });
    let mut tickets = Vec::new();
    for n in 0..BURST {
        let delivery = link.delivery().await;
        assert_eq!(delivery.frame.message_id, Some(format!("m{n}")));
        tickets.push(delivery.ticket);
    }
    within(pushing).await.unwrap();
    // All at once, as after an outage of the broker.
    for ticket in tickets {
        assert!(ticket.answer(Ack::Done));
    }
    let mut answered = 0;
    while answered < BURST {
        if let Some(Ok(Message::Text(text))) = within(answers.next()).await {
            assert!(text.contains(&format!(r#""messageId":"m{answered}""#)));
            answered += 1;
        }
    }
    link.finish().await;
}
