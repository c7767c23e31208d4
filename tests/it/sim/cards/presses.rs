//! Buttons that are pressed, and what the answer of the app does to the card.

use std::time::Duration;

use nats_dingtalk::sim::{CARD_PATH, PressAnswer, Sim, SimError, SimOptions, UpdateSource};
use serde_json::{Value, json};

use super::super::{APP, Client, GROUP, OTHER, call, data, start, token};
use super::{card_in_group, merged, new_card, press, unpaced};

/// A card in the group and a client that gets its presses.
async fn pressable(options: SimOptions) -> (Sim, Client) {
    let sim = start(options).await;
    let token = token(&sim).await;
    let client = Client::connect(&sim, APP).await;
    card_in_group(&sim, &token, "c1").await;
    (sim, client)
}

#[tokio::test]
async fn a_press_carries_what_the_card_knows() {
    let (sim, mut client) = pressable(unpaced()).await;
    let mut press = press("u1");
    press.params.insert("choice".into(), json!(2));
    press.form.insert("reason".into(), json!("同意"));
    let seq = sim.press_card_button(APP, press).await.unwrap();
    let body = data(&client.frame().await);
    for (key, value) in [
        ("type", json!("actionCallback")),
        ("outTrackId", json!("c1")),
        ("userId", json!("u1")),
        ("userIdType", json!(1)),
        ("spaceType", json!("IM")),
        ("spaceId", json!(GROUP)),
        ("extension", json!("{}")),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let content: Value = serde_json::from_str(body["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        content,
        json!({"cardPrivateData": {"actionIds": ["approve"],
                "params": {"choice": 2, "form": {"reason": "同意"}}}})
    );
    assert_eq!(body["value"], body["content"]);
    let pressed = &sim.card("c1").unwrap().presses[0];
    assert_eq!(
        (pressed.frame, &pressed.answer),
        (seq, &PressAnswer::Waiting)
    );
}

#[tokio::test]
async fn an_answer_in_time_changes_the_card_for_everybody_and_for_who_pressed() {
    let (sim, mut client) = pressable(unpaced()).await;
    sim.press_card_button(APP, press("u1")).await.unwrap();
    let pushed = client.frame().await;
    let response = json!({
        "cardUpdateOptions": {"updateCardDataByKey": true, "updatePrivateDataByKey": true},
        "cardData": {"cardParamMap": {"status": "approved"}},
        "userPrivateData": {"cardParamMap": {"submitted": "true"}},
    });
    client
        .ack(&pushed, 200, json!({"response": response}))
        .await;
    let card = sim
        .card_until("c1", "an answer", |card| {
            card.presses[0].answer == PressAnswer::Applied
        })
        .await
        .unwrap();
    let mut everybody = json!({"config": "{\"autoLayout\":true}", "status": "approved"});
    assert_eq!(json!(card.seen_by("u2")), everybody);
    everybody["submitted"] = json!("true");
    assert_eq!(json!(card.seen_by("u1")), everybody);
    assert_eq!(card.updates[0].source, UpdateSource::Answer);
}

#[tokio::test]
async fn an_answer_that_says_nothing_or_nonsense_changes_nothing() {
    let (sim, mut client) = pressable(unpaced()).await;
    let answers = [
        (200, json!({"response": {}}), PressAnswer::Empty),
        (200, json!({"response": null}), PressAnswer::Empty),
        (200, json!({"response": "OK"}), PressAnswer::Empty),
        (
            200,
            json!({"response": {"cardData": {"cardParamMap": {"n": 1}}}}),
            PressAnswer::Invalid {
                why: "param.invalid".to_owned(),
            },
        ),
        (
            500,
            json!({"response": {"cardData": {"cardParamMap": {"n": "1"}}}}),
            PressAnswer::Invalid {
                why: "code 500".to_owned(),
            },
        ),
    ];
    for (nth, (code, answer, expected)) in answers.into_iter().enumerate() {
        sim.press_card_button(APP, press("u1")).await.unwrap();
        let pushed = client.frame().await;
        client.ack(&pushed, code, answer).await;
        let card = sim
            .card_until("c1", "an answer", |card| {
                card.presses[nth].answer != PressAnswer::Waiting
            })
            .await
            .unwrap();
        assert_eq!(card.presses[nth].answer, expected);
        assert!(card.updates.is_empty());
    }
}

#[tokio::test]
async fn a_late_answer_is_not_applied() {
    let (sim, mut client) = pressable(SimOptions {
        card_answer_within: Duration::ZERO,
        ..unpaced()
    })
    .await;
    sim.press_card_button(APP, press("u1")).await.unwrap();
    let pushed = client.frame().await;
    let response = json!({"cardData": {"cardParamMap": {"status": "approved"}}});
    client
        .ack(&pushed, 200, json!({"response": response}))
        .await;
    let card = sim
        .card_until("c1", "an answer", |card| {
            card.presses[0].answer == PressAnswer::Late
        })
        .await
        .unwrap();
    assert!(!card.params.contains_key("status"));
}

#[tokio::test]
async fn a_card_calls_back_only_its_app_and_only_over_stream() {
    let (sim, _client) = pressable(unpaced()).await;
    let _other = Client::connect(&sim, OTHER).await;
    let silent = sim.press_card_button(OTHER, press("u1")).await;
    assert!(matches!(silent, Err(SimError::SilentCard(_))));
    let token = token(&sim).await;
    let body = merged(new_card("c2"), json!({"callbackType": "HTTP"}));
    call(&sim, CARD_PATH, &token, body).await;
    let mut press = press("u1");
    press.out_track_id = "c2".to_owned();
    let silent = sim.press_card_button(APP, press).await;
    assert!(matches!(silent, Err(SimError::SilentCard(_))));
}
