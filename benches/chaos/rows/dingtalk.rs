//! DingTalk itself misbehaves: its gateway, its redelivery and its API.

use std::time::Duration;

use nats_dingtalk::sim::{CallRefusal, Fault, GROUP_SEND_PATH, Message, OpenRefusal, TOKEN_PATH};
use serde_json::json;

use super::{full, seconds, short, staged, taken_over};
use crate::load::Amount;
use crate::row::Scenario;
use crate::stage::{Plan, Stage};
use crate::support::bridge::CLIENT_ID;

fn app() -> String {
    CLIENT_ID.to_owned()
}

fn send() -> String {
    GROUP_SEND_PATH.to_owned()
}

pub(super) fn rows() -> Vec<Scenario> {
    let mut rows = gateway();
    rows.extend(calls());
    rows.extend(states());
    rows
}

fn gateway() -> Vec<Scenario> {
    vec![
        short("disconnect storm", |rng| {
            staged(Plan::default(), rng, disconnects)
        }),
        full("connections close without a goodbye", |rng| {
            staged(Plan::default(), rng, closes)
        }),
        full("silent stall of one connection", |rng| {
            staged(Plan::default(), rng, stalled)
        }),
        full("half-open connection, noticed after 6 s", |rng| {
            staged(Plan::default(), rng, half_open)
        }),
        full("connections end as soon as they are open", |rng| {
            staged(Plan::default(), rng, refused_links)
        }),
        short("ticket refused", |rng| {
            staged(Plan::default(), rng, tickets)
        }),
        short("redelivery storm, out of order", |rng| {
            staged(Plan::default(), rng, storm)
        }),
        full("duplicates on two sockets", |rng| {
            staged(Plan::default(), rng, twins)
        }),
    ]
}

