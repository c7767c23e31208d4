//! Sessions that are bound to chats, and requests to a session.

use nats_dingtalk::sim::SentVia;
use serde_json::json;

use super::{denied, done};
use crate::support::world::{GROUP, World};

#[tokio::test]
async fn a_session_is_bound_bound_anew_and_freed() {
    let world = World::start().await;
    let direct = json!({"kind": "direct", "id": "manager1"});
    let group = json!({"kind": "group", "id": GROUP});
    let bound = done(
        &world.nats,
        "bind",
        json!({"session": "s.1 /ü", "chat": direct}),
    )
    .await;
    let first = json!({"account": "sales", "chat": direct});
    assert_eq!(bound, json!({"session": "s.1 /ü", "bound": first}));
    let again = json!({"session": "s.1 /ü", "account": "sales", "chat": group});
    assert_eq!(done(&world.nats, "bind", again).await["previous"], first);
    let told = done(&world.nats, "binding", json!({"session": "s.1 /ü"})).await;
    assert_eq!(told["bound"]["chat"], group);
    let chat = |name: String| done(&world.nats, "chat", json!({"chat": name}));
    assert_eq!(chat(format!("group:{GROUP}")).await["session"], "s.1 /ü");
    assert!(
        chat("user:manager1".to_owned())
            .await
            .get("session")
            .is_none()
    );
    let freed = done(&world.nats, "unbind", json!({"session": "s.1 /ü"})).await;
    assert_eq!(freed["previous"]["chat"], group);
    let (status, code) = denied(&world.nats, "binding", json!({"session": "s.1 /ü"})).await;
    assert_eq!((status, code.as_str()), (404, "unbound"));
    assert!(
        chat(format!("group:{GROUP}"))
            .await
            .get("session")
            .is_none()
    );
}

#[tokio::test]
async fn a_chat_that_cannot_be_addressed_is_not_bound() {
    let world = World::start().await;
    for (chat, word) in [
        (
            json!({"kind": "group", "id": format!("{GROUP}:manager1")}),
            "suffix",
        ),
        (json!({"kind": "direct", "id": GROUP}), "conversation id"),
        (json!({"kind": "user", "id": "manager1"}), "direct"),
    ] {
        let question = json!({"session": "s", "chat": chat});
        let told = super::ask(&world.nats, "bind", &question).await;
        assert_eq!(told.failure, Some(400));
        let message = told.body["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_request_to_a_session_goes_where_it_is_bound_and_nowhere_else() {
    let world = World::start().await;
    let bind = |session: &str, kind: &str, id: &str| {
        let chat = json!({"kind": kind, "id": id});
        let question = json!({"session": session, "chat": chat});
        let nats = &world.nats;
        async move { done(nats, "bind", question).await }
    };
    bind("deploys", "group", GROUP).await;
    bind("boss", "direct", "manager1").await;
    let to = |session: &str| json!({"session": session});
    for (id, subject, session, outcome) in [
        ("bare", "dingtalk.outbound".to_owned(), "deploys", "sent"),
        (
            "account",
            "dingtalk.outbound.sales".to_owned(),
            "boss",
            "sent",
        ),
        (
            "canonical",
            format!("dingtalk.outbound.sales.group.{GROUP}"),
            "deploys",
            "sent",
        ),
        (
            "elsewhere",
            "dingtalk.outbound.sales.user.u2".to_owned(),
            "boss",
            "failed",
        ),
        (
            "unbound",
            "dingtalk.outbound".to_owned(),
            "nobody",
            "failed",
        ),
        (
            "stranger",
            "dingtalk.outbound.ops".to_owned(),
            "boss",
            "failed",
        ),
    ] {
        let body = json!({"id": id, "to": to(session), "text": id});
        world.request(&subject, &body).await;
        let receipt = world.receipt(id).await;
        assert_eq!(receipt["outcome"], outcome, "{receipt}");
    }
    let receipt = done(
        &world.nats,
        "send",
        json!({"to": to("boss"), "text": "verb"}),
    )
    .await;
    assert_eq!(receipt["outcome"], "sent");
    let code = world.receipt("elsewhere").await;
    assert_eq!(code["code"], "mismatch");
    let sent: Vec<(SentVia, String)> = world
        .sim
        .delivered()
        .iter()
        .map(|sent| (sent.via, sent.text().to_owned()))
        .collect();
    assert_eq!(sent.len(), 4);
    let users = sent.iter().filter(|(via, _)| *via == SentVia::User);
    let users: Vec<&str> = users.map(|(_, text)| text.as_str()).collect();
    assert_eq!(users, ["account", "verb"]);
}
