//! P8: no secret leaves the bridge, however noisy its life is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use async_nats::jetstream;
use futures_util::TryStreamExt;
use nats_dingtalk::sim::{
    Fault, GROUP_SEND_PATH, Message, OPEN_PATH, Sim, TOKEN_PATH, USER_SEND_PATH, WEBHOOK_PATH,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::bridge::{Bridge, CLIENT_ID, CLIENT_SECRET, PROGRAM, Setup, client};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, messages, options};

const NATS_PASSWORD: &str = "canary-nats-password-77aa";
const PROXY_PASSWORD: &str = "canary-proxy-password-31f0";
/// `proxyuser:` and the password, as the header has it.
const PROXY_BASIC: &str = "cHJveHl1c2VyOmNhbmFyeS1wcm94eS1wYXNzd29yZC0zMWYw";
const WRONG_SECRET: &str = "canary-wrong-secret-0c4d";
/// As long as DingTalk's are.
const BROKEN_SECRET: &str = "canary-broken-file-9e9e-Zk3vQ8mT1xWc5RbN7yLp0dHs2GfJ4aUeVo6iKqX";
const FOREIGN_SESSION: &str = "canaryf0re1gnsess10n";

/// A proxy that takes tunnels and absolute URLs; every head that it saw.
async fn proxy() -> (u16, watch::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, seen) = watch::channel(String::new());
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the runtime of its test"
    )]
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move { forward(socket, heads).await });
        }
    });
    (port, seen)
}

async fn forward(mut socket: TcpStream, heads: watch::Sender<String>) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 4096];
        let read = socket.read(&mut bytes).await.ok()?;
        if read == 0 {
            return None;
        }
        head.extend_from_slice(&bytes[..read]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    heads.send_modify(|all| all.push_str(&text));
    let aim = text.split(' ').nth(1)?;
    let host = aim.strip_prefix("http://").unwrap_or(aim);
    let host = host.split('/').next()?;
    let mut there = TcpStream::connect(host).await.ok()?;
    if text.starts_with("CONNECT") {
        let open = b"HTTP/1.1 200 Connection established\r\n\r\n";
        socket.write_all(open).await.ok()?;
    } else {
        there.write_all(&head).await.ok()?;
    }
    copy_bidirectional(&mut socket, &mut there).await.ok()?;
    Some(())
}

/// The token that the bridge uses now.
async fn token(sim: &Sim) -> String {
    let answer = client()
        .post(format!("{}{TOKEN_PATH}", sim.api_url()))
        .header("content-type", "application/json")
        .body(json!({"appKey": CLIENT_ID, "appSecret": CLIENT_SECRET}).to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    answer["accessToken"].as_str().unwrap().to_owned()
}

/// The sessions of all webhooks that were pushed.
fn sessions(sim: &Sim) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for frame in sim.frames() {
        for part in frame.text.unwrap_or_default().split("session=").skip(1) {
            let session = part.chars().take_while(char::is_ascii_alphanumeric);
            found.insert(session.collect());
        }
    }
    found
}

/// A message whose data nobody can read, with a webhook in it that is written in some way.
fn unreadable(number: usize) -> String {
    let url = "https://oapi.dingtalk.com/robot/sendBySession?session=";
    let escaped = "https:\\/\\/oapi.dingtalk.com\\/robot\\/sendBySession?session=";
    let unicode = "https:\\u002f\\u002foapi.dingtalk.com\\u002frobot\\u002fsendBySession\\u003fsession\\u003d";
    let data = match number {
        0 => format!("{{\"msgId\":\"m0\",\"sessionWebhook\":\"{url}{FOREIGN_SESSION}\""),
        1 => format!("{{\"sessionWebhook\":\"{escaped}{FOREIGN_SESSION}\",,}}"),
        2 => format!("{{\"sessionWebhook\":\"{unicode}{FOREIGN_SESSION}"),
        3 => format!("sessionWebhook={url}{FOREIGN_SESSION}&x=1"),
        4 => json!([{"sessionWebhook": format!("{url}{FOREIGN_SESSION}")}]).to_string(),
        5 => json!({"a": {"session_webhook": format!("{url}{FOREIGN_SESSION}")}}).to_string(),
        6 => json!(json!({"sessionWebhook": format!("{url}{FOREIGN_SESSION}")}).to_string())
            .to_string(),
        _ => json!({"msgId": "m7", "conversationId": "cidA==", "text": {"content": "x",
                "repliedMsg": {"sessionWebhook": format!("{url}{FOREIGN_SESSION}")}}})
        .to_string(),
    };
    json!({
        "specVersion": "1.0",
        "type": "CALLBACK",
        "headers": {"topic": "/v1.0/im/bot/messages/get", "messageId": format!("unreadable-{number}"),
            "contentType": "application/json", "time": "1769851757821", "appId": "a", "connectionId": "c"},
        "data": data,
    })
    .to_string()
}

