//! The verbs of `dingtalk.api.>`, sessions and scheduled requests, through a plain NATS client against
//! the bridge as its own process.

mod accounts;
mod asks;
mod bindings;
mod discovery;
mod recalls;
mod scheduled;
mod secrets;

use std::time::Duration;

use nats_dingtalk::message::Timestamp;
use serde_json::Value;

use crate::support::nats::Nats;
use crate::support::wait;

/// The reply of a verb: its number when it is a failure, and its body.
struct Told {
    failure: Option<u16>,
    body: Value,
    /// Headers and body as they came.
    raw: String,
}

/// Asks a verb, from the moment on when somebody serves it.
async fn ask(nats: &Nats, verb: &str, question: &Value) -> Told {
    tell(nats, verb, question.to_string()).await
}

async fn tell(nats: &Nats, verb: &str, question: String) -> Told {
    let client = nats.client().await;
    let subject = format!("dingtalk.api.{verb}");
    let reply = wait::until(&format!("an answer of {verb}"), async || {
        let request = async_nats::Request::new()
            .payload(question.clone().into())
            .timeout(Some(Duration::from_secs(20)));
        client.send_request(subject.clone(), request).await.ok()
    })
    .await;
    let header = |name: &str| {
        let headers = reply.headers.as_ref()?;
        Some(headers.get(name)?.as_str().to_owned())
    };
    let code = header("Nats-Service-Error-Code");
    if code.is_some() {
        assert!(header("Nats-Service-Error").is_some_and(|text| !text.is_empty()));
    }
    let text = String::from_utf8_lossy(&reply.payload).into_owned();
    Told {
        failure: code.map(|code| code.parse().unwrap()),
        body: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{verb}: {error}: {text}")),
        raw: format!("{:?} {text}", reply.headers),
    }
}

/// Asks a verb that does what it is asked.
async fn done(nats: &Nats, verb: &str, question: Value) -> Value {
    let told = ask(nats, verb, &question).await;
    assert_eq!(told.failure, None, "{verb}: {}", told.body);
    told.body
}

/// Asks a verb that refuses; number and code.
async fn denied(nats: &Nats, verb: &str, question: Value) -> (u16, String) {
    let told = ask(nats, verb, &question).await;
    let failure = told.failure;
    let failure = failure.unwrap_or_else(|| panic!("{verb} {question}: {}", told.body));
    assert!(told.body["message"].is_string(), "{}", told.body);
    (failure, told.body["code"].as_str().unwrap().to_owned())
}

/// An instant so many milliseconds from now, as a request writes it.
fn from_now(millis: u64) -> String {
    Timestamp::now()
        .after(Duration::from_millis(millis))
        .to_string()
}
