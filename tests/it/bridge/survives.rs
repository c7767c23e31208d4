//! P7, inbound: nothing that breaks loses an acknowledged frame or stores one twice.

use std::time::{Duration, Instant};

use nats_dingtalk::sim::{Burst, Fault, Sim};

use crate::support::books::{Books, persistent};
use crate::support::bridge::{CLIENT_ID, Setup};
use crate::support::wait;
use crate::support::world::World;

fn burst(count: u64) -> Burst {
    Burst {
        app: CLIENT_ID.into(),
        count,
        groups: 40,
        ..Burst::default()
    }
}

/// A burst that lasts, so that things can happen in it.
fn paced(count: u64, per_second: u64) -> Burst {
    Burst {
        per_second: Some(per_second),
        ..burst(count)
    }
}

/// Pushes `count` frames at a rate, and waits for a new connection whenever there is none.
async fn pour(sim: &Sim, count: u64, per_second: u64) {
    let aim = sim.counters().pushed + count;
    while sim.counters().pushed < aim {
        sim.connected(CLIENT_ID, 1).await.unwrap();
        let rest = aim.saturating_sub(sim.counters().pushed);
        // It breaks off when the last connection that takes messages is gone.
        let _ = sim.burst(&paced(rest.min(200), per_second)).await;
    }
}

async fn acked(sim: &Sim, count: u64) {
    sim.wait_for("acks", |sim| (sim.counters().acked >= count).then_some(()))
        .await
        .unwrap();
}

#[tokio::test]
async fn p7_kill_9_of_the_bridge_under_inbound_load_twice() {
    let World {
        nats,
        sim,
        mut bridge,
    } = World::start_with(persistent(), |setup| setup).await;
    for _life in 0..2 {
        let already = sim.counters().acked;
        let load = burst(4000);
        // The burst breaks off when the last connection is gone, as it must.
        let (_, dir) = tokio::join!(sim.burst(&load), async {
            acked(&sim, already + 500).await;
            bridge.kill()
        });
        bridge = Setup::new(&nats.url(), sim.api_url())
            .in_dir(dir)
            .start()
            .await
            .ready()
            .await;
    }
    let books = Books::of(&sim);
    let open = books.said.len() - books.acked.len();
    assert!(open > 100, "the kill hit {open} frames in flight");
    books.balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
}

#[tokio::test]
async fn p7_kill_9_of_the_broker_under_inbound_load_twice() {
    let World {
        mut nats,
        sim,
        bridge,
    } = World::start_with(persistent(), |setup| setup).await;
    let load = paced(5000, 1000);
    let (pushed, ()) = tokio::join!(sim.burst(&load), async {
        for _ in 0..2 {
            let before = sim.counters().acked;
            acked(&sim, before + 500).await;
            nats.kill();
            // The spool gives the word while the broker is away.
            let away = sim.counters().acked;
            acked(&sim, away + 300).await;
            nats.restart().await;
        }
    });
    assert_eq!(pushed.unwrap().pushed, 5000);
    Books::of(&sim).balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
    let drained = bridge
        .metric("nats_dingtalk_spool_drained_total", &[])
        .await;
    assert!(drained > 0.0, "the spool was used");
}

#[tokio::test]
async fn p7_sigterm_with_ten_thousand_frames_in_flight_loses_none() {
    let World { nats, sim, bridge } = World::start_with(persistent(), |setup| setup).await;
    let load = burst(10_000);
    let (_, (pushed, told)) = tokio::join!(sim.burst(&load), async {
        sim.wait_for("ten thousand frames", |sim| {
            (sim.counters().pushed >= 9_000).then_some(())
        })
        .await
        .unwrap();
        bridge.signal("TERM");
        (sim.counters(), Instant::now())
    });
    assert!(pushed.acked < pushed.pushed, "{pushed:?}");
    let (status, dir) = bridge.ended().await;
    assert_eq!(status.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(20));
    let books = Books::of(&sim);
    println!(
        "stopped in {:?}: {} said, {} acked at the signal, {} at the end",
        told.elapsed(),
        books.said.len(),
        pushed.acked,
        books.acked.len()
    );
    let _second = Setup::new(&nats.url(), sim.api_url())
        .in_dir(dir)
        .start()
        .await
        .ready()
        .await;
    books.balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
}

#[tokio::test]
async fn p7_a_frozen_broker_under_load() {
    let World { nats, sim, bridge } = World::start_with(persistent(), |setup| setup).await;
    let load = paced(3000, 600);
    let (pushed, ()) = tokio::join!(sim.burst(&load), async {
        acked(&sim, 300).await;
        nats.signal("STOP");
        let frozen = sim.counters().acked;
        // No goodbye and no error: only the soft budget says that it is slow.
        acked(&sim, frozen + 600).await;
        nats.signal("CONT");
    });
    pushed.unwrap();
    Books::of(&sim).balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
    let spooled = bridge
        .metric("nats_dingtalk_frames_total", &["outcome=\"spooled\""])
        .await;
    assert!(spooled >= 500.0, "{spooled}");
}

#[tokio::test]
async fn p7_half_open_cut_and_closed_connections_under_load() {
    let World {
        nats,
        sim,
        bridge: _bridge,
    } = World::start_with(persistent(), |setup| setup).await;
    let app = || CLIENT_ID.to_owned();
    let ((), ()) = tokio::join!(pour(&sim, 4000, 500), async {
        for round in 0..6_u64 {
            acked(&sim, 200 + round * 300).await;
            // One connection stays, so that the burst goes on.
            let links = sim.connected(CLIENT_ID, 2).await.unwrap();
            let (app, link) = (app(), Some(links[0]));
            let fault = match round % 3 {
                0 => Fault::Cut { app, link },
                1 => Fault::HalfOpen {
                    app,
                    link,
                    noticed_after_ms: Some(500),
                },
                _ => Fault::Close {
                    app,
                    link,
                    code: 1006,
                },
            };
            sim.inject(fault).await.unwrap();
        }
        // And once all at the same time, in the middle of a frame.
        let (app, link) = (app(), None);
        sim.inject(Fault::Cut { app, link }).await.unwrap();
    });
    Books::of(&sim).balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
}

#[tokio::test]
async fn p7_a_storm_of_disconnect_frames_and_redeliveries_under_load() {
    let options = nats_dingtalk::sim::SimOptions {
        close_after_disconnect: Duration::from_millis(500),
        // What is not acked at once comes again, and again.
        ack_timeout: Duration::from_millis(3),
        bot_retries: vec![Duration::from_millis(150); 10],
        ..persistent()
    };
    let World {
        nats,
        sim,
        bridge: _bridge,
    } = World::start_with(options, |setup| setup).await;
    let ((), ()) = tokio::join!(pour(&sim, 3000, 600), async {
        for round in 1..=8_u64 {
            sim.wait_for("pushes", |sim| {
                (sim.counters().pushed >= round * 300).then_some(())
            })
            .await
            .unwrap();
            let storm = Fault::Disconnect {
                app: CLIENT_ID.into(),
                link: None,
                without_message_id: round % 2 == 0,
                reason: None,
            };
            // All connections may be on their way out already.
            let _ = sim.inject(storm).await;
        }
    });
    wait::until_true("nothing more to come", async || {
        let books = Books::of(&sim);
        books.said == books.acked
    })
    .await;
    Books::of(&sim).balance(&nats, &sim).await;
    println!("{:?}", sim.counters());
}
