//! One request to many users: twenty a call, one receipt that says how each of them fared.

use std::collections::BTreeMap;
use std::time::Duration;

use nats_dingtalk::message::{DeadReason, Outcome, Receipt, Target, Timestamp};
use nats_dingtalk::sim::{Fault, Sim, USER_SEND_PATH};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::support::wait;

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("u{n}")).collect()
}

fn listed(users: &[String]) -> Value {
    serde_json::to_value(Target::Users(users.to_vec())).unwrap()
}

/// How often each user got something.
fn seen(sim: &Sim) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for sent in sim.delivered() {
        let missed = [&sent.invalid_users, &sent.flow_controlled_users];
        for user in sent
            .to
            .iter()
            .filter(|&user| !missed.iter().any(|list| list.contains(user)))
        {
            *seen.entry(user.clone()).or_default() += 1;
        }
    }
    seen
}

async fn doubt_one_call(stage: &Stage) {
    let path = USER_SEND_PATH.to_owned();
    let times = Some(1);
    stage.inject(Fault::ApplyThenHold { path, times }).await;
}

/// The canonical subject of a list, as a publisher would write it.
fn canonical(users: &[String]) -> String {
    let target = Target::Users(users.to_vec());
    let (_, id) = target.address().unwrap();
    format!(".sales.user.{}", id.replace(',', "%2C"))
}

fn sorted(mut users: Vec<String>) -> Vec<String> {
    users.sort();
    users
}

