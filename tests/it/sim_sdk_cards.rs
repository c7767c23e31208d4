//! The card helpers of DingTalk's official SDK clients on the simulated DingTalk.
//!
//! The programs are `tests/sdk/python/cards.py` and `tests/sdk/node/cards.cjs`; what they need is told in
//! the module of the other SDK tests.

use std::time::Duration;

use nats_dingtalk::sim::{
    CARD_CREATE_AND_DELIVER_PATH, CardPress, CardState, CardView, Message, PressAnswer, SentVia,
    Sim, SimApp, SimOptions, TOKEN_PATH,
};
use serde_json::{Value, json};

use super::sim_sdk::{APP, Bot, GROUP, PATIENCE, Sdk};

/// How long an answer to a press may take on a busy machine, where an interpreter has to wait its turn.
const ANSWER: Duration = Duration::from_secs(30);

async fn start() -> Sim {
    Sim::start(SimOptions {
        apps: vec![SimApp::new(APP, "secret")],
        // The helpers answer a message after they have sent their cards.
        bot_retries: Vec::new(),
        card_answer_within: ANSWER,
        patience: PATIENCE,
        ..SimOptions::default()
    })
    .await
    .unwrap()
}

/// The Python program, when it is installed.
async fn python() -> Option<(Sim, Bot)> {
    let sim = start().await;
    let bot = Bot::start_program(Sdk::Python, &sim, "cards", 0).await?;
    Some((sim, bot))
}

/// Has the named helper answer a message; the card that it made.
async fn made(sim: &Sim, bot: &mut Bot, message: Message) -> CardView {
    sim.say(APP, message).await.unwrap();
    let told = bot.told("card").await;
    sim.card(told["id"].as_str().unwrap()).unwrap()
}

fn in_group(helper: &str) -> Message {
    Message::in_group(GROUP, "manager1", helper)
}

fn to_bot(helper: &str) -> Message {
    Message::to_bot("manager1", helper)
}

fn states(card: &CardView) -> Vec<&str> {
    let statuses = card.updates.iter();
    statuses
        .filter_map(|update| update.flow_status.as_deref())
        .collect()
}

#[tokio::test]
async fn the_python_sdk_sends_and_updates_a_markdown_card() {
    let Some((sim, mut bot)) = python().await else {
        return;
    };
    let card = made(&sim, &mut bot, in_group("markdown")).await;
    assert_eq!(card.state, CardState::Delivered);
    assert_eq!(card.text(), "**deployed** twice");
    assert_eq!(card.params["title"], "Deploy");
    assert_eq!(card.deliveries[0].at_users, ["manager1"]);
    let sent = sim.delivered();
    assert_eq!(
        (sent[0].via, sent[0].text()),
        (SentVia::Card, "**deployed**")
    );
    let alone = made(&sim, &mut bot, to_bot("markdown")).await;
    assert_eq!(alone.chats().collect::<Vec<_>>(), ["manager1"]);
}

#[tokio::test]
async fn the_python_sdk_streams_finishes_and_fails_ai_cards() {
    let Some((sim, mut bot)) = python().await else {
        return;
    };
    let card = made(&sim, &mut bot, in_group("typed")).await;
    assert_eq!(card.state, CardState::Finished);
    let written: Vec<_> = card
        .accepted()
        .map(|frame| frame.content.as_str())
        .collect();
    assert_eq!(written, ["Hello", "Hello, world", "Hello, world."]);
    assert_eq!(
        (states(&card), card.text()),
        (vec!["2", "3"], "Hello, world.".to_owned())
    );

    let card = made(&sim, &mut bot, to_bot("failing")).await;
    assert_eq!(
        (card.state, states(&card)),
        (CardState::Failed, vec!["2", "5"])
    );

    let card = made(&sim, &mut bot, in_group("replier")).await;
    assert_eq!(
        (card.state, card.text()),
        (CardState::Finished, "one two".to_owned())
    );
    assert_eq!(card.deliveries[0].at_users, ["@ALL"]);

    let card = made(&sim, &mut bot, to_bot("broken")).await;
    assert_eq!(
        (card.state, card.text()),
        (CardState::Failed, "x".to_owned())
    );
}