/// A fault of the API under the name of its row.
type Named = (&'static str, Fault);

/// The API answers so many sends in another way.
fn calls() -> Vec<Scenario> {
    let run = |fault: Fault| {
        move |rng| {
            let fault = fault.clone();
            staged(taken_over(), rng, async move |stage: &mut Stage| {
                stage.between(100, 1500).await;
                stage.sim.inject(fault).await.unwrap();
                // Long enough for all of them to be used up and for the longest deadline.
                seconds(12).await;
                stage.over();
            })
        }
    };
    let mut rows: Vec<Scenario> = Vec::new();
    rows.extend(telling_calls().map(|(name, fault)| short(name, run(fault))));
    rows.extend(refused_calls().map(|(name, fault)| full(name, run(fault))));
    rows.extend(broken_calls().map(|(name, fault)| full(name, run(fault))));
    rows
}

fn refuse(how: CallRefusal, times: u32) -> Fault {
    Fault::Refuse {
        path: send(),
        how,
        times: Some(times),
    }
}

fn reject(status: u16) -> Fault {
    Fault::Reject {
        path: send(),
        status,
        body: String::new(),
        times: Some(30),
    }
}

fn apply_then_fail(status: u16) -> Fault {
    Fault::ApplyThenFail {
        path: send(),
        status,
        times: TWENTY,
    }
}

const TWENTY: Option<u32> = Some(20);

fn telling_calls() -> [Named; 3] {
    let path = send();
    let times = TWENTY;
    [
        ("403 QPS limit, 100 times", refuse(CallRefusal::Qps, 100)),
        ("500 after applying, 20 times", apply_then_fail(500)),
        (
            "no answer after applying, 20 times",
            Fault::ApplyThenHold { path, times },
        ),
    ]
}

/// A refusal as busy says that nothing was done (oapi.md, section 9.2), so none of these is applied first:
/// a 429 or 503 that was would be sent again.
fn refused_calls() -> [Named; 9] {
    use CallRefusal::{
        Busy, GatewayTimeout, Html, InvalidToken, ServiceBusy, SystemError, UnknownSendResult,
    };
    [
        ("401 in mid-run", refuse(InvalidToken, 1)),
        ("429, 100 times", refuse(Busy, 100)),
        ("500 before applying, 30 times", refuse(SystemError, 30)),
        ("503, 30 times", refuse(ServiceBusy, 30)),
        ("504, 30 times", refuse(GatewayTimeout, 30)),
        (
            "unknown.send.result, 30 times",
            refuse(UnknownSendResult, 30),
        ),
        ("HTML body, 30 times", refuse(Html, 30)),
        ("empty 200, 30 times", reject(200)),
        ("empty 502, 30 times", reject(502)),
    ]
}

fn broken_calls() -> [Named; 6] {
    let path = send;
    let times = TWENTY;
    [
        (
            "no answer and nothing applied, 20 times",
            Fault::Hold {
                path: path(),
                times,
            },
        ),
        ("502 after applying, 20 times", apply_then_fail(502)),
        ("504 after applying, 20 times", apply_then_fail(504)),
        (
            "reset before applying, 20 times",
            Fault::CutCall {
                path: path(),
                times,
            },
        ),
        (
            "reset after applying, 20 times",
            Fault::ApplyThenCut {
                path: path(),
                times,
            },
        ),
        (
            "answer cut off in its body, 20 times",
            Fault::CutBody {
                path: path(),
                after: 5,
                times,
            },
        ),
    ]
}

fn states() -> Vec<Scenario> {
    let answering = || Plan {
        amount: Amount {
            answers: true,
            requests: 40,
            ..Amount::default()
        },
        ..Plan::default()
    };
    vec![
        short("token revoked", |rng| staged(Plan::default(), rng, revoked)),
        full("session webhooks expired", move |rng| {
            staged(answering(), rng, webhooks_expired)
        }),
        full("robot muted for 10 min", move |rng| {
            let plan = Plan {
                amount: Amount {
                    burst: 100,
                    requests: 20,
                    answers: true,
                    ..Amount::default()
                },
                tail: MUTE_PROBED,
                ..Plan::default()
            };
            staged(plan, rng, muted)
        })
        .within(MUTE_PROBED)
        .noting(MUTE_NOTE)
        .waiting(),
        full("quota gone, bought, an alert goes through", |rng| {
            staged(Plan::default(), rng, quota_gone)
        }),
    ]
}

/// DingTalk does not say when a mute ends. The bridge asks after 1, 3, 7 and 15 minutes, so as not to
/// make it longer, and a mute of ten minutes is over for up to five before it is asked again.
const MUTE_PROBED: Duration = Duration::from_secs(310);

const MUTE_NOTE: &str = "DingTalk does not say when a mute ends, and asking too often prolongs it. The bridge asks 1, 3, 7 \
     and 15 minutes after it began, so that a mute of ten minutes is noticed to be over up to five \
     minutes later: the aim for what goes out is those five minutes. What comes in is not touched by it";

/// Does something to every connection again and again.
async fn storm_of(stage: &mut Stage, times: usize, fault: impl Fn() -> Fault) {
    for _ in 0..times {
        stage.between(300, 700).await;
        // There may be no connection right now.
        let _ = stage.sim.inject(fault()).await;
    }
    stage.over();
}

async fn disconnects(stage: &mut Stage) {
    let fault = || Fault::Disconnect {
        app: app(),
        link: None,
        without_message_id: fastrand::bool(),
        reason: None,
    };
    storm_of(stage, 10, fault).await;
}

async fn closes(stage: &mut Stage) {
    let fault = || Fault::Close {
        app: app(),
        link: None,
        code: 1006,
    };
    storm_of(stage, 10, fault).await;
}

async fn stalled(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let link = stage.sim.live_links(CLIENT_ID).first().copied();
    let app = app();
    stage
        .sim
        .inject(Fault::SilentStall { app, link })
        .await
        .unwrap();
    seconds(4).await;
    stage.over();
}

async fn half_open(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let fault = Fault::HalfOpen {
        app: app(),
        link: stage.sim.live_links(CLIENT_ID).first().copied(),
        noticed_after_ms: Some(6000),
    };
    stage.sim.inject(fault).await.unwrap();
    seconds(6).await;
    stage.over();
}

async fn refused_links(stage: &mut Stage) {
    let app = app();
    let times = Some(4);
    stage
        .sim
        .inject(Fault::AcceptAndClose { app, times })
        .await
        .unwrap();
    closes(stage).await;
}

async fn tickets(stage: &mut Stage) {
    let refused = Fault::Reject {
        path: "/connect".to_owned(),
        status: 401,
        body: String::new(),
        times: Some(3),
    };
    stage.sim.inject(refused).await.unwrap();
    let opening = Fault::RefuseOpen {
        how: OpenRefusal::Unavailable,
        times: Some(3),
    };
    stage.sim.inject(opening).await.unwrap();
    storm_of(stage, 2, || Fault::Close {
        app: app(),
        link: None,
        code: 1006,
    })
    .await;
}

/// Messages that DingTalk pushes again and again, the older behind the newer.
async fn storm(stage: &mut Stage) {
    let mut said = Vec::new();
    for number in 0..200 {
        let chat = format!("cidStorm{:02}==", number % 10);
        let message = Message::in_group(chat, "storm-user", number.to_string());
        said.push(stage.sim.say(CLIENT_ID, message).await.unwrap());
    }
    for _ in 0..10 {
        stage.rng.shuffle(&mut said);
        for id in &said {
            stage.sim.redeliver(id).await.unwrap();
        }
    }
    stage.over();
}

async fn twins(stage: &mut Stage) {
    stage.sim.connected(CLIENT_ID, 2).await.unwrap();
    for number in 0..500 {
        let chat = format!("cidTwins{:02}==", number % 10);
        let message = Message::in_group(chat, "twin-user", number.to_string());
        let pushed = stage.sim.duplicate_on_two_sockets(CLIENT_ID, message).await;
        pushed.unwrap();
    }
    stage.over();
}

async fn revoked(stage: &mut Stage) {
    for _ in 0..5 {
        stage.between(200, 900).await;
        let app = app();
        stage.sim.inject(Fault::ExpireToken { app }).await.unwrap();
    }
    let busy = Fault::Refuse {
        path: TOKEN_PATH.to_owned(),
        how: CallRefusal::ServiceBusy,
        times: Some(1),
    };
    stage.sim.inject(busy).await.unwrap();
    let app = app();
    stage.sim.inject(Fault::ExpireToken { app }).await.unwrap();
    seconds(1).await;
    stage.over();
}

async fn webhooks_expired(stage: &mut Stage) {
    for _ in 0..5 {
        stage.between(300, 900).await;
        let app = app();
        stage
            .sim
            .inject(Fault::ExpireWebhook { app })
            .await
            .unwrap();
    }
    stage.over();
}

async fn muted(stage: &mut Stage) {
    stage.between(100, 1500).await;
    let fault = Fault::Mute {
        app: app(),
        ms: Some(600_000),
    };
    stage.sim.inject(fault).await.unwrap();
    seconds(600).await;
    stage.over();
}

async fn quota_gone(stage: &mut Stage) {
    stage.between(100, 1500).await;
    let fault = Fault::Refuse {
        path: send(),
        how: CallRefusal::MonthlyQuota,
        times: None,
    };
    stage.sim.inject(fault).await.unwrap();
    seconds(4).await;
    stage.sim.clear_faults();
    // The month is over for the bridges until it turns, or until a call that may not wait is taken.
    let alert = json!({"id": "alert", "text": "alert", "priority": "alert"});
    let subject = "dingtalk.outbound.sales.group.cidAlert==";
    let jetstream = stage.brokers.jetstream().await;
    let stored = jetstream.publish(subject, alert.to_string().into()).await;
    stored.unwrap().await.unwrap();
    stage.over();
}
