//! How often a card may be written to, and what every call costs.

use std::time::Duration;

use nats_dingtalk::sim::{CARD_PATH, CARD_STREAMING_PATH, FrameVerdict, SimOptions};
use serde_json::json;

use super::super::{options, start, token};
use super::{QPS, card_in_group, done, frame, put, unpaced};

#[tokio::test]
async fn frames_of_one_card_that_come_too_close_are_refused_and_other_cards_go_on() {
    let sim = start(SimOptions {
        card_frame_gap: Some(Duration::from_secs(60)),
        ..options()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    card_in_group(&sim, &token, "c2").await;
    let first = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g1", "a")).await;
    let (status, answer) = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g2", "b")).await;
    let other = put(&sim, CARD_STREAMING_PATH, &token, frame("c2", "g3", "c")).await;
    assert_eq!((&first, &other), (&done(), &done()));
    assert_eq!((status, &answer["code"]), (403, &json!(QPS)));
    // Updates have no pace of their own: the official helpers send them between frames.
    let update = json!({"outTrackId": "c1", "cardData": {"cardParamMap": {"msgContent": "u"}}});
    assert_eq!(put(&sim, CARD_PATH, &token, update).await, done());
    let verdict = sim.card("c1").unwrap().frames[1].verdict.clone();
    assert_eq!(
        verdict,
        FrameVerdict::Refused {
            code: QPS.to_owned()
        }
    );
}

#[tokio::test]
async fn frames_over_the_limit_of_the_app_are_refused_across_cards() {
    let sim = start(SimOptions {
        calls_per_second: Some(3),
        card_frame_gap: None,
        ..options()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    card_in_group(&sim, &token, "c2").await;
    let mut statuses = Vec::new();
    for (nth, id) in ["c1", "c2", "c1", "c2"].iter().enumerate() {
        let body = frame(id, &format!("g{nth}"), "x");
        statuses.push(put(&sim, CARD_STREAMING_PATH, &token, body).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 403]);
    let last = sim.card("c2").unwrap().frames.pop().unwrap();
    assert!(matches!(last.verdict, FrameVerdict::Refused { .. }));
}

#[tokio::test]
async fn every_card_call_is_billed_and_a_used_up_month_refuses_frames() {
    let sim = start(SimOptions {
        quota: Some(2),
        ..unpaced()
    })
    .await;
    let token = token(&sim).await;
    card_in_group(&sim, &token, "c1").await;
    let first = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g1", "x")).await;
    assert_eq!(first, done());
    let (status, answer) = put(&sim, CARD_STREAMING_PATH, &token, frame("c1", "g2", "y")).await;
    let code = "Forbidden.AccessDenied.ApiCountLimitForOrg";
    assert_eq!((status, &answer["code"]), (403, &json!(code)));
    let code = code.to_owned();
    let verdict = sim.card("c1").unwrap().frames[1].verdict.clone();
    assert_eq!(verdict, FrameVerdict::Refused { code });
}
