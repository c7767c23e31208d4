//! The Open API client against the simulated DingTalk, which knows nothing of it.

mod cards;
mod custom;
mod media;
mod quota;
mod robot;
mod sends;

use std::num::NonZeroU32;
use std::time::Duration;

use nats_dingtalk::config;
use nats_dingtalk::dingtalk::api::{
    Accepted, Api, ApiError, Http, LeaveBy, Recipient, Shipment, ShipmentBody, render_robot,
};
use nats_dingtalk::message::{AccountName, Content, Priority};
use nats_dingtalk::sim::Sim;
use nats_dingtalk::telemetry::Metrics;

use crate::sim::APP;
use crate::support::sections;

/// The Open API of the simulator's first app, and what it counts.
fn client(sim: &Sim) -> (Api, Metrics) {
    let dingtalk = sections::dingtalk(sim, Duration::from_secs(2));
    let account = config::Account {
        rate: NonZeroU32::new(20).unwrap(),
        ..sections::account(APP, "secret-1")
    };
    let metrics = Metrics::new();
    let name = AccountName::parse("sales").unwrap();
    let http = Http::new(&dingtalk).unwrap();
    let api = Api::new(http, &dingtalk, name, &account, metrics.clone());
    (api, metrics)
}

/// How many calls of the account were billed.
fn billed(metrics: &Metrics) -> u64 {
    let text = metrics.encode();
    let line = text
        .lines()
        .find_map(|line| line.split(r#"billed_calls_total{account="sales"} "#).nth(1));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn ship(api: &Api, shipment: &Shipment) -> Result<Accepted, ApiError> {
    api.prepare(&shipment.recipient, Priority::Normal).await?;
    api.send(shipment, soon()).await
}

/// Long enough for any call.
fn soon() -> LeaveBy {
    LeaveBy::within(Duration::from_secs(10))
}

/// Sends a content and gives its processQueryKey.
async fn sent(api: &Api, recipient: Recipient, content: &Content) -> String {
    let body: ShipmentBody = render_robot(content).remove(0);
    let accepted = ship(api, &Shipment { recipient, body }).await.unwrap();
    accepted.process_query_key.unwrap()
}

fn group(id: &str) -> Recipient {
    Recipient::Group(id.to_owned())
}

fn user(id: &str) -> Recipient {
    Recipient::Users(vec![id.to_owned()])
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}