struct Noise {
    nats: Nats,
    sim: Sim,
    bridge: Bridge,
}

impl Noise {
    async fn request(&self, subject: &str, body: Value) {
        let jetstream = self.nats.jetstream().await;
        let publish = jetstream.publish(subject.to_owned(), body.to_string().into());
        publish.await.unwrap().await.unwrap();
    }

    async fn receipt(&self, id: &str) -> Value {
        wait::until(&format!("the receipt of {id}"), async || {
            let all = messages(&self.nats, "DINGTALK_RECEIPT").await?;
            Some(all.into_iter().find(|stored| stored.body["id"] == id)?.body)
        })
        .await
    }

    async fn fault(&self, fault: Fault) {
        self.sim.inject(fault).await.unwrap();
    }

    /// Speaks in a 1:1 chat and answers through the session.
    async fn converse(&self, id: &str) -> Value {
        let said = Message::to_bot("manager1", "hello");
        let msg_id = self.sim.say(CLIENT_ID, said).await.unwrap();
        self.sim.acked(&msg_id).await.unwrap();
        let reply_to = format!("{CLIENT_ID}:{msg_id}");
        let body = json!({"id": id, "to": {"reply_to": reply_to}, "text": "hi", "via": "webhook"});
        self.request("dingtalk.outbound", body).await;
        self.receipt(id).await
    }

    /// Everything that can go wrong between the bridge and DingTalk.
    async fn quarrel(&self) {
        assert_eq!(self.converse("good").await["outcome"], "sent");
        let (path, times) = (|| WEBHOOK_PATH.to_owned(), Some(1));
        self.fault(Fault::CutCall {
            path: path(),
            times,
        })
        .await;
        self.converse("cut").await;
        self.fault(Fault::ApplyThenCut {
            path: path(),
            times,
        })
        .await;
        self.converse("applied-and-cut").await;
        let (status, body) = (502, "<html>bad gateway</html>".to_owned());
        self.fault(Fault::Reject {
            path: path(),
            status,
            body,
            times,
        })
        .await;
        self.converse("bad-gateway").await;
        self.fault(Fault::ExpireWebhook {
            app: CLIENT_ID.into(),
        })
        .await;
        self.converse("after-expiry").await;
        for (number, path) in [GROUP_SEND_PATH, TOKEN_PATH].into_iter().enumerate() {
            self.fault(Fault::ExpireToken {
                app: CLIENT_ID.into(),
            })
            .await;
            self.fault(Fault::CutCall {
                path: path.into(),
                times,
            })
            .await;
            let subject = format!("dingtalk.outbound.sales.group.{GROUP}");
            let id = format!("group-{number}");
            self.request(&subject, json!({"id": id, "text": "x"})).await;
            self.receipt(&id).await;
        }
        let denied = json!({"code": "Forbidden.AccessDenied", "message": "no permission"});
        self.fault(Fault::Reject {
            path: USER_SEND_PATH.into(),
            status: 400,
            body: denied.to_string(),
            times,
        })
        .await;
        let user = "dingtalk.outbound.sales.user.manager1";
        for (id, body) in [
            ("denied", json!({"id": "denied", "text": "x"})),
            ("odd", json!({"id": "odd", "text": "x", "colour": "red"})),
        ] {
            self.request(user, body).await;
            self.receipt(id).await;
        }
    }

