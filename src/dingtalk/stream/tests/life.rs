//! The life of a link: replacement, loss, parking, stop.

use std::time::Instant;

use futures_util::StreamExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_tungstenite::tungstenite::Message;

use super::super::Ack;
use super::gateway::{Gateway, Peer, bot, disconnect, until_true, within};
use super::*;

/// Reads until a ping, so that the other side is known to be up.
async fn pinged(peer: &mut Peer) {
    assert!(matches!(
        within(peer.ws.next()).await,
        Some(Ok(Message::Ping(_)))
    ));
}

#[tokio::test]
async fn a_disconnect_frame_brings_the_next_connection_before_the_old_one_goes() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut old = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    old.push(&disconnect("bye")).await;
    assert_eq!(old.json().await["headers"]["messageId"], "bye");
    let mut new = gateway.accept().await;
    pinged(&mut new).await;
    assert_ne!(new.ticket, old.ticket);

    // Both deliver, and each frame is answered where it came in.
    old.push(&bot("on-old")).await;
    new.push(&bot("on-new")).await;
    for _ in 0..2 {
        assert!(link.delivery().await.ticket.answer(Ack::Done));
    }
    assert_eq!(old.json().await["headers"]["messageId"], "on-old");
    assert_eq!(new.json().await["headers"]["messageId"], "on-new");

    // After the overlap the old one is closed cleanly, and nothing was ever reported down.
    assert_eq!(old.end().await, (vec![], Some(1000)));
    new.push(&bot("alone")).await;
    assert!(link.delivery().await.ticket.answer(Ack::Done));
    assert_eq!(link.state(), LinkState::Up);
    assert!(link.events.try_recv().is_err());
    link.finish().await;
}

#[tokio::test]
async fn a_storm_of_disconnect_frames_is_over_for_the_link_as_soon_as_it_is_over() {
    let mut gateway = Gateway::start().await;
    let timings = Timings {
        backoff_least: Duration::from_secs(600),
        backoff_most: Duration::from_secs(600),
        dismissed_most: Duration::from_millis(50),
        overlap: Duration::from_secs(600),
        ..brisk()
    };
    let mut link = start(&gateway, timings);
    let mut dismissed = Vec::new();
    for _ in 0..8 {
        // Those that were sent away stay open, as DingTalk leaves them for a while.
        let mut peer = gateway.accept().await;
        pinged(&mut peer).await;
        peer.push(&disconnect("bye")).await;
        dismissed.push(peer);
    }
    let mut last = gateway.accept().await;
    last.push(&bot("calm")).await;
    assert!(link.delivery().await.ticket.answer(Ack::Done));
    link.finish().await;
}

#[tokio::test]
async fn a_gateway_that_was_out_of_reach_for_long_is_asked_as_soon_as_it_is_back() {
    // Bound and not listening: nobody else gets the port, and nobody is reached there.
    let api = TcpSocket::new_v4().unwrap();
    api.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let api_url = format!("http://{}", api.local_addr().unwrap());
    let timings = Timings {
        backoff_least: Duration::from_millis(1),
        backoff_most: Duration::from_secs(600),
        unreached_most: Duration::from_millis(20),
        ..brisk()
    };
    let link = start_with(&dingtalk(&api_url), account(), timings, 1);
    // By then a wait that went on doubling would be minutes long.
    until_true(|| {
        let text = link.metrics.encode();
        let failed = |line: &&str| line.contains("gateway") && line.contains("failed");
        let count = text
            .lines()
            .find(failed)
            .and_then(|line| line.rsplit(' ').next());
        count.is_some_and(|count| count.parse::<u32>().unwrap() >= 24)
    })
    .await;

    let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("ws://{}/connect", sockets.local_addr().unwrap());
    let mut gateway = Gateway::asked_at(api.listen(16).unwrap(), endpoint, sockets);
    gateway.accept().await;
    link.finish().await;
}

#[tokio::test]
async fn an_old_connection_that_dingtalk_closes_after_its_announcement_leaves_no_gap() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut old = gateway.accept().await;
    // Without an id there is nothing to answer.
    old.push_text(r#"{"type":"SYSTEM","headers":{"topic":"disconnect"},"data":"{}"}"#)
        .await;
    let mut new = gateway.accept().await;
    pinged(&mut new).await;
    within(old.ws.close(None)).await.unwrap();
    assert_eq!(old.end().await.0, Vec::<serde_json::Value>::new());
    new.push(&bot("m")).await;
    assert_eq!(link.delivery().await.frame.message_id.as_deref(), Some("m"));
    assert_eq!(link.change().await, LinkChange::Up);
    assert!(link.events.try_recv().is_err());
    link.finish().await;
}