/// Everybody is accounted for once, and nobody saw it twice.
fn check_books(receipt: &Receipt, users: &[String], seen: &BTreeMap<String, usize>) {
    for user in users {
        let times = seen.get(user).copied().unwrap_or_default();
        assert!(times <= 1, "{user} saw it {times} times");
        let told = [
            &receipt.refused_users,
            &receipt.uncertain_users,
            &receipt.unsent_users,
        ];
        let told = told.iter().filter(|list| list.contains(user)).count();
        assert!(told <= 1, "{user} is told of {told} times");
        if told == 0 {
            assert_eq!(times, 1, "{user} got nothing, and the receipt is silent");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_users_get_it_once_and_the_receipt_names_the_others() {
    let stage = Stage::open(&["sales"]).await;
    let users = names(0..2000);
    for user in ["u25", "u26", "u777", "u1999"] {
        let user = user.to_owned();
        stage.inject(Fault::UnknownUser { user }).await;
    }
    for user in ["u41", "u900", "u1998"] {
        let user = user.to_owned();
        stage.inject(Fault::FlowControlUser { user }).await;
    }
    let _line = stage.start("sales");
    let say = async |user: &str, id: &str| {
        let subject = format!(".sales.user.{user}");
        stage.publish(&subject, json!({"id": id, "text": id})).await;
    };
    say("u1500", "before").await;
    stage.receipt("sales", "before").await;
    doubt_one_call(&stage).await;
    let body = json!({"id": "all", "to": listed(&users), "text": "news"});
    stage.publish(&canonical(&users), body).await;
    stage.sim.delivered_count(2).await.unwrap();
    say("u1500", "after").await;
    say("else", "else").await;
    let elsewhere = stage.receipt("sales", "else").await;
    assert_eq!(elsewhere.outcome, Outcome::Sent, "no other chat waits");
    wait::until_true("the users who were put off to be asked alone", async || {
        let mut calls = stage.sim.sent().into_iter();
        calls.any(|sent| sent.flow_controlled_users.len() == 3 && sent.to.is_empty())
    })
    .await;
    assert!(!stage.texts_to("u1500").contains(&"after".to_owned()));
    stage.sim.clear_faults();
    let receipt = stage.receipt("sales", "all").await;
    stage.done().await;
    assert_eq!(receipt.outcome, Outcome::Uncertain);
    assert_eq!(receipt.uncertain_users, names(0..20));
    assert_eq!(
        sorted(receipt.refused_users.clone()),
        ["u1999", "u25", "u26", "u777"]
    );
    assert!(receipt.unsent_users.is_empty());
    check_books(&receipt, &users, &seen_news(&stage));
    let ended = |outcome| {
        receipt
            .parts
            .iter()
            .filter(move |part| part.outcome == outcome)
    };
    assert_eq!(ended(Outcome::Uncertain).count(), 1);
    let keys = ended(Outcome::Sent).filter(|part| part.process_query_key.is_some());
    assert_eq!(
        keys.count(),
        100,
        "99 calls, and one for those who were put off"
    );
    assert!(receipt.attempts >= 101 && receipt.cost >= 100);
    assert_eq!(stage.texts_to("u1500"), ["before", "news", "after"]);
}

/// How often each user got the news.
fn seen_news(stage: &Stage) -> BTreeMap<String, usize> {
    let mut all = seen(&stage.sim);
    for sent in stage.sim.delivered() {
        if sent.text() != "news" {
            for user in &sent.to {
                *all.get_mut(user).unwrap() -= 1;
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_doubt_is_not_repeated_and_the_others_go_on_also_over_two_deaths() {
    let stage = Stage::open(&["sales"]).await;
    let users = names(0..210);
    let body = json!({"id": "all", "to": listed(&users), "text": "news"});
    stage.publish(&canonical(&users), body).await;
    for life in 1..=2 {
        doubt_one_call(&stage).await;
        let line = stage.start("sales");
        stage.sim.delivered_count(life).await.unwrap();
        line.kill().await;
    }
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "all").await;
    assert_eq!(receipt.outcome, Outcome::Uncertain);
    assert_eq!(receipt.uncertain_users, names(0..40));
    assert!(receipt.refused_users.is_empty() && receipt.unsent_users.is_empty());
    assert_eq!(receipt.parts.len(), 11);
    assert_eq!((receipt.attempts, receipt.cost), (11, 11));
    stage.done().await;
    let seen = seen(&stage.sim);
    assert_eq!(seen.len(), 210);
    check_books(&receipt, &users, &seen);
    assert!(
        stage.dead().await.is_empty(),
        "what is in doubt is no dead letter"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_whose_turn_never_came_are_named_when_the_time_is_over() {
    let stage = Stage::open(&["sales"]).await;
    let user = "u30".to_owned();
    stage.inject(Fault::FlowControlUser { user }).await;
    let users = names(0..45);
    let soon = Timestamp::now().after(Duration::from_secs(2)).to_string();
    let body = json!({"id": "all", "to": listed(&users), "text": "news", "expires_at": soon});
    stage.publish(&canonical(&users), body).await;
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "all").await;
    assert_eq!(receipt.outcome, Outcome::Expired);
    assert_eq!(receipt.unsent_users, ["u30"]);
    stage.done().await;
    assert_eq!(seen(&stage.sim).len(), 44);
    check_books(&receipt, &users, &seen(&stage.sim));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_dingtalk_refuses_is_given_up_with_everybody_it_did_not_reach() {
    let stage = Stage::open(&["sales"]).await;
    let users = names(0..45);
    let body = json!({"id": "none", "to": listed(&users), "text": "news"});
    let refusal = Fault::Reject {
        path: USER_SEND_PATH.to_owned(),
        status: 400,
        body: r#"{"code":"contain.notAllowed.text","message":"不允许"}"#.to_owned(),
        times: Some(1),
    };
    stage.inject(refusal).await;
    stage.publish(&canonical(&users), body).await;
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "none").await;
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert_eq!(receipt.code.as_deref(), Some("contain.notAllowed.text"));
    assert_eq!(receipt.unsent_users, users);
    stage.done().await;
    assert_eq!(stage.dead().await.len(), 1);
    assert!(seen(&stage.sim).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_nobody_fails_and_one_of_some_is_sent() {
    let stage = Stage::open(&["sales"]).await;
    for user in names(0..24) {
        stage.inject(Fault::UnknownUser { user }).await;
    }
    for (id, count) in [("nobody", 24), ("some", 25)] {
        let users = names(0..count);
        let body = json!({"id": id, "to": listed(&users), "text": "news"});
        stage.publish(&canonical(&users), body).await;
    }
    let _line = stage.start("sales");
    let nobody = stage.receipt("sales", "nobody").await;
    assert_eq!(nobody.outcome, Outcome::Failed);
    assert_eq!(nobody.code.as_deref(), Some("invalid-user"));
    assert_eq!(nobody.refused_users.len(), 24);
    let some = stage.receipt("sales", "some").await;
    assert_eq!(
        (some.outcome, some.refused_users.len()),
        (Outcome::Sent, 24)
    );
    assert_eq!(stage.texts_to("u24"), ["news"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_goes_by_its_digest_and_another_list_is_refused() {
    let stage = Stage::open(&["sales"]).await;
    stage.start_mover(&["sales"]);
    let _line = stage.start("sales");
    let users = names(0..300);
    let body = |id: &str, users: &[String]| json!({"id": id, "to": listed(users), "text": "hi"});
    stage.publish(".sales", body("bare", &users)).await;
    let receipt = stage.receipt("sales", "bare").await;
    assert_eq!((receipt.outcome, receipt.cost), (Outcome::Sent, 15));
    let expected = format!("dingtalk.outbound{}", canonical(&users));
    assert_eq!(receipt.subject, Some(expected));
    assert_eq!(
        receipt.process_query_key,
        receipt.parts[0].process_query_key
    );
    let other = body("other", &names(1..301));
    stage.publish(&canonical(&users), other).await;
    stage
        .publish(&canonical(&users), json!({"id": "none", "text": "hi"}))
        .await;
    for id in ["other", "none"] {
        let receipt = stage.receipt("sales", id).await;
        assert_eq!(receipt.outcome, Outcome::Failed);
        assert_eq!(receipt.code.as_deref(), Some("mismatch"));
    }
    stage.done().await;
    let dead = stage.dead().await;
    assert!(dead.iter().all(|dead| dead.reason == DeadReason::Mismatch));
    assert_eq!(dead.len(), 2);
}