#[tokio::test]
async fn the_python_sdk_sends_its_other_cards() {
    let Some((sim, mut bot)) = python().await else {
        return;
    };
    let card = made(&sim, &mut bot, in_group("merging")).await;
    assert_eq!(json!(card.params), json!({"content": "c", "left": "b"}));
    let card = made(&sim, &mut bot, to_bot("carousel")).await;
    assert_eq!(
        (card.state, card.text()),
        (CardState::Finished, "Pick one".to_owned())
    );
    let card = made(&sim, &mut bot, to_bot("plugin")).await;
    assert_eq!(
        (card.state, &card.params["goal"]),
        (CardState::Finished, &"order".to_owned())
    );

    sim.say(APP, in_group("old")).await.unwrap();
    let update = bot.told("update").await;
    assert!(update["result"]["processQueryKey"].is_string());
    let id = bot.told("card").await["id"].clone();
    let old = sim.card(id.as_str().unwrap()).unwrap();
    assert!(old.text().starts_with("second"));
    assert_eq!(old.chats().collect::<Vec<_>>(), [GROUP]);
    let sent = sim.delivered();
    assert_eq!((sent[3].via, sent[3].text()), (SentVia::Card, "first"));
}

/// A press of a button of this card is told, answered, and the answer shows.
async fn answers_a_press(sim: &Sim, bot: &mut Bot, id: &str) {
    let press = CardPress {
        out_track_id: id.to_owned(),
        user: "manager1".to_owned(),
        action_ids: vec!["again0".to_owned()],
        ..CardPress::default()
    };
    sim.press_card_button(APP, press).await.unwrap();
    let told = bot.told("press").await;
    assert_eq!(
        (&told["id"], &told["user"]),
        (&json!(id), &json!("manager1"))
    );
    assert_eq!(
        told["content"]["cardPrivateData"]["actionIds"],
        json!(["again0"])
    );
    let card = sim
        .card_until(id, "the answer to a press", |card| {
            card.presses[0].answer == PressAnswer::Applied
        })
        .await
        .unwrap();
    assert_eq!(card.params["tips"], "pressed");
    assert_eq!(card.text(), "Deploy?");
    assert!(!card.params.contains_key("mine"));
    assert_eq!(card.seen_by("manager1")["mine"], "true");
}

#[tokio::test]
async fn the_python_sdk_answers_a_press_with_an_update() {
    let Some((sim, mut bot)) = python().await else {
        return;
    };
    let card = made(&sim, &mut bot, in_group("button")).await;
    answers_a_press(&sim, &mut bot, &card.out_track_id).await;
}

#[tokio::test]
async fn the_node_sdk_answers_a_press_with_an_update() {
    let sim = start().await;
    let Some(mut bot) = Bot::start_program(Sdk::Node, &sim, "cards", 0).await else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, token: &str, body: Value| -> Value {
        let request = client.post(format!("{}{path}", sim.api_url()));
        let request = request.header("x-acs-dingtalk-access-token", token);
        let answer = request.json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let credentials = json!({"appKey": APP, "appSecret": "secret"});
    let token = post(TOKEN_PATH, "", credentials).await;
    let card = json!({
        "cardTemplateId": "1366a1eb-bc54-4859-ac88-517c56a9acb1.schema",
        "outTrackId": "node-1",
        "callbackType": "STREAM",
        "cardData": {"cardParamMap": {"markdown": "Deploy?"}},
        "imRobotOpenSpaceModel": {"supportForward": true},
        "openSpaceId": "dtv1.card//IM_ROBOT.manager1",
        "imRobotOpenDeliverModel": {"spaceType": "IM_ROBOT"},
    });
    let token = token["accessToken"].as_str().unwrap();
    let made = post(CARD_CREATE_AND_DELIVER_PATH, token, card).await;
    assert_eq!(made["result"]["deliverResults"][0]["success"], true);
    answers_a_press(&sim, &mut bot, "node-1").await;
}