    /// Connections that break, and frames that nobody can read.
    async fn disturb(&self) {
        let times = Some(1);
        for fault in [
            Fault::CutCall {
                path: OPEN_PATH.into(),
                times,
            },
            Fault::Reject {
                path: "/connect".into(),
                status: 403,
                body: String::new(),
                times,
            },
        ] {
            self.fault(fault).await;
            let old = self.sim.live_links(CLIENT_ID);
            let (app, link) = (CLIENT_ID.to_owned(), None);
            self.fault(Fault::Cut { app, link }).await;
            wait::until_true("two new connections", async || {
                let links = self.sim.live_links(CLIENT_ID);
                links.len() == 2 && links.iter().all(|link| !old.contains(link))
            })
            .await;
        }
        let before = self.received().await;
        for number in 0..8 {
            let text = unreadable(number);
            self.sim.push_text(CLIENT_ID, None, &text).await.unwrap();
        }
        let (app, link) = (CLIENT_ID.to_owned(), None);
        self.fault(Fault::Garbage { app, link }).await;
        wait::until_true("the unreadable frames", async || {
            self.received().await >= before + 8.0
                && self
                    .bridge
                    .metric("nats_dingtalk_frames_in_flight", &[])
                    .await
                    == 0.0
        })
        .await;
    }

    async fn received(&self) -> f64 {
        self.bridge
            .metric("nats_dingtalk_frames_received_total", &[])
            .await
    }

    /// Files that are refused, each with a secret in a place where it does not belong.
    async fn break_configuration(&self) {
        let path = self.bridge.dir().join("config.toml");
        let good = std::fs::read_to_string(&path).unwrap();
        for wrong in [
            format!("[accounts.sales]\nclient_secret = {BROKEN_SECRET}\n"),
            format!("{good}\n[accounts.third]\nclient_secret = \"{BROKEN_SECRET}\n"),
            format!("{good}\n[accounts.third]\nclient_sekret = \"{BROKEN_SECRET}\"\n"),
            format!("{good}\n[accounts.third]\nclient_id = [\"{BROKEN_SECRET}\"]\n"),
            format!("{good}\n[accounts.third]\nconnections = \"{BROKEN_SECRET}\"\n"),
            format!("{good}\n[{BROKEN_SECRET}]\n"),
            good.replace("nats://", &format!("nats://u:{BROKEN_SECRET}@")),
            good.replace("[spool]", &format!("proxy = \"{BROKEN_SECRET}\"\n[spool]")),
        ] {
            let refusals = || self.bridge.log().matches("configuration refused").count();
            let before = refusals();
            std::fs::write(&path, wrong).unwrap();
            self.bridge.signal("HUP");
            wait::until_true("the refusal", async || refusals() > before).await;
        }
        std::fs::write(&path, good).unwrap();
    }
}

/// What the program prints for these arguments, whether it succeeds or not.
fn printed(config: &Path, arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .arg("--config")
        .arg(config)
        .arg("--log-filter")
        .arg("trace")
        .env("NO_PROXY", "")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

/// Subjects, headers and bodies of everything in every stream; the bucket of webhooks apart.
async fn kept(nats: &Nats) -> (String, String) {
    let jetstream = nats.jetstream().await;
    let names: Vec<String> = jetstream.stream_names().try_collect().await.unwrap();
    assert!(names.len() >= 7, "{names:?}");
    let (mut open, mut webhooks) = (String::new(), String::new());
    for name in names {
        let mut stream = jetstream.get_stream(&name).await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        let into = if name.ends_with("WEBHOOKS") {
            &mut webhooks
        } else {
            &mut open
        };
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                into.push_str(&raw(&message));
            }
        }
    }
    (open, webhooks)
}

