//! The floor: one token, then posts to the robot API, so many at once, and nothing else.

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};

/// Sends `count` texts, `at_once` of them at a time.
pub(crate) async fn run(api: &str, (count, at_once): (usize, usize)) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(at_once)
        .build()
        .unwrap();
    let answer: Value = http
        .post(format!("{api}/v1.0/oauth2/accessToken"))
        .json(&json!({"appKey": super::scene::CLIENT_ID, "appSecret": super::scene::SECRET}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let token = answer["accessToken"].as_str().unwrap();
    let url = format!("{api}/v1.0/robot/oToMessages/batchSend");
    let sends = stream::iter(0..count).map(|n| {
        let body = json!({
            "robotCode": super::scene::CLIENT_ID,
            "userIds": [format!("u{}", n % 1000)],
            "msgKey": "sampleText",
            "msgParam": json!({"content": format!("text {n}")}).to_string(),
        });
        let request = http
            .post(&url)
            .header("x-acs-dingtalk-access-token", token)
            .json(&body);
        async move {
            let answer: Value = request.send().await.unwrap().json().await.unwrap();
            assert!(answer["processQueryKey"].is_string(), "{answer}");
        }
    });
    sends
        .buffer_unordered(at_once)
        .for_each(|()| std::future::ready(()))
        .await;
    // The harness ends it, so that what it used can still be read.
    std::future::pending::<()>().await;
}
