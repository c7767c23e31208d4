//! DingTalk moves connections and breaks them: no message is missed, no account harms another.

use std::time::Duration;

use nats_dingtalk::sim::{Fault, Message, SimApp, SimOptions};

use crate::support::books::{Books, persistent};
use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET};
use crate::support::wait;
use crate::support::world::{GROUP, World, options};

#[tokio::test]
async fn a_new_connection_is_up_before_the_one_that_is_sent_away_is_closed() {
    let options = SimOptions {
        close_after_disconnect: Duration::from_secs(2),
        ..persistent()
    };
    let World {
        nats,
        sim,
        bridge: _bridge,
    } = World::start_with(options, |setup| setup.account("connections = 1")).await;
    let old = sim.live_links(CLIENT_ID)[0];
    let fault = Fault::Disconnect {
        app: CLIENT_ID.into(),
        link: Some(old),
        without_message_id: false,
        reason: None,
    };
    // On its way before the gateway says goodbye, and answered on the connection it came on.
    let said = Message::in_group(GROUP, "u", "last on the old one");
    let last = sim.say_on(old, CLIENT_ID, said).await.unwrap();
    sim.inject(fault).await.unwrap();
    let mut number = 0;
    let closed = wait::until("the end of the old connection", async || {
        number += 1;
        let said = Message::in_group(GROUP, "u", number.to_string());
        // While there is none the gateway has nowhere to push to.
        let _ = sim.say(CLIENT_ID, said).await;
        let links = sim.links();
        let old = links.iter().find(|link| link.id == old)?;
        old.closed_at
    })
    .await;
    let opened = sim.links().last().unwrap().opened_at;
    assert!(opened < closed, "{opened} {closed}");
    assert_eq!(sim.acked(&last).await.unwrap().acks[0].link, old);
    let books = Books::of(&sim);
    assert!(books.said.len() > 10, "{}", books.said.len());
    books.balance(&nats, &sim).await;
    let again = sim
        .frames()
        .iter()
        .filter(|frame| frame.attempt > 0)
        .count();
    assert_eq!(again, 0, "nothing had to be pushed again");
}

#[tokio::test]
async fn an_account_whose_connections_are_closed_at_once_is_parked_and_the_other_works() {
    let other = "dingstalled000000000";
    let options = SimOptions {
        apps: vec![
            SimApp::new(CLIENT_ID, CLIENT_SECRET),
            SimApp::new(other, "other-secret"),
        ],
        ..options()
    };
    let nats = crate::support::nats::Nats::start().await;
    let sim = nats_dingtalk::sim::Sim::start(options).await.unwrap();
    sim.inject(Fault::AcceptAndClose {
        app: other.into(),
        times: None,
    })
    .await
    .unwrap();
    let bridge = crate::support::bridge::Setup::new(&nats.url(), sim.api_url())
        .extra(&format!(
            "[accounts.stalled]\nclient_id = \"{other}\"\nclient_secret = \"other-secret\"\nconnections = 1"
        ))
        .start()
        .await;
    sim.connected(CLIENT_ID, 2).await.unwrap();
    let tried = async || sim.links().iter().filter(|link| link.app == other).count();
    wait::within(wait::PATIENCE * 2, "the account to be parked", async || {
        let (status, page) = bridge.get("/ready").await?;
        let parked = page.lines().any(|line| line.contains("parked:"));
        (status == 503 && parked).then_some(())
    })
    .await;
    let tries = tried().await;
    assert!(tries >= 5, "{tries}");
    let world = World { nats, sim, bridge };
    let said = Message::in_group(GROUP, "u", "and I?");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    assert_eq!(world.stored("DINGTALK_INBOUND", 1).await.len(), 1);
    let status = world.stored("DINGTALK_STATUS", 1).await;
    assert!(
        status
            .iter()
            .any(|stored| stored.subject == "dingtalk.status.stalled"),
        "{status:?}"
    );
}
