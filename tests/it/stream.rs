//! A Stream link against the simulated DingTalk: every frame answered, no gap when connections
//! come and go, one account parked for what only people can cure.

use std::collections::HashSet;
use std::time::Duration;

use nats_dingtalk::config;
use nats_dingtalk::dingtalk::net::Net;
use nats_dingtalk::dingtalk::stream::{
    Ack, Delivery, FrameType, Link, LinkChange, LinkConfig, LinkEvent, Timings,
};
use nats_dingtalk::message::AccountName;
use nats_dingtalk::sim::{
    BOT_TOPIC, Burst, CardPress, Fault, FrameState, FrameView, Message, OpenRefusal, Sim, SimApp,
    SimOptions,
};
use nats_dingtalk::telemetry::{Health, Metrics};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::sections;

const APP: &str = "dingstream";
const SECRET: &str = "stream-secret";
const LIMIT: Duration = Duration::from_secs(20);

/// A link and who answers its frames.
struct Bridge {
    stop: CancellationToken,
    events: mpsc::Receiver<LinkEvent>,
    health: Health,
    tasks: JoinSet<()>,
}

fn options() -> SimOptions {
    SimOptions {
        apps: vec![SimApp::new(APP, SECRET)],
        close_after_disconnect: Duration::from_secs(1),
        event_retries: vec![Duration::from_millis(200)],
        calls_per_second: None,
        ..SimOptions::default()
    }
}

fn brisk() -> Timings {
    Timings {
        overlap: Duration::from_secs(3),
        backoff_least: Duration::from_millis(20),
        backoff_most: Duration::from_millis(200),
        stagger: Duration::from_millis(20),
        ..Timings::default()
    }
}

fn account() -> AccountName {
    AccountName::parse("sales").unwrap()
}

/// A link of `connections` whose frames go to `deliveries`.
fn link(
    sim: &Sim,
    connections: usize,
    timings: Timings,
    deliveries: mpsc::Sender<Delivery>,
) -> Bridge {
    let dingtalk = sections::dingtalk(sim, Duration::from_secs(5));
    let net = Net::new(&dingtalk).unwrap();
    let health = Health::new(&[]);
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(net.tls().as_ref().clone())
        .no_proxy()
        .build()
        .unwrap();
    let link = Link::new(LinkConfig {
        name: account(),
        account: config::Account {
            connections,
            events: true,
            ..sections::account(APP, SECRET)
        },
        api_url: dingtalk.api_url.clone(),
        http,
        net,
        health: health.clone(),
        metrics: Metrics::new(),
        timings,
    });
    let stop = CancellationToken::new();
    let (reports, events) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    tasks.spawn(link.run(deliveries, reports, stop.clone()));
    Bridge {
        stop,
        events,
        health,
        tasks,
    }
}

/// A link whose every frame is answered at once.
fn answering(sim: &Sim, connections: usize, timings: Timings) -> Bridge {
    let (sender, mut deliveries) = mpsc::channel(1024);
    let mut bridge = link(sim, connections, timings, sender);
    bridge.tasks.spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            // Whether the socket was still there shows in the simulator.
            let _ = delivery.ticket.answer(Ack::Done);
        }
    });
    bridge
}

impl Bridge {
    async fn change(&mut self) -> LinkChange {
        let event = timeout(LIMIT, self.events.recv()).await;
        event.expect("a change in time").unwrap().change
    }

    async fn until(&mut self, wanted: impl Fn(&LinkChange) -> bool) -> LinkChange {
        loop {
            let change = self.change().await;
            if wanted(&change) {
                return change;
            }
        }
    }