fn raw(message: &jetstream::message::StreamMessage) -> String {
    format!(
        "{} {:?} {}\n",
        message.subject,
        message.headers,
        String::from_utf8_lossy(&message.payload)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_no_secret_is_seen_anywhere_in_a_noisy_life() {
    let (port, heads) = proxy().await;
    let nats = Nats::start_guarded("bridge", NATS_PASSWORD).await;
    let sim = Sim::start(options()).await.unwrap();
    let mut bridge = Setup::new(&nats.url(), sim.api_url())
        .nats(&format!(
            "user = \"bridge\"\npassword = \"{NATS_PASSWORD}\""
        ))
        .dingtalk(&format!(
            "proxy = \"http://proxyuser:{PROXY_PASSWORD}@127.0.0.1:{port}\"\nno_proxy = \"\""
        ))
        .account("events = true")
        .extra("[log]\nfilter = \"trace\"")
        .extra(&format!(
            "[accounts.wrong]\nclient_id = \"dingwrong\"\nclient_secret = \"{WRONG_SECRET}\""
        ))
        .start()
        .await;
    sim.connected(CLIENT_ID, 2).await.unwrap();
    wait::until_true("the wrong account to be parked", async || {
        let ready = bridge.get("/ready").await;
        ready.is_some_and(|(_, page)| page.contains("parked"))
    })
    .await;
    let mut noise = Noise { nats, sim, bridge };
    let mut canaries: BTreeSet<String> = [
        CLIENT_SECRET,
        NATS_PASSWORD,
        PROXY_PASSWORD,
        PROXY_BASIC,
        WRONG_SECRET,
        // No part of it either.
        &BROKEN_SECRET[..24],
        FOREIGN_SESSION,
    ]
    .map(ToOwned::to_owned)
    .into();
    let first = token(&noise.sim).await;
    noise.quarrel().await;
    canaries.extend([first, token(&noise.sim).await]);
    noise.disturb().await;
    noise.nats.kill();
    let said = Message::in_group(GROUP, "u", "spooled");
    let spooled = noise.sim.say(CLIENT_ID, said).await.unwrap();
    noise.sim.acked(&spooled).await.unwrap();
    noise.nats.restart().await;
    wait::until_true("the way through the broker", async || {
        let log = noise.bridge.log();
        log.contains("route=Broker")
    })
    .await;
    assert_eq!(noise.converse("after-the-outage").await["outcome"], "sent");
    noise.break_configuration().await;
    let config = noise.bridge.dir().join("config.toml");
    let mut seen = vec![
        (
            "send",
            printed(
                &config,
                &["send", "sales", "user:manager1", "from the command line"],
            ),
        ),
        (
            "tail",
            printed(
                &config,
                &["tail", "--no-follow", "--from-seq", "1", "--json"],
            ),
        ),
        ("check", printed(&config, &["check"])),
    ];
    let sends = noise.sim.delivered();
    let sent = sends.last().map(|sent| sent.text().to_owned());
    assert_eq!(
        sent.as_deref(),
        Some("from the command line"),
        "{}",
        seen[0].1
    );
    assert!(
        seen[2].1.contains("ok     DINGTALK_INBOUND"),
        "{}",
        seen[2].1
    );
    assert!(seen[1].1.contains("spooled"), "{}", seen[1].1);
    for path in ["/metrics", "/ready", "/ready?format=json", "/"] {
        seen.push((path, noise.bridge.get(path).await.unwrap().1));
    }
    let arguments = format!("/proc/{}/cmdline", noise.bridge.pid());
    seen.push(("arguments", std::fs::read_to_string(arguments).unwrap()));
    // The end is noisy as well.
    bridge = noise.bridge;
    bridge.signal("TERM");
    let (status, dir) = bridge.ended().await;
    assert_eq!(status.code(), Some(0));
    seen.push((
        "log",
        std::fs::read_to_string(dir.path().join("log")).unwrap(),
    ));
    let log = &seen[seen.len() - 1].1;
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "not noisy");

    let (open, webhooks) = kept(&noise.nats).await;
    let sessions = sessions(&noise.sim);
    let in_use = sessions
        .iter()
        .filter(|session| webhooks.contains(*session));
    assert!(
        in_use.count() > 3,
        "the sessions are kept where they belong"
    );
    assert!(heads.borrow().contains(PROXY_BASIC), "the proxy was used");
    seen.push(("streams", open));
    canaries.extend(sessions);
    let mut leaks = Vec::new();
    for (place, text) in &seen {
        for canary in &canaries {
            if let Some(at) = text.find(canary.as_str()) {
                let from = text[..at].rfind('\n').map_or(0, |at| at + 1);
                let line: String = text[from..].chars().take(400).collect();
                leaks.push(format!("{place}: {canary}: {line}"));
            }
        }
    }
    // A ticket opens one connection; it has no place in what people read.
    for link in noise.sim.links() {
        for (place, text) in seen.iter().filter(|(place, _)| *place != "streams") {
            if text.contains(&link.ticket) {
                leaks.push(format!("{place}: ticket {}", link.ticket));
            }
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
}
