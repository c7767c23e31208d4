//! The simulator over HTTP.

use nats_dingtalk::sim::{SimApp, SimOptions};
use serde_json::{Value, json};

use super::{APP, Client, GROUP, call, data, http, options, start};

#[tokio::test]
async fn a_person_can_drive_and_watch_it_over_http() {
    let sim = start(SimOptions {
        apps: vec![SimApp::new(APP, "secret-1")],
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let (status, said) = call(
        &sim,
        "/sim/say",
        "",
        json!({"user": "u1", "text": "hi", "group": GROUP}),
    )
    .await;
    assert_eq!(status, 200);
    let frame = client.frame().await;
    assert_eq!(data(&frame)["msgId"], said["msgId"]);
    client.ok(&frame).await;
    sim.acked(said["msgId"].as_str().unwrap()).await.unwrap();
    let (_, again) = call(&sim, "/sim/redeliver", "", json!({"id": said["msgId"]})).await;
    assert!(again["frame"].is_number());
    assert_eq!(client.frame().await["data"], frame["data"]);
    let (_, event) = call(
        &sim,
        "/sim/event",
        "",
        json!({"event_type": "t", "data": {"a": 1}}),
    )
    .await;
    assert_eq!(client.frame().await["headers"]["eventId"], event["eventId"]);
    let (status, _) = call(&sim, "/sim/push", "", json!({"text": "garbage"})).await;
    assert_eq!((status, client.text().await.as_str()), (200, "garbage"));
    let (status, _) = call(&sim, "/sim/faults", "", json!([{"fault": "unheard of"}])).await;
    assert_eq!(status, 400);
    let fault = json!({"fault": "close", "code": 1000});
    let (_, done) = call(&sim, "/sim/faults", "", fault).await;
    assert_eq!(done["injected"], 1);
    client.until_gone().await;
    let (status, error) = call(&sim, "/sim/say", "", json!({"user": "u1", "text": "hi"})).await;
    assert_eq!(status, 409, "{error}");
    let read = async |path: &str| -> Value {
        let url = format!("{}/sim/{path}", sim.api_url());
        http().get(url).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(read("frames").await[0]["state"], "acked");
    assert_eq!(read("connections").await[0]["state"], "closed");
    assert_eq!(read("sent").await, json!([]));
    assert_eq!(read("state").await["counters"]["lost"], 1);
    assert!(!read("calls").await.to_string().contains("secret-1"));
}