    async fn finish(mut self) {
        self.stop.cancel();
        while let Some(ended) = timeout(LIMIT, self.tasks.join_next())
            .await
            .expect("it stops")
        {
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn messages_events_cards_and_pings_are_answered_in_their_own_form() {
    let sim = Sim::start(options()).await.unwrap();
    let bridge = answering(&sim, 2, brisk());
    sim.connected(APP, 2).await.unwrap();
    let message = sim
        .say(APP, Message::to_bot("manager1", "hello"))
        .await
        .unwrap();
    let event = sim
        .emit_event(APP, "chat_update_title", json!({"title": "x"}))
        .await
        .unwrap();
    let press = CardPress {
        out_track_id: "card-1".to_owned(),
        user: "manager1".to_owned(),
        ..CardPress::default()
    };
    let press = sim.press_card_button(APP, press).await.unwrap();

    let said = sim.acked(&message).await.unwrap();
    assert_eq!(said.acks[0].code, 200);
    assert_eq!(said.acks[0].data.as_deref(), Some(r#"{"response": null}"#));
    let happened = sim.acked(&event).await.unwrap();
    assert_eq!(
        happened.acks[0].data.as_deref(),
        Some(r#"{"status":"SUCCESS","message":"success"}"#)
    );
    let pressed = |sim: &Sim| sim.frame(press).filter(|f| f.state == FrameState::Acked);

    sim.wait_for("the card ack", pressed).await.unwrap();

    // The SYSTEM ping of each connection came back with its opaque value.
    let echoed = |_: &Sim| {
        let links = sim.links();
        links
            .iter()
            .all(|link| link.opaque_echoes.len() == 1)
            .then_some(())
    };
    sim.wait_for("both echoes", echoed).await.unwrap();
    bridge.finish().await;
    let ended: Vec<_> = sim.links().into_iter().map(|link| link.state).collect();
    assert_eq!(ended, ["closed", "closed"]);
}

#[tokio::test]
async fn an_event_that_is_put_off_comes_again_and_a_bot_message_stays_silent() {
    let sim = Sim::start(options()).await.unwrap();
    let (sender, mut deliveries) = mpsc::channel(16);
    let bridge = link(&sim, 1, brisk(), sender);
    sim.connected(APP, 1).await.unwrap();
    let event = sim
        .emit_event(APP, "user_add_org", json!({}))
        .await
        .unwrap();
    let first = timeout(LIMIT, deliveries.recv()).await.unwrap().unwrap();
    assert_eq!(first.frame.frame_type, FrameType::Event);
    assert!(first.ticket.answer(Ack::Later));
    let second = timeout(LIMIT, deliveries.recv()).await.unwrap().unwrap();
    assert_eq!(second.frame.event_id, first.frame.event_id);
    assert_ne!(second.frame.message_id, first.frame.message_id);
    assert!(second.ticket.answer(Ack::Done));
    sim.acked(&event).await.unwrap();
    assert_eq!(sim.frames_of(&event)[0].state, FrameState::Refused);
    bridge.finish().await;
}

#[tokio::test]
async fn no_message_is_missed_or_repeated_while_dingtalk_moves_connections() {
    let sim = Sim::start(options()).await.unwrap();
    let mut bridge = answering(&sim, 2, brisk());
    let links = sim.connected(APP, 2).await.unwrap();
    let burst = Burst {
        app: APP.to_owned(),
        count: 6000,
        per_second: Some(2000),
        ..Burst::default()
    };
    let moving = async {
        for link in links {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let fault = Fault::Disconnect {
                app: APP.to_owned(),
                link: Some(link),
                without_message_id: link % 2 == 0,
                reason: None,
            };
            sim.inject(fault).await.unwrap();
        }
    };
    let (report, ()) = tokio::join!(sim.burst(&burst), moving);
    assert_eq!(report.unwrap().pushed, 6000);
    let messages = |sim: &Sim| {
        let mut frames = sim.frames();
        frames.retain(|frame| frame.topic == BOT_TOPIC);
        frames
    };
    let all = |sim: &Sim| {
        let acked = |frame: &FrameView| frame.state == FrameState::Acked;
        messages(sim).iter().all(acked).then_some(())
    };
    sim.wait_for("every ack", all).await.unwrap();
    assert_eq!(messages(&sim).len(), 6000);
    assert!(messages(&sim).iter().all(|frame| frame.acks.len() == 1));
    assert_eq!(sim.counters().lost, 0);

    // Each replacement was up before the connection that it replaced was closed.
    let gone = |_: &Sim| (sim.live_links(APP).len() == 2 && sim.links().len() == 4).then_some(());
    sim.wait_for("the replacements", gone).await.unwrap();
    let closed = |_: &Sim| {
        let links = sim.links();
        let closed: Vec<_> = links.iter().filter_map(|link| link.closed_at).collect();
        (closed.len() == 2).then_some((links, closed))
    };
    let (links, closed) = sim.wait_for("the old ones to close", closed).await.unwrap();
    assert!(links[2].opened_at < closed[0] && links[3].opened_at < closed[1]);
    bridge.events.close();
    while let Some(event) = bridge.events.recv().await {
        assert_eq!(event.change, LinkChange::Up);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_frozen_connection_is_noticed_by_its_pings_and_replaced() {
    let sim = Sim::start(options()).await.unwrap();
    let timings = Timings {
        ping_every: Duration::from_millis(500),
        ..brisk()
    };
    let bridge = answering(&sim, 1, timings);
    let frozen = sim.connected(APP, 1).await.unwrap()[0];
    let fault = Fault::HalfOpen {
        app: APP.to_owned(),
        link: Some(frozen),
        noticed_after_ms: None,
    };
    sim.inject(fault).await.unwrap();
    let fresh = |_: &Sim| sim.live_links(APP).into_iter().find(|link| *link != frozen);
    let fresh = sim.wait_for("a fresh connection", fresh).await.unwrap();
    let message = Message::to_bot("manager1", "still there?");
    let said = sim.say_on(fresh, APP, message).await.unwrap();
    sim.acked(&said).await.unwrap();
    bridge.finish().await;
}

#[tokio::test]
async fn a_silent_stall_ends_with_the_age_of_the_connection() {
    let sim = Sim::start(options()).await.unwrap();
    let timings = Timings {
        max_age: Duration::from_millis(500),
        ..brisk()
    };
    let bridge = answering(&sim, 1, timings);
    let stalled = sim.connected(APP, 1).await.unwrap()[0];
    let fault = Fault::SilentStall {
        app: APP.to_owned(),
        link: Some(stalled),
    };
    sim.inject(fault).await.unwrap();
    let fresh = |_: &Sim| {
        sim.live_links(APP)
            .into_iter()
            .find(|link| *link != stalled)
    };
    sim.wait_for("a fresh connection", fresh).await.unwrap();
    bridge.finish().await;
}

#[tokio::test]
async fn odd_frames_and_broken_connections_do_not_stop_an_account() {
    let sim = Sim::start(options()).await.unwrap();
    let bridge = answering(&sim, 1, brisk());
    sim.connected(APP, 1).await.unwrap();
    let app = APP.to_owned();
    let before = sim.links().len();
    for fault in [
        Fault::Garbage {
            app: app.clone(),
            link: None,
        },
        Fault::Binary {
            app: app.clone(),
            link: None,
        },
        Fault::Oversize {
            app: app.clone(),
            link: None,
            bytes: 2 << 20,
        },
    ] {
        sim.inject(fault).await.unwrap();
    }
    let said = sim
        .say(APP, Message::to_bot("u", "after odd frames"))
        .await
        .unwrap();
    sim.acked(&said).await.unwrap();
    assert_eq!(sim.links().len(), before, "odd frames cost no connection");

    for (n, fault) in [
        Fault::Cut {
            app: app.clone(),
            link: None,
        },
        Fault::Close {
            app: app.clone(),
            link: None,
            code: 1006,
        },
        Fault::Close {
            app: app.clone(),
            link: None,
            code: 1011,
        },
        Fault::Oversize {
            app: app.clone(),
            link: None,
            bytes: 5 << 20,
        },
    ]
    .into_iter()
    .enumerate()
    {
        let old = sim.connected(APP, 1).await.unwrap()[0];
        sim.inject(fault).await.unwrap();
        let fresh = |_: &Sim| sim.live_links(APP).into_iter().find(|link| *link != old);
        sim.wait_for("a fresh connection", fresh).await.unwrap();
        let said = sim
            .say(APP, Message::to_bot("u", format!("after break {n}")))
            .await
            .unwrap();
        sim.acked(&said).await.unwrap();
    }
    bridge.finish().await;
}

#[tokio::test]
async fn every_refusal_of_the_gateway_leads_to_its_own_state() {
    for (how, parked, hint) in [
        (OpenRefusal::AuthFailed, true, "Client Secret"),
        (OpenRefusal::InvalidParameter, true, "Stream mode"),
        (OpenRefusal::IpNotInWhitelist, true, "whitelist"),
        (OpenRefusal::IpBan, true, "1111"),
        (OpenRefusal::Qps, false, "QpsLimit"),
        (OpenRefusal::Throttling, false, "Throttling"),
        (OpenRefusal::Unavailable, false, "503"),
        (OpenRefusal::Html, false, "HTTPS port"),
    ] {
        let sim = Sim::start(options()).await.unwrap();
        sim.inject(Fault::RefuseOpen {
            how,
            times: Some(1),
        })
        .await
        .unwrap();
        let timings = Timings {
            refused_retry: Duration::from_millis(300),
            ban_wait: Duration::from_millis(300),
            ..brisk()
        };
        let mut bridge = answering(&sim, 1, timings);
        let change = bridge.change().await;
        let (is_parked, reason) = match &change {
            LinkChange::Parked(reason) => (true, reason),
            LinkChange::Down(reason) => (false, reason),
            other => panic!("{how:?}: {other:?}"),
        };
        assert_eq!(is_parked, parked, "{how:?}: {reason}");
        assert!(reason.contains(hint), "{how:?}: {reason}");
        assert!(!reason.contains(SECRET), "{reason}");
        assert_eq!(bridge.change().await, LinkChange::Up, "{how:?}");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_gateway_that_closes_every_connection_at_once_parks_the_account() {
    let sim = Sim::start(options()).await.unwrap();
    let fault = Fault::AcceptAndClose {
        app: APP.to_owned(),
        times: Some(5),
    };
    sim.inject(fault).await.unwrap();
    let timings = Timings {
        stall_life: Duration::from_secs(2),
        stall_retry: Duration::from_millis(500),
        ..brisk()
    };
    let mut bridge = answering(&sim, 1, timings);
    bridge
        .until(|change| matches!(change, LinkChange::Parked(_)))
        .await;
    bridge.until(|change| *change == LinkChange::Up).await;
    let said = sim.say(APP, Message::to_bot("u", "back")).await.unwrap();
    sim.acked(&said).await.unwrap();
    bridge.finish().await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_burst_answers_all_that_was_taken() {
    let sim = Sim::start(options()).await.unwrap();
    let (sender, mut deliveries) = mpsc::channel(4096);
    let bridge = link(&sim, 2, brisk(), sender);
    sim.connected(APP, 2).await.unwrap();
    let burst = Burst {
        app: APP.to_owned(),
        count: 3000,
        ..Burst::default()
    };
    sim.burst(&burst).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 1000 {
        taken.push(timeout(LIMIT, deliveries.recv()).await.unwrap().unwrap());
    }
    bridge.stop.cancel();
    let mut answered = HashSet::new();
    let mut all = 0;
    let finishing = bridge.finish();
    let answering = async {
        for delivery in taken {
            all += 1;
            if delivery.ticket.answer(Ack::Done) {
                answered.insert(delivery.frame.message_id.unwrap());
            }
        }
        while let Some(delivery) = deliveries.recv().await {
            all += 1;
            if delivery.ticket.answer(Ack::Done) {
                answered.insert(delivery.frame.message_id.unwrap());
            }
        }
    };
    tokio::join!(finishing, answering);
    // What was pushed came out, answered or not; what was answered reached the other side.
    assert_eq!(all, 3000);
    assert!(answered.len() >= 1000);
    let acked = |frame: &FrameView| frame.topic == BOT_TOPIC && frame.state == FrameState::Acked;
    assert_eq!(
        sim.frames().into_iter().filter(acked).count(),
        answered.len()
    );
    assert_eq!(
        sim.links()
            .iter()
            .filter(|link| link.state == "closed")
            .count(),
        2
    );
}

#[tokio::test]
async fn the_board_shows_every_link_and_the_last_frame() {
    let sim = Sim::start(options()).await.unwrap();
    let bridge = answering(&sim, 2, brisk());
    sim.connected(APP, 2).await.unwrap();
    let said = sim.say(APP, Message::to_bot("u", "x")).await.unwrap();
    sim.acked(&said).await.unwrap();
    let ready = |_: &Sim| bridge.health.snapshot().ready.then_some(());
    sim.wait_for("a ready board", ready).await.unwrap();
    let health = bridge.health.clone();
    assert!(
        health.snapshot().accounts[&account()]
            .last_frame_at
            .is_some()
    );
    bridge.finish().await;
    assert!(!health.snapshot().ready);
}
