//! Sections of the configuration as the loader hands them out, for tests of parts of the bridge.

use std::num::NonZeroU32;
use std::time::Duration;

use nats_dingtalk::config::{Account, Dingtalk, Nats, NatsAuth, NatsTls, Policy, ServerLocation};
use nats_dingtalk::message::{Secret, Subjects};
use nats_dingtalk::sim::Sim;

/// The defaults, for a broker that is named elsewhere.
pub(crate) fn nats() -> Nats {
    Nats {
        server: ServerLocation::Url(String::new()),
        auth: NatsAuth::None,
        tls: NatsTls::default(),
        replicas: 1,
        subjects: Subjects::new("dingtalk").unwrap(),
        stream_prefix: "DINGTALK".into(),
        dedup_window: Duration::from_secs(1800),
        max_age: Duration::from_secs(7 * 24 * 3600),
    }
}

/// The simulated DingTalk, with no proxy between.
pub(crate) fn dingtalk(sim: &Sim, timeout: Duration) -> Dingtalk {
    Dingtalk {
        api_url: sim.api_url().to_owned(),
        oapi_url: sim.oapi_url().to_owned(),
        ca_file: None,
        proxy: None,
        no_proxy: None,
        media_hosts: Vec::new(),
        timeout,
    }
}

/// The defaults, for an app with one connection.
pub(crate) fn account(client_id: &str, secret: &str) -> Account {
    Account {
        client_id: client_id.to_owned(),
        client_secret: Secret::new(secret),
        robot_code: client_id.to_owned(),
        connections: 1,
        events: false,
        delegate: false,
        paused: false,
        rate: NonZeroU32::new(20).unwrap(),
        media: nats_dingtalk::config::Media::Fetch,
        card_template: None,
        card_key: "content".to_owned(),
        mention_all: false,
        quota: None,
        policy: Policy::default(),
    }
}
