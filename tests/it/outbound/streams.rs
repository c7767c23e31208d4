//! Streamed answers: opened, fed and closed by pieces on the subject of a chat.

use std::time::Duration;

use nats_dingtalk::broker::Bucket;
use nats_dingtalk::message::{Brake, Outcome, QuotaStanding, Receipt, Via};
use nats_dingtalk::sim::{
    CARD_DELIVER_PATH, CARD_PATH, CARD_STREAMING_PATH, CallRefusal, CardState, CardView, Fault,
    FrameVerdict, SentVia,
};
use serde_json::{Value, json};

use super::stage::{Stage, account};
use crate::support::wait;

/// A shared template whose variable `content` is markdown.
pub(super) const TEMPLATE: &str = "8aebdfb9-28f4-4a98-98f5-396c3dde41a0.schema";
const SUBJECT: &str = ".sales.user.u1";

pub(super) async fn with_cards() -> Stage {
    let mut stage = Stage::open(&["sales"]).await;
    stage.settings.card_template = Some(TEMPLATE.to_owned());
    stage
}

fn piece(id: impl ToString, append: impl ToString) -> Value {
    json!({"id": id.to_string(), "stream": "answer", "append": append.to_string()})
}

fn last(id: impl ToString) -> Value {
    json!({"id": id.to_string(), "stream": "answer", "done": true})
}

/// The one card, once it is in `state`.
async fn card_in(stage: &Stage, state: CardState) -> CardView {
    let cards = stage.sim.cards_in(state, 1).await.unwrap();
    cards.into_iter().next().unwrap()
}

async fn text_of_open_card(stage: &Stage, text: &str) -> CardView {
    let shows = |card: &CardView| card.text() == text;
    wait::until("the card to show the text", async || {
        stage.sim.cards().into_iter().find(shows)
    })
    .await
}

