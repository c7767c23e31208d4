//! The end of a month's quota, in every family that is billed.

use std::time::Duration;

use nats_dingtalk::dingtalk::api::{ErrorClass, Recipient, SentTo, Shipment, Upload, render_robot};
use nats_dingtalk::message::MediaKind;
use nats_dingtalk::sim::SimOptions;
use reqwest::Body;

use super::{billed, client, sent, ship, text, user};
use crate::sim::{options, start};

/// Longer than any month.
const MONTH: Duration = Duration::from_secs(31 * 86_400);

fn until_the_month_turns(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Quota(wait) if wait > Duration::ZERO && wait <= MONTH)
}

#[tokio::test]
async fn an_exhausted_quota_is_told_apart_and_ends_with_the_month() {
    let sim = start(SimOptions {
        quota: Some(2),
        union_ids: vec![("union-1".to_owned(), "manager1".to_owned())],
        ..options()
    })
    .await;
    let (api, metrics) = client(&sim);
    let key = sent(&api, user("u1"), &text("one")).await;
    sent(&api, user("u1"), &text("two")).await;
    let recipient: Recipient = user("u1");
    let body = render_robot(&text("three")).remove(0);
    let error = ship(&api, &Shipment { recipient, body }).await.unwrap_err();
    assert!(until_the_month_turns(error.class), "{error:?}");
    assert!(error.cure.is_some());
    let error = api
        .recall(SentTo::Users, std::slice::from_ref(&key))
        .await
        .unwrap_err();
    assert!(until_the_month_turns(error.class), "{error:?}");
    let upload = Upload {
        kind: MediaKind::File,
        name: "a.zip".to_owned(),
        size: 2,
        body: Body::from("PK"),
    };
    let error = api.upload(upload).await.unwrap_err();
    assert!(until_the_month_turns(error.class), "{error:?}");
    assert_eq!(billed(&metrics), 2, "what the quota refuses is not billed");
    // Looking people up is exempt.
    assert!(api.user_by_union_id("union-1").await.unwrap().is_some());
    sim.turn_month();
    api.recall(SentTo::Users, std::slice::from_ref(&key))
        .await
        .unwrap();
    assert_eq!(billed(&metrics), 3);
}
