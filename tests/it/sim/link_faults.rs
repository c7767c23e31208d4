//! What can go wrong with a connection.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nats_dingtalk::sim::{Burst, Fault, Message, Sim, SimError, SimOptions};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as Ws;

use super::{APP, Client, PATIENCE, address, bot_and_events, data, options, start};

#[tokio::test]
async fn a_disconnect_frame_silences_the_socket_and_then_closes_it() {
    for bare in [false, true] {
        let sim = start(SimOptions {
            close_after_disconnect: Duration::from_millis(500),
            ..options()
        })
        .await;
        let mut client = Client::connect(&sim, APP).await;
        let id = sim.say(APP, Message::to_bot("u", "before")).await.unwrap();
        let before = client.frame().await;
        sim.inject(Fault::Disconnect {
            app: APP.to_owned(),
            link: None,
            without_message_id: bare,
            reason: None,
        })
        .await
        .unwrap();
        let frame = client.frame().await;
        assert_eq!(frame["headers"]["topic"], "disconnect");
        assert_eq!(frame["headers"]["messageId"].is_null(), bare);
        assert_eq!(data(&frame)["reason"], "persistent connection is timeout");
        assert!(
            sim.say(APP, Message::to_bot("u", "in the gap"))
                .await
                .is_err()
        );
        // What came before the frame is still acked on the old socket.
        client.ok(&before).await;
        sim.acked(&id).await.unwrap();
        assert!(client.until_gone().await.is_empty());
    }
}

#[tokio::test]
async fn connection_faults_do_what_they_say() {
    let app = || APP.to_owned();
    let sim = start(options()).await;

    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Cut {
        app: app(),
        link: None,
    })
    .await
    .unwrap();
    let next = timeout(PATIENCE, client.socket.next()).await.unwrap();
    assert!(matches!(next, Some(Err(_)) | None), "{next:?}");

    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Close {
        app: app(),
        link: None,
        code: 1011,
    })
    .await
    .unwrap();
    let Ws::Close(Some(close)) = client.message().await else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 1011);
    client.until_gone().await;

    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Close {
        app: app(),
        link: None,
        code: 1006,
    })
    .await
    .unwrap();
    assert!(client.until_gone().await.is_empty());

    sim.inject(Fault::AcceptAndClose {
        app: app(),
        times: Some(1),
    })
    .await
    .unwrap();
    let url = address(&sim, APP, "secret-1", bot_and_events()).await;
    let (socket, _) = connect_async(url).await.unwrap();
    let seen = Client { socket }.until_gone().await;
    assert!(matches!(seen.as_slice(), [Ws::Close(_)]), "{seen:?}");

    sim.inject(Fault::Reject {
        path: "/connect".to_owned(),
        status: 502,
        body: String::new(),
        times: Some(1),
    })
    .await
    .unwrap();
    let url = address(&sim, APP, "secret-1", bot_and_events()).await;
    assert!(connect_async(&url).await.is_err());
}

#[tokio::test]
async fn a_half_open_link_swallows_its_share_until_it_is_noticed() {
    let sim = start(SimOptions {
        bot_retries: Vec::new(),
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::HalfOpen {
        app: APP.to_owned(),
        link: None,
        noticed_after_ms: Some(400),
    })
    .await
    .unwrap();
    sim.say(APP, Message::to_bot("u", "into the void"))
        .await
        .unwrap();
    client.socket.send(Ws::Ping("abc".into())).await.unwrap();
    let next = timeout(PATIENCE, client.socket.next()).await.unwrap();
    assert!(matches!(next, Some(Err(_)) | None), "{next:?}");
    assert_eq!(sim.links()[0].pings, 0);
    assert_eq!(sim.links()[0].pushed, 1);
}

#[tokio::test]
async fn a_stalled_link_pongs_and_gets_nothing() {
    let sim = start(options()).await;
    let mut stalled = Client::connect(&sim, APP).await;
    let links = sim.live_links(APP);
    let mut healthy = Client::connect(&sim, APP).await;
    sim.inject(Fault::SilentStall {
        app: APP.to_owned(),
        link: Some(links[0]),
    })
    .await
    .unwrap();
    for _ in 0..20 {
        sim.say(APP, Message::to_bot("u", "x")).await.unwrap();
        let frame = healthy.frame().await;
        healthy.ok(&frame).await;
    }
    stalled.socket.send(Ws::Ping("abc".into())).await.unwrap();
    assert_eq!(stalled.message().await, Ws::Pong("abc".into()));
}

#[tokio::test]
async fn odd_frames_arrive_as_they_were_asked_for() {
    let app = || APP.to_owned();
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    sim.inject(Fault::Garbage {
        app: app(),
        link: None,
    })
    .await
    .unwrap();
    assert!(serde_json::from_str::<Value>(&client.text().await).is_err());
    sim.inject(Fault::Binary {
        app: app(),
        link: None,
    })
    .await
    .unwrap();
    assert!(matches!(client.message().await, Ws::Binary(_)));
    sim.inject(Fault::Oversize {
        app: app(),
        link: None,
        bytes: 300 * 1024,
    })
    .await
    .unwrap();
    assert!(client.text().await.len() > 300 * 1024);
    let text = r#"{"type":"CALLBACK","data":"é"}"#.to_owned();
    sim.inject(Fault::Fragmented {
        app: app(),
        link: None,
        text: text.clone(),
        parts: 7,
    })
    .await
    .unwrap();
    assert_eq!(client.text().await, text);
    sim.push_text(APP, None, r#"{"headers":{"messageId":5}}"#)
        .await
        .unwrap();
    assert_eq!(client.text().await, r#"{"headers":{"messageId":5}}"#);
}

#[tokio::test]
async fn a_client_that_does_not_read_can_still_be_cut_off() {
    let sim = start(SimOptions {
        bot_retries: Vec::new(),
        ..options()
    })
    .await;
    let client = Client::connect(&sim, APP).await;
    let burst = Burst {
        app: APP.to_owned(),
        count: 10_000_000,
        ..Burst::default()
    };
    let cut = async {
        let mut pushed = 0;
        // The pusher stands still when the socket and the queue are full.
        loop {
            let more = |sim: &Sim| Some(sim.counters().pushed).filter(|now| *now > pushed);
            let moved = sim
                .wait_within(Duration::from_millis(300), "a push", more)
                .await;
            match moved {
                Ok(now) => pushed = now,
                Err(_) => break,
            }
        }
        sim.inject(Fault::Cut {
            app: APP.to_owned(),
            link: None,
        })
        .await
        .unwrap();
        sim.wait_for("the end of the link", |sim| sim.links()[0].ended.clone())
            .await
            .unwrap()
    };
    let both = async { tokio::join!(sim.burst(&burst), cut) };
    let (pushed, ended) = timeout(PATIENCE * 2, both).await.unwrap();
    assert!(matches!(pushed, Err(SimError::NoLink(_))), "{pushed:?}");
    assert_eq!(ended, "reset by a fault");
    drop(client);
}