async fn receipts(stage: &Stage, ids: impl IntoIterator<Item = String>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for id in ids {
        receipts.push(stage.receipt("sales", &id).await);
    }
    receipts
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tokens_become_a_few_frames_with_the_exact_text_and_a_receipt_each() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    let mut whole = String::new();
    for n in 0..200 {
        let token = format!("word{n} ");
        whole.push_str(&token);
        stage.publish(SUBJECT, piece(format!("p{n}"), &token)).await;
    }
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!(card.text(), whole);
    assert_eq!(card.chats().collect::<Vec<_>>(), ["u1"]);
    assert!(card.frames.len() <= 6, "{} frames", card.frames.len());
    let accepted = |verdict: &FrameVerdict| *verdict == FrameVerdict::Accepted;
    assert!(card.frames.iter().all(|frame| accepted(&frame.verdict)));
    assert!(
        card.frames
            .iter()
            .rev()
            .skip(1)
            .all(|frame| !frame.finalize)
    );
    for pair in card.frames.windows(2) {
        let gap = pair[1].at.since(pair[0].at);
        assert!(gap >= Duration::from_millis(700), "{gap:?}");
        assert!(pair[1].content.starts_with(&pair[0].content));
    }
    let ids = (0..200).map(|n| format!("p{n}")).chain(["end".to_owned()]);
    let told = receipts(&stage, ids).await;
    assert!(told.iter().all(|receipt| receipt.outcome == Outcome::Sent));
    assert!(told.iter().all(|receipt| receipt.via == Some(Via::Card)));
    let track = Some(card.out_track_id.clone());
    assert!(told.iter().all(|receipt| receipt.out_track_id == track));
    let carrier = card.deliveries[0].carrier_id.clone();
    assert!(
        told.iter()
            .all(|receipt| receipt.process_query_key == carrier)
    );
    let cost: u32 = told.iter().map(|receipt| receipt.cost).sum();
    assert_eq!(usize::try_from(cost).unwrap(), card.frames.len() + 2);
    assert_eq!(stage.receipts().await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_card_and_text_stand_in_the_chat_in_the_order_of_publishing() {
    let stage = with_cards().await;
    stage
        .publish(SUBJECT, json!({"id": "a", "text": "before"}))
        .await;
    stage.publish(SUBJECT, piece("p", "thinking")).await;
    stage
        .publish(SUBJECT, json!({"id": "b", "text": "after"}))
        .await;
    let _line = stage.start("sales");
    // The card is not closed: what comes behind it waits for its appearance only.
    stage.receipt("sales", "b").await;
    let sent = stage.sim.delivered();
    let texts: Vec<_> = sent.iter().map(|sent| (sent.at, sent.text())).collect();
    assert_eq!(texts.len(), 3);
    assert_eq!((texts[0].1, texts[2].1), ("before", "after"));
    text_of_open_card(&stage, "thinking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_in_one_chat_are_two_cards() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    for name in ["one", "two"] {
        let body = json!({"stream": name, "append": name, "done": true});
        stage.publish(SUBJECT, body).await;
    }
    stage.done().await;
    let cards = stage.sim.cards_in(CardState::Finished, 2).await.unwrap();
    let texts: Vec<_> = cards.iter().map(CardView::text).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_frame_is_followed_by_one_with_a_new_guid_and_the_whole_text() {
    let mut stage = with_cards().await;
    // Closer than DingTalk lets frames of one card be.
    stage.timings.card_gap = Duration::from_millis(100);
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "a")).await;
    stage.receipt("sales", "p0").await;
    stage.publish(SUBJECT, piece("p1", "b")).await;
    wait::until_true("the frame to be refused", async || {
        stage.sim.cards()[0].frames.len() == 2
    })
    .await;
    stage.publish(SUBJECT, piece("p2", "c")).await;
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!(card.text(), "abc");
    let [_, refused, after] = card.frames.as_slice() else {
        panic!("{:?}", card.frames);
    };
    assert!(matches!(refused.verdict, FrameVerdict::Refused { .. }));
    assert_ne!(refused.guid, after.guid);
    assert!(after.finalize && after.content == "abc");
    let wait = after.at.since(refused.at);
    assert!(wait >= Duration::from_secs(2), "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_whose_answer_is_lost_is_repeated_under_its_guid_and_nothing_is_uncertain() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "a")).await;
    stage.receipt("sales", "p0").await;
    let path = CARD_STREAMING_PATH.to_owned();
    stage
        .inject(Fault::ApplyThenHold {
            path,
            times: Some(1),
        })
        .await;
    stage
        .publish(
            SUBJECT,
            json!({"id": "p1", "stream": "answer", "append": "b", "done": true}),
        )
        .await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!(card.text(), "ab");
    let [_, lost, again] = card.frames.as_slice() else {
        panic!("{:?}", card.frames);
    };
    assert_eq!(lost.guid, again.guid);
    assert_eq!(again.verdict, FrameVerdict::Repeated);
    assert_eq!(stage.receipt("sales", "p1").await.outcome, Outcome::Sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_frame_is_sent_however_often_it_is_refused() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "a")).await;
    stage.receipt("sales", "p0").await;
    stage
        .refuse(CARD_STREAMING_PATH, CallRefusal::Busy, Some(3))
        .await;
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!((card.text().as_str(), card.frames.len()), ("a", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_template_the_same_pieces_become_one_markdown_message() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    for n in 0..50 {
        stage
            .publish(SUBJECT, piece(format!("p{n}"), format!("w{n} ")))
            .await;
    }
    stage.publish(SUBJECT, last("end")).await;
    stage
        .publish(SUBJECT, json!({"id": "b", "text": "after"}))
        .await;
    stage.done().await;
    let whole: String = (0..50).map(|n| format!("w{n} ")).collect();
    let texts = stage.texts_to("u1");
    assert_eq!(texts, [whole.as_str(), "after"]);
    assert!(stage.sim.cards().is_empty());
    let ids = (0..50).map(|n| format!("p{n}"));
    for receipt in receipts(&stage, ids).await {
        assert_eq!((receipt.outcome, receipt.cost), (Outcome::Sent, 0));
    }
    let end = stage.receipt("sales", "end").await;
    assert_eq!((end.via, end.cost), (Some(Via::Openapi), 1));
    assert_eq!(stage.receipts().await, 52);
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_that_are_refused_for_good_end_as_markdown() {
    for (path, how) in [
        (CARD_PATH, CallRefusal::Permission),
        (CARD_DELIVER_PATH, CallRefusal::Permission),
    ] {
        let stage = with_cards().await;
        stage.refuse(path, how, None).await;
        let _line = stage.start("sales");
        stage.publish(SUBJECT, piece("p0", "all ")).await;
        stage.publish(SUBJECT, piece("p1", "of it")).await;
        stage.publish(SUBJECT, last("end")).await;
        stage.done().await;
        assert_eq!(stage.texts_to("u1"), ["all of it"]);
        for id in ["p0", "p1", "end"] {
            assert_eq!(
                stage.receipt("sales", id).await.outcome,
                Outcome::Sent,
                "{id}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_breaks_is_continued_once_in_words() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "shown, ")).await;
    stage.receipt("sales", "p0").await;
    stage
        .refuse(CARD_STREAMING_PATH, CallRefusal::Permission, None)
        .await;
    stage.publish(SUBJECT, piece("p1", "not shown, ")).await;
    stage.publish(SUBJECT, piece("p2", "nor this")).await;
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    let card = stage.sim.cards().remove(0);
    assert_eq!(card.state, CardState::Failed);
    let sent = stage.sim.delivered();
    let words: Vec<_> = sent
        .iter()
        .map(|sent| sent.text())
        .filter(|text| text.contains("not shown"))
        .collect();
    assert_eq!(words.len(), 1, "{words:?}");
    assert!(words[0].starts_with("*(continued") && words[0].ends_with("not shown, nor this"));
    for id in ["p0", "p1", "p2", "end"] {
        assert_eq!(
            stage.receipt("sales", id).await.outcome,
            Outcome::Sent,
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_place_of_a_card_that_fails_is_kept_with_its_text() {
    let stage = Stage::open(&["sales"]).await;
    stage.inject(Fault::UnknownUser { user: "u1".into() }).await;
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "precious")).await;
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    for id in ["p0", "end"] {
        assert_eq!(
            stage.receipt("sales", id).await.outcome,
            Outcome::Failed,
            "{id}"
        );
    }
    let dead = stage.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].payload["markdown"]["text"], "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bridge_leaves_a_stream_that_the_next_one_goes_on_with() {
    let stage = with_cards().await;
    let line = stage.start("sales");
    for n in 0..5 {
        stage.publish(SUBJECT, piece(format!("p{n}"), n)).await;
    }
    text_of_open_card(&stage, "01234").await;
    for n in 5..10 {
        stage.publish(SUBJECT, piece(format!("p{n}"), n)).await;
    }
    line.kill().await;
    let other = stage.server.broker().await;
    let _line = stage.start_on(&other, "sales", "secret-sales");
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!(card.text(), "0123456789");
    assert_eq!((stage.sim.cards().len(), card.deliveries.len()), (1, 1));
    let ids = (0..10).map(|n| format!("p{n}"));
    for receipt in receipts(&stage, ids).await {
        assert_eq!(receipt.outcome, Outcome::Sent, "{}", receipt.id);
    }
    assert_eq!(stage.receipts().await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_killed_while_it_shows_a_card_never_shows_it_twice() {
    let stage = with_cards().await;
    let path = CARD_DELIVER_PATH.to_owned();
    stage
        .inject(Fault::ApplyThenHold {
            path,
            times: Some(1),
        })
        .await;
    let line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "a")).await;
    wait::until_true("the card to be shown", async || {
        stage
            .sim
            .cards()
            .iter()
            .any(|card| card.chats().count() == 1)
    })
    .await;
    line.kill().await;
    let other = stage.server.broker().await;
    let _line = stage.start_on(&other, "sales", "secret-sales");
    stage.publish(SUBJECT, last("end")).await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!((card.text().as_str(), card.chats().count()), ("a", 1));
    for id in ["p0", "end"] {
        assert_eq!(
            stage.receipt("sales", id).await.outcome,
            Outcome::Uncertain,
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_feeds_is_closed_with_what_is_there() {
    let mut stage = with_cards().await;
    stage.timings.card_deadline = Duration::from_millis(1500);
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "half an ans")).await;
    let empty = json!({"stream": "other", "append": ""});
    stage.publish(SUBJECT, empty).await;
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!(card.text(), "half an ans");
    card_in(&stage, CardState::Failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_bridge_died_is_closed_by_another() {
    let mut stage = with_cards().await;
    let line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "left behind")).await;
    stage.receipt("sales", "p0").await;
    stage.publish(SUBJECT, piece("p1", "")).await;
    stage.done().await;
    line.kill().await;
    let bucket = stage.broker.bucket(Bucket::Cards);
    let (key, entry) = bucket.entries().await.unwrap().remove(0);
    let mut record: Value = serde_json::from_slice(&entry.value).unwrap();
    record["deadline"] = json!("2026-01-01T00:00:00.000Z");
    let record = record.to_string().into();
    bucket.update(&key, record, entry.revision).await.unwrap();
    stage.timings.card_sweep = Duration::from_millis(300);
    let other = stage.server.broker().await;
    let _line = stage.start_on(&other, "sales", "secret-sales");
    let card = card_in(&stage, CardState::Finished).await;
    assert_eq!(card.text(), "left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_without_a_card_is_said_in_several_messages_and_nothing_is_lost() {
    let stage = Stage::open(&["sales"]).await;
    let count = 2300;
    for n in 0..count {
        stage
            .publish(SUBJECT, piece(format!("p{n}"), format!("{n} ")))
            .await;
    }
    stage.publish(SUBJECT, last("end")).await;
    let _line = stage.start("sales");
    stage.done().await;
    let whole: String = (0..count).map(|n| format!("{n} ")).collect();
    let words = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(words(&stage.texts_to("u1").concat()), words(&whole));
    assert_eq!(stage.receipts().await, count + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_piece_is_not_shown_twice_and_a_done_stream_takes_no_more() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    for _ in 0..2 {
        stage.publish(SUBJECT, piece("p0", "once")).await;
    }
    stage.publish(SUBJECT, last("end")).await;
    stage.publish(SUBJECT, piece("late", "more")).await;
    stage.done().await;
    assert_eq!(card_in(&stage, CardState::Finished).await.text(), "once");
    let late = stage.receipt("sales", "late").await;
    assert_eq!(late.outcome, Outcome::Failed);
    assert!(late.message.unwrap().contains("another name"));
    let duplicates = stage.metric("nats_dingtalk_requests_duplicate_total");
    assert_eq!(duplicates.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_for_a_card_goes_on_in_a_plain_message() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    let line = "a line of the long answer\n";
    let whole = line.repeat(900);
    stage
        .publish(
            SUBJECT,
            json!({"id": "p0", "stream": "answer", "append": whole, "done": true}),
        )
        .await;
    stage.done().await;
    let card = card_in(&stage, CardState::Finished).await;
    assert!(card.text().chars().count() <= 20_000);
    let receipt = stage.receipt("sales", "p0").await;
    assert_eq!(receipt.outcome, Outcome::Sent);
    let words = stage.sim.delivered().into_iter();
    let words: Vec<_> = words.filter(|sent| sent.via != SentVia::Card).collect();
    assert!(words[0].text().starts_with("*(continued"));
    let count = |text: &str| text.matches("long answer").count();
    let rest: usize = words.iter().map(|sent| count(sent.text())).sum();
    assert_eq!(count(&card.text()) + rest, 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_quota_merges_harder_and_then_gives_cards_up() {
    let stage = with_cards().await;
    let brake = |brake| {
        let standing = QuotaStanding {
            brake,
            ..QuotaStanding::default()
        };
        stage.standings.set(&account("sales"), standing);
    };
    brake(Brake::MergeCards);
    let _line = stage.start("sales");
    stage.publish(SUBJECT, piece("p0", "a")).await;
    stage.receipt("sales", "p0").await;
    stage.publish(SUBJECT, last("end")).await;
    let card = card_in(&stage, CardState::Finished).await;
    let gap = card.frames[1].at.since(card.frames[0].at);
    assert!(gap >= Duration::from_millis(3000), "{gap:?}");
    brake(Brake::NoCards);
    stage
        .publish(
            SUBJECT,
            json!({"id": "q", "stream": "next", "append": "plain", "done": true}),
        )
        .await;
    assert_eq!(stage.receipt("sales", "q").await.via, Some(Via::Openapi));
    assert_eq!(stage.sim.cards().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_cards_at_once_all_finish_and_no_frame_is_too_close() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    for round in 0..5 {
        for user in 0..50 {
            let done = round == 4;
            let body = json!({"stream": "s", "append": round.to_string(), "done": done});
            stage.publish(&format!(".sales.user.u{user}"), body).await;
        }
    }
    let cards = stage.sim.cards_in(CardState::Finished, 50).await.unwrap();
    stage.done().await;
    for card in cards {
        assert_eq!(card.text(), "01234");
        let refused =
            |frame: &&nats_dingtalk::sim::CardFrame| frame.verdict != FrameVerdict::Accepted;
        assert_eq!(card.frames.iter().filter(refused).count(), 0);
    }
    assert_eq!(stage.receipts().await, 250);
}
