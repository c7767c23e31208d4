//! Running it: start with nothing, reload, stop, wrong configuration, what the admin port says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH, Message, Sim, SimApp, SimOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::bridge::{Bridge, CLIENT_ID, CLIENT_SECRET, PROGRAM, Setup, client};
use crate::support::nats::{Nats, program};
use crate::support::wait;
use crate::support::world::{GROUP, World, messages, options};

const OTHER: &str = "dingsupport00000000";

/// The program in an empty environment and folder.
fn bare(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

fn run_with(home: &Path, config: &str) -> Output {
    std::fs::write(home.join("nats-dingtalk.toml"), config).unwrap();
    bare(home).arg("run").output().unwrap()
}

fn refusal(config: &str) -> String {
    let home = TempDir::new().unwrap();
    let output = run_with(home.path(), config);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    said
}

#[test]
fn a_wrong_configuration_ends_with_64_and_names_key_and_source() {
    let account = "client_id = \"dinga\"\nclient_secret = \"s\"\n";
    let said = refusal(&format!("[accounts.sales]\n{account}connection = 3"));
    assert!(said.contains("accounts.sales.connection"), "{said}");
    assert!(said.contains("nats-dingtalk.toml"), "{said}");
    let said = refusal(&format!("[accounts.a]\n{account}[accounts.b]\n{account}"));
    assert!(
        said.contains("client_id") && said.contains("accounts.b"),
        "{said}"
    );
    let said = refusal("[nats]\nurl = \"nats://127.0.0.1:1\"");
    assert!(said.contains("accounts"), "{said}");
    let home = TempDir::new().unwrap();
    let output = bare(home.path())
        .arg("run")
        .env("DINGTALK_CLIENT_ID", "dinga")
        .env("DINGTALK_CLIENT_SECRET", "s")
        .env("NATS_DINGTALK_INBOUND__ACK", "sometimes")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("NATS_DINGTALK_INBOUND__ACK"), "{said}");
}

/// A bridge with a nats-server of its own; both are stopped when dropped.
struct Alone {
    child: Child,
    home: TempDir,
}

impl Drop for Alone {
    fn drop(&mut self) {
        // The server would outlive a bridge that is killed.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log"));
            eprintln!("--- log of the bridge ---\n{}", log.unwrap_or_default());
        }
    }
}

impl Alone {
    /// Starts one with nothing but credentials, between a simulated DingTalk and its own broker.
    fn start(sim: &Sim) -> Self {
        let home = TempDir::new().unwrap();
        let log = std::fs::File::create(home.path().join("log")).unwrap();
        let server = program();
        let mut command = bare(home.path());
        match server.parent().filter(|folder| folder.is_absolute()) {
            Some(folder) => command.env("PATH", folder),
            None => command.env("PATH", std::env::var_os("PATH").unwrap()),
        };
        let child = command
            .arg("run")
            .env("DINGTALK_CLIENT_ID", CLIENT_ID)
            .env("DINGTALK_CLIENT_SECRET", CLIENT_SECRET)
            // Only what keeps tests apart from each other and from DingTalk.
            .env("NATS_DINGTALK_NATS__PORT", "0")
            .env("NATS_DINGTALK_ADMIN__LISTEN", "off")
            .env("NATS_DINGTALK_DINGTALK__API_URL", sim.api_url())
            .env("NATS_DINGTALK_DINGTALK__OAPI_URL", sim.api_url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, home }
    }

    fn file(&self, name: &str) -> PathBuf {
        let data = ".local/share/nats-dingtalk/nats";
        self.home.path().join(data).join(name)
    }

    /// Process of its nats-server, once it runs and answers.
    fn server(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.file("nats-server.pid")).ok()?;
        let pid = pid.trim().parse().ok()?;
        let runs = Path::new(&format!("/proc/{pid}")).exists();
        runs.then_some(pid)
    }

    fn url(&self) -> Option<String> {
        let config = std::fs::read_to_string(self.file("nats-server.conf")).ok()?;
        let listen = config.lines().find(|line| line.starts_with("listen:"))?;
        Some(format!("nats://{}", listen.split('"').nth(1)?))
    }

    async fn inbound(&self) -> Option<u64> {
        let client = async_nats::connect(self.url()?).await.ok()?;
        let jetstream = async_nats::jetstream::new(client);
        let mut stream = jetstream.get_stream("DINGTALK_INBOUND").await.ok()?;
        Some(stream.info().await.ok()?.state.messages)
    }
}

