//! Tokens of both API families, and what comes of wrong ones.

use std::time::Duration;

use nats_dingtalk::sim::{Fault, SimOptions, TOKEN_PATH, TokenFamilies, USER_SEND_PATH};
use serde_json::{Value, json};

use super::{APP, call, http, options, start, to_user, token};

#[tokio::test]
async fn the_token_is_the_same_while_it_lives() {
    let sim = start(options()).await;
    let first = token(&sim).await;
    assert_eq!(first, token(&sim).await);
    sim.inject(Fault::ExpireToken {
        app: APP.to_owned(),
    })
    .await
    .unwrap();
    let (status, body) = call(&sim, USER_SEND_PATH, &first, to_user("x")).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (400, Some("InvalidAuthentication"))
    );
    let second = token(&sim).await;
    assert_ne!(first, second);
    assert_eq!(
        call(&sim, USER_SEND_PATH, &second, to_user("x")).await.0,
        200
    );
}

#[tokio::test]
async fn an_expired_token_is_replaced_by_a_new_one() {
    let sim = start(SimOptions {
        token_life: Duration::ZERO,
        ..options()
    })
    .await;
    let first = token(&sim).await;
    assert_ne!(first, token(&sim).await);
    let (status, body) = call(&sim, USER_SEND_PATH, &first, to_user("x")).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (400, Some("InvalidAuthentication"))
    );
}

#[tokio::test]
async fn both_token_families_are_taken_unless_told_otherwise() {
    for (families, status) in [(TokenFamilies::Shared, 200), (TokenFamilies::Strict, 400)] {
        let sim = start(SimOptions {
            token_families: families,
            ..options()
        })
        .await;
        let url = format!(
            "{}/gettoken?appkey={APP}&appsecret=secret-1",
            sim.oapi_url()
        );
        let answer: Value = http().get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["errcode"], 0);
        let legacy = answer["access_token"].as_str().unwrap();
        assert_eq!(
            call(&sim, USER_SEND_PATH, legacy, to_user("x")).await.0,
            status
        );
        assert_eq!(
            call(&sim, USER_SEND_PATH, &token(&sim).await, to_user("x"))
                .await
                .0,
            200
        );
    }
}

#[tokio::test]
async fn wrong_credentials_get_no_token_in_either_family() {
    let sim = start(options()).await;
    let body = json!({"appKey": APP, "appSecret": "no"});
    let (status, body) = call(&sim, TOKEN_PATH, "", body).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (400, Some("invalidClientIdOrSecret"))
    );
    let url = format!("{}/gettoken?appkey={APP}&appsecret=no", sim.oapi_url());
    let answer: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["errcode"], 40089);
}