#[tokio::test]
async fn a_connection_is_replaced_when_it_grows_old() {
    let mut gateway = Gateway::start().await;
    let timings = Timings {
        max_age: Duration::from_millis(300),
        ..brisk()
    };
    let link = start(&gateway, timings);
    let mut old = gateway.accept().await;
    let _new = gateway.accept().await;
    assert_eq!(old.end().await.1, Some(1000));
    link.finish().await;
}

#[tokio::test]
async fn a_peer_that_shows_no_life_is_replaced_on_suspicion_and_then_given_up() {
    let mut gateway = Gateway::start().await;
    let timings = Timings {
        ping_every: Duration::from_millis(400),
        overlap: Duration::from_secs(60),
        ..brisk()
    };
    let mut link = start(&gateway, timings);
    // Its end is never read, so pings are never answered.
    let frozen = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    let mut new = gateway.accept().await;
    let talking = aside(async move { while let Some(Ok(_)) = new.ws.next().await {} });
    // Two were opened, and then there is one again.
    until_true(|| {
        let text = link.metrics.encode();
        text.contains("reconnects_total{account=\"sales\"} 2\n")
            && text.contains("sockets{account=\"sales\"} 1\n")
    })
    .await;
    assert_eq!(link.state(), LinkState::Up);
    drop(frozen);
    link.finish().await;
    within(talking).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_reported_and_opened_again() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let peer = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    drop(peer);
    let down = link.change().await;
    assert!(
        matches!(&down, LinkChange::Down(reason) if reason.contains("connection lost")),
        "{down:?}"
    );
    let _peer = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    link.finish().await;
}

#[tokio::test]
async fn an_answer_to_a_frame_of_a_lost_connection_goes_nowhere() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;
    peer.push(&bot("orphan")).await;
    let orphan = link.delivery().await;
    drop(peer);
    let mut next = gateway.accept().await;
    link.until(|change| matches!(change, LinkChange::Down(_)))
        .await;
    assert!(!orphan.ticket.answer(Ack::Done));
    next.push(&bot("fresh")).await;
    assert!(link.delivery().await.ticket.answer(Ack::Done));
    assert_eq!(next.json().await["headers"]["messageId"], "fresh");
    link.finish().await;
}

#[tokio::test]
async fn five_connections_that_end_at_once_park_the_account_until_one_proves_itself() {
    let mut gateway = Gateway::start().await;
    let timings = Timings {
        stall_life: Duration::from_secs(2),
        stall_retry: Duration::from_millis(1500),
        ..brisk()
    };
    let mut link = start(&gateway, timings);
    for _ in 0..5 {
        drop(gateway.accept().await);
    }
    let parked = link
        .until(|change| matches!(change, LinkChange::Parked(_)))
        .await;
    assert!(
        matches!(&parked, LinkChange::Parked(reason) if reason.contains("Stream mode")),
        "{parked:?}"
    );
    assert!(gateway.quiet_for(Duration::from_millis(300)).await);
    let _peer = gateway.accept().await;
    assert!(matches!(link.state(), LinkState::Parked(_)));
    assert_eq!(link.change().await, LinkChange::Up);
    link.finish().await;
}

#[tokio::test]
async fn short_connections_that_carry_frames_are_no_stall() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    for n in 0..8 {
        let mut peer = gateway.accept().await;
        peer.push(&bot(&format!("m{n}"))).await;
        link.delivery().await;
    }
    let _peer = gateway.accept().await;
    while let Ok(event) = link.events.try_recv() {
        assert!(!matches!(event.change, LinkChange::Parked(_)), "{event:?}");
    }
    link.finish().await;
}

#[tokio::test]
async fn refused_credentials_park_at_once_and_heal_by_themselves() {
    let mut gateway = Gateway::start().await;
    gateway.answer_next(
        401,
        r#"{"code":"authFailed","message":"鉴权失败 hunter2-secret"}"#,
    );
    let timings = Timings {
        refused_retry: Duration::from_millis(1500),
        ..brisk()
    };
    let mut link = start(&gateway, timings);
    let LinkChange::Parked(reason) = link.change().await else {
        panic!("parked at once");
    };
    assert!(reason.contains("Client Secret"), "{reason}");
    assert!(!reason.contains(SECRET), "{reason}");
    assert_eq!(link.state(), LinkState::Parked(reason));
    assert!(gateway.quiet_for(Duration::from_millis(200)).await);
    let _peer = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    link.finish().await;
}