#[tokio::test]
async fn with_nothing_but_credentials_it_brings_its_own_broker_heals_it_and_stops_it() {
    let sim = Sim::start(options()).await.unwrap();
    let mut alone = Alone::start(&sim);
    sim.connected(CLIENT_ID, 2).await.unwrap();
    let said = Message::in_group(GROUP, "u", "hello");
    let msg_id = sim.say(CLIENT_ID, said).await.unwrap();
    sim.acked(&msg_id).await.unwrap();
    wait::until_true("the message in the stream", async || {
        alone.inbound().await == Some(1)
    })
    .await;
    let client = async_nats::connect(alone.url().unwrap()).await.unwrap();
    let subject = "dingtalk.outbound.default.user.manager1";
    client.publish(subject, "hi".into()).await.unwrap();
    assert_eq!(sim.delivered_count(1).await.unwrap()[0].text(), "hi");

    let first = alone.server().unwrap();
    let killed = Command::new("kill")
        .args(["-9", &first.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let said = Message::in_group(GROUP, "u", "while it heals");
    let msg_id = sim.say(CLIENT_ID, said).await.unwrap();
    sim.acked(&msg_id).await.unwrap();
    wait::until_true("another server with both messages", async || {
        alone.server().is_some_and(|pid| pid != first) && alone.inbound().await == Some(2)
    })
    .await;

    let second = alone.server().unwrap();
    let told = Command::new("kill")
        .arg(alone.child.id().to_string())
        .status();
    assert!(told.unwrap().success());
    let status = wait::until("the end", async || alone.child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    assert!(
        !Path::new(&format!("/proc/{second}")).exists(),
        "the server runs on"
    );
}

/// What a process was started with.
fn environment(pid: u32) -> String {
    let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    String::from_utf8(variables).unwrap()
}

#[tokio::test]
async fn a_broker_of_its_own_is_started_without_the_variables_of_the_bridge() {
    let sim = Sim::start(options()).await.unwrap();
    let alone = Alone::start(&sim);
    sim.connected(CLIENT_ID, 2).await.unwrap();
    let given = environment(alone.child.id());
    let passed_on = environment(alone.server().unwrap());
    assert!(given.contains(CLIENT_SECRET), "{given}");
    assert!(!passed_on.contains(CLIENT_SECRET), "{passed_on}");
    assert!(!passed_on.contains("DINGTALK_"), "{passed_on}");
    // All else is as it was.
    for name in ["PATH=", "HOME="] {
        assert!(passed_on.contains(name), "{passed_on}");
    }
}

/// Two apps, and a bridge that serves the first.
async fn two_apps() -> World {
    let options = SimOptions {
        apps: vec![
            SimApp::new(CLIENT_ID, CLIENT_SECRET),
            SimApp::new(OTHER, "other-secret"),
        ],
        ..options()
    };
    World::start_with(options, |setup| setup).await
}

/// Ids of the connections of an app that are up, when there are `count`.
async fn links(sim: &Sim, app: &str, count: usize) -> BTreeSet<u64> {
    wait::until(&format!("{count} connections of {app}"), async || {
        let links = sim.live_links(app);
        (links.len() == count).then(|| links.into_iter().collect())
    })
    .await
}

#[tokio::test]
async fn accounts_are_added_changed_paused_and_removed_without_touching_the_others() {
    let world = two_apps().await;
    let (sim, bridge) = (&world.sim, &world.bridge);
    let before = links(sim, CLIENT_ID, 2).await;
    let path = bridge.dir().join("config.toml");
    let first = std::fs::read_to_string(&path).unwrap();
    let account = |keys: &str| {
        let text = format!(
            "{first}\n[accounts.support]\nclient_id = \"{OTHER}\"\nclient_secret = \"other-secret\"\n{keys}\n"
        );
        std::fs::write(&path, text).unwrap();
    };
    // The watch on the file notices by itself.
    account("");
    let added = links(sim, OTHER, 2).await;
    account("connections = 1");
    bridge.signal("HUP");
    let changed = links(sim, OTHER, 1).await;
    assert!(changed.is_disjoint(&added), "it began anew");
    account("connections = 1\npaused = true");
    links(sim, OTHER, 0).await;
    let page = bridge.get("/ready").await.unwrap().1;
    assert!(page.contains("account support: paused"), "{page}");
    account("connections = 1");
    let resumed = links(sim, OTHER, 1).await;

    account("connections = 0");
    bridge.signal("HUP");
    wait::until_true("the reason in the log", async || {
        let log = bridge.log();
        let refused = log
            .lines()
            .find(|line| line.contains("configuration refused"));
        refused.is_some_and(|line| line.contains("accounts.support.connections"))
    })
    .await;
    assert_eq!(links(sim, OTHER, 1).await, resumed, "nothing changed");

    std::fs::write(&path, &first).unwrap();
    links(sim, OTHER, 0).await;
    wait::until_true("no trace on the board", async || {
        let page = bridge.get("/ready").await.unwrap().1;
        !page.contains("support")
    })
    .await;
    assert_eq!(
        links(sim, CLIENT_ID, 2).await,
        before,
        "the very same sockets"
    );
    let reply = format!("dingtalk.outbound.sales.group.{GROUP}");
    world
        .request(&reply, &json!({"id": "still", "text": "here"}))
        .await;
    assert_eq!(world.receipt("still").await["outcome"], "sent");
}

#[tokio::test]
async fn a_second_sigterm_cuts_the_drain_short_with_2() {
    let World { nats, sim, bridge } = World::start().await;
    sim.inject(Fault::Hold {
        path: GROUP_SEND_PATH.into(),
        times: None,
    })
    .await
    .unwrap();
    let jetstream = nats.jetstream().await;
    let subject = format!("dingtalk.outbound.sales.group.{GROUP}");
    let publish = jetstream.publish(subject, "held".into());
    publish.await.unwrap().await.unwrap();
    wait::until_true("the call that hangs", async || {
        !sim.calls_of(GROUP_SEND_PATH).is_empty()
    })
    .await;
    bridge.signal("TERM");
    wait::until_true("the drain", async || bridge.log().contains("draining")).await;
    bridge.signal("TERM");
    let (status, _) = bridge.ended().await;
    assert_eq!(status.code(), Some(2));
}

#[tokio::test]
async fn without_a_broker_it_runs_says_so_spools_and_stores_later() {
    let mut nats = Nats::absent();
    let sim = Sim::start(options()).await.unwrap();
    let bridge = Setup::new(&nats.url(), sim.api_url()).start().await;
    sim.connected(CLIENT_ID, 1).await.unwrap();
    let said = Message::in_group(GROUP, "u", "early");
    let msg_id = sim.say(CLIENT_ID, said).await.unwrap();
    assert_eq!(sim.acked(&msg_id).await.unwrap().attempt, 0);
    let (status, page) = bridge.get("/ready").await.unwrap();
    assert_eq!(status, 503);
    let broker = page.lines().find(|line| line.starts_with("broker"));
    assert!(broker.unwrap().contains("down:"), "{page}");
    wait::until_true("the line that says what it waits for", async || {
        bridge.log().contains("waiting for the broker")
    })
    .await;
    nats.restart().await;
    let world = World {
        nats,
        sim,
        bridge: bridge.ready().await,
    };
    assert_eq!(world.stored("DINGTALK_INBOUND", 1).await.len(), 1);
}

/// Whether a line of `/metrics` is a comment or `name{labels} value`.
fn is_sample(line: &str) -> bool {
    let name = |text: &str| {
        !text.is_empty()
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let Some((series, value)) = line.rsplit_once(' ') else {
        return false;
    };
    let named = match series.split_once('{') {
        None => name(series),
        Some((metric, labels)) => {
            let labels = labels.strip_suffix('}').unwrap_or("?");
            name(metric)
                && labels.split(',').all(|label| {
                    let parts = label.split_once("=\"");
                    parts.is_some_and(|(key, value)| name(key) && value.ends_with('"'))
                })
        }
    };
    named && value.parse::<f64>().is_ok()
}

#[tokio::test]
async fn live_ready_and_metrics_say_what_there_is() {
    let world = World::start().await;
    let bridge = &world.bridge;
    links(&world.sim, CLIENT_ID, 2).await;
    let said = Message::in_group(GROUP, "u", "count me");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    assert_eq!(bridge.get("/live").await.unwrap().0, 200);
    assert_eq!(bridge.get("/nothing").await.unwrap().0, 404);
    let (status, page) = bridge.get("/ready").await.unwrap();
    assert_eq!(status, 200, "{page}");
    assert!(page.starts_with("ready\n"), "{page}");
    assert!(page.contains("account sales: 2 of 2 links up"), "{page}");
    let (status, body) = bridge.get("/ready?format=json").await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ready"]), (200, &json!(true)));
    assert_eq!(body["accounts"]["sales"]["links"]["0"]["state"], "up");
    for part in ["broker", "spool", "inbound", "outbound"] {
        assert_eq!(body["parts"][part]["state"], "up", "{part}");
    }
    let (status, text) = bridge.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    for line in text.lines() {
        assert!(line.starts_with("# ") || is_sample(line), "{line}");
    }
    for sample in [
        "nats_dingtalk_frames_received_total{account=\"sales\"} 1",
        "nats_dingtalk_frames_total{account=\"sales\",outcome=\"stored\"} 1",
        "nats_dingtalk_frames_in_flight{account=\"sales\"} 0",
        "nats_dingtalk_sockets{account=\"sales\"} 2",
        "nats_dingtalk_spool_records 0",
        "nats_dingtalk_ack_latency_seconds_count 1",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
    }
    // A POST changes nothing.
    let url = format!("{}/ready", bridge.admin());
    let answer = client().post(url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 405);
}

#[tokio::test]
async fn what_the_policy_keeps_out_is_acked_and_published_apart() {
    let world = World::start_with(options(), |setup| {
        setup.account("require_mention = true\nallowed_users = [\"manager1\"]\ngated = \"publish\"")
    })
    .await;
    let silent = json!(false);
    let said = [
        Message::in_group(GROUP, "manager1", "let in"),
        Message::in_group(GROUP, "manager1", "not to you").with("isInAtList", silent),
        Message::in_group(GROUP, "stranger", "who am I"),
        Message::to_bot("manager1", "let in as well"),
        Message::to_bot("stranger", "nobody"),
    ];
    for message in said {
        let msg_id = world.sim.say(CLIENT_ID, message).await.unwrap();
        let frame = world.sim.acked(&msg_id).await.unwrap();
        assert_eq!(frame.attempt, 0);
    }
    let texts = |stored: Vec<crate::support::world::Stored>| -> BTreeSet<String> {
        let text = |stored: &crate::support::world::Stored| {
            stored.body["message"]["text"].as_str().unwrap().to_owned()
        };
        stored.iter().map(text).collect()
    };
    let expected = ["let in", "let in as well"].map(ToOwned::to_owned).into();
    assert_eq!(texts(world.stored("DINGTALK_INBOUND", 2).await), expected);
    let gated = world.stored("DINGTALK_GATED", 3).await;
    let in_group = format!("dingtalk.gated.sales.group.{GROUP}");
    let subjects: Vec<&str> = gated.iter().map(|stored| stored.subject.as_str()).collect();
    assert_eq!(
        subjects
            .iter()
            .filter(|subject| **subject == in_group)
            .count(),
        2,
        "{subjects:?}"
    );
    let expected = ["not to you", "who am I", "nobody"]
        .map(ToOwned::to_owned)
        .into();
    assert_eq!(texts(gated), expected);
}

#[tokio::test]
async fn a_message_larger_than_the_broker_takes_goes_through_the_object_store() {
    let nats = Nats::start_with("max_payload: 65536").await;
    let sim = Sim::start(options()).await.unwrap();
    let bridge: Bridge = Setup::new(&nats.url(), sim.api_url())
        .start()
        .await
        .ready()
        .await;
    let text = "x".repeat(150_000);
    let said = Message::in_group(GROUP, "u", text.as_str());
    let msg_id = sim.say(CLIENT_ID, said).await.unwrap();
    assert_eq!(sim.acked(&msg_id).await.unwrap().attempt, 0);
    let small = Message::in_group(GROUP, "u", "behind it");
    let behind = sim.say(CLIENT_ID, small).await.unwrap();
    sim.acked(&behind).await.unwrap();
    let stored = wait::until("both messages", async || {
        messages(&nats, "DINGTALK_INBOUND")
            .await
            .filter(|all| all.len() == 2)
    })
    .await;
    let claim = &stored[0];
    let id = format!("{CLIENT_ID}:{msg_id}");
    assert_eq!(claim.header("Nats-Msg-Id"), id);
    assert_eq!(claim.body["id"], id);
    assert!(!claim.header("Dingtalk-Claim").is_empty());
    assert_eq!(stored[1].body["message"]["text"], "behind it");
    let store = nats.jetstream().await;
    let store = store.get_object_store("DINGTALK_OBJECTS").await.unwrap();
    let mut object = store.get(claim.header("Dingtalk-Claim")).await.unwrap();
    let mut body = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut object, &mut body)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["message"]["text"].as_str(), Some(text.as_str()));
    drop(bridge);
}