#[tokio::test]
async fn a_busy_gateway_is_asked_again_and_a_ban_is_waited_out() {
    let mut gateway = Gateway::start().await;
    gateway.answer_next(503, "<html>down</html>");
    gateway.answer_next(429, r#"{"code":"Throttling","message":"busy"}"#);
    gateway.answer_next(200, r#"{"status":1111,"wait":5,"punish":"deny"}"#);
    let timings = Timings {
        ban_wait: Duration::from_millis(400),
        ..brisk()
    };
    let mut link = start(&gateway, timings);
    let down = link.change().await;
    assert!(
        matches!(&down, LinkChange::Down(reason) if reason.contains("503 (down)")),
        "{down:?}"
    );
    link.until(|change| matches!(change, LinkChange::Parked(reason) if reason.contains("1111")))
        .await;
    let banned = Instant::now();
    let _peer = gateway.accept().await;
    assert!(banned.elapsed() >= Duration::from_millis(300));
    assert_eq!(link.change().await, LinkChange::Up);
    link.finish().await;
}

#[tokio::test]
async fn stopping_waits_for_open_tickets_before_it_says_goodbye() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;
    peer.push(&bot("answered")).await;
    peer.push(&bot("dropped")).await;
    let answered = link.delivery().await;
    let dropped = link.delivery().await;
    link.stop.cancel();
    drop(dropped);
    // Still open: what is being stored now is answered before the goodbye.
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut link.task)
            .await
            .is_err()
    );
    assert!(answered.ticket.answer(Ack::Done));
    let (texts, code) = peer.end().await;
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0]["headers"]["messageId"], "answered");
    assert_eq!(code, Some(1000));
    within(&mut link.task).await.unwrap();
    assert_eq!(
        link.until(|change| *change == LinkChange::Stopped).await,
        LinkChange::Stopped
    );
}

#[tokio::test]
async fn what_arrives_while_the_link_stops_is_delivered_without_an_answer() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let mut peer = gateway.accept().await;
    peer.push(&bot("open")).await;
    let open = link.delivery().await;
    link.stop.cancel();
    peer.push(&bot("late")).await;
    assert!(open.ticket.answer(Ack::Done));
    let late = link.delivery().await;
    assert_eq!(late.frame.message_id.as_deref(), Some("late"));
    late.ticket.answer(Ack::Done);
    let (texts, code) = peer.end().await;
    assert_eq!(texts[0]["headers"]["messageId"], "open");
    assert_eq!(code, Some(1000));
    within(&mut link.task).await.unwrap();
}

#[tokio::test]
async fn stopping_gives_up_on_a_ticket_that_nobody_answers() {
    let mut gateway = Gateway::start().await;
    let timings = Timings {
        drain: Duration::from_millis(200),
        ..brisk()
    };
    let mut link = start(&gateway, timings);
    let mut peer = gateway.accept().await;
    peer.push(&bot("held")).await;
    let held = link.delivery().await;
    link.stop.cancel();
    assert_eq!(peer.end().await, (vec![], Some(1000)));
    assert!(!held.ticket.answer(Ack::Done));
    within(&mut link.task).await.unwrap();
}

#[tokio::test]
async fn an_aborted_link_leaves_no_open_connection_in_the_metrics() {
    let mut gateway = Gateway::start().await;
    let mut link = start(&gateway, brisk());
    let _peer = gateway.accept().await;
    assert_eq!(link.change().await, LinkChange::Up);
    assert!(
        link.metrics
            .encode()
            .contains("sockets{account=\"sales\"} 1\n")
    );
    link.task.abort();
    assert!(within(&mut link.task).await.unwrap_err().is_cancelled());
    assert!(
        link.metrics
            .encode()
            .contains("sockets{account=\"sales\"} 0\n")
    );
}

#[tokio::test]
async fn every_slot_of_an_account_has_a_connection_and_a_ticket_of_its_own() {
    let mut gateway = Gateway::start().await;
    let wide = config::Account {
        connections: 3,
        ..account()
    };
    let link = start_with(&dingtalk(&gateway.api_url), wide, brisk(), 64);
    let mut tickets = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let peer = gateway.accept().await;
        tickets.push(peer.ticket.clone());
        peers.push(peer);
    }
    tickets.sort();
    assert_eq!(tickets, ["ticket%2F1", "ticket%2F2", "ticket%2F3"]);
    until_true(|| {
        let links = &link.health.snapshot().accounts[&name()].links;
        links.len() == 3 && links.values().all(|state| *state == LinkState::Up)
    })
    .await;
    drop(peers);
    link.finish().await;
}
