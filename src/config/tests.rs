//! The configuration through its front door: temporary files and a map for the environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Format, Toml};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::schema::{ACCOUNT_ALIASES, Keys};
use super::*;
use crate::message::Secret;

/// Stands for every secret; longer than any name, as DingTalk's are.
const CANARY: &str = "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4";
/// How long a change may take to be noticed.
const DEADLINE: Duration = Duration::from_secs(20);

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/bridge")];
    home.iter().chain(variables).copied().collect()
}

fn source(file: PathBuf) -> Source {
    Source {
        file: Some(file),
        overrides: Overrides::default(),
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let files = Files::new();
    let file = files.write("bridge.toml", text);
    load_from(&source(file), &environment(variables))
}

#[track_caller]
fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    load_text(text, variables).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    load_text(text, variables).unwrap_err().to_string()
}

#[track_caller]
fn refused_with(text: &str, variables: &[(&str, &str)], pieces: &[&str]) {
    let error = refused(text, variables);
    for piece in pieces {
        assert!(error.contains(piece), "no {piece:?} in {error:?}");
    }
}

fn account<'a>(config: &'a Config, name: &str) -> &'a Account {
    config.accounts.get(name).unwrap()
}

const SALES: &str = "[accounts.sales]\nclient_id = 'dingsales'\nclient_secret = 'from-file'\n";

#[test]
fn nothing_set_gives_documented_defaults_and_a_server_of_its_own() {
    let config = good("", &[]);
    assert_eq!(
        config.nats.server,
        ServerLocation::Managed {
            data_dir: "/home/bridge/.local/share/nats-dingtalk/nats".into(),
            program: None,
            port: 4222,
        }
    );
    assert_eq!(config.nats.auth, NatsAuth::None);
    assert_eq!(config.nats.stream_prefix, "DINGTALK");
    assert_eq!(config.nats.dedup_window, Duration::from_secs(1_800));
    assert_eq!(config.nats.max_age, Duration::from_secs(7 * 86_400));
    assert_eq!(config.dingtalk.api_url, "https://api.dingtalk.com");
    assert_eq!(config.dingtalk.timeout, Duration::from_secs(10));
    assert_eq!(config.inbound.ack, AckMode::Stored);
    assert_eq!(config.inbound.soft_budget, Duration::from_secs(1));
    assert_eq!(config.inbound.hard_budget, Duration::from_millis(2_500));
    assert_eq!(config.spool.max_bytes, 1 << 30);
    assert_eq!(config.admin.listen, "127.0.0.1:8680".parse().ok());
    assert_eq!(config.ops.stop_grace, Duration::from_secs(20));
    assert_eq!(config.log.format, LogFormat::Text);
    assert!(config.accounts.is_empty());
}

#[test]
fn the_data_folder_follows_xdg_then_home_then_the_system() {
    let xdg = [("XDG_DATA_HOME", "/data"), ("HOME", "/home/u")];
    let spool = |variables: &[(&str, &str)]| {
        let files = Files::new();
        let file = source(files.write("x.toml", ""));
        load_from(&file, &variables.iter().copied().collect())
            .unwrap()
            .spool
            .dir
    };
    assert_eq!(spool(&xdg), Path::new("/data/nats-dingtalk/spool"));
    assert_eq!(
        spool(&[("HOME", "/home/u")]),
        Path::new("/home/u/.local/share/nats-dingtalk/spool")
    );
    assert_eq!(spool(&[]), Path::new("/var/lib/nats-dingtalk/spool"));
}

#[test]
fn flags_win_over_environment_and_environment_over_file() {
    let files = Files::new();
    let file = files.write(
        "a.toml",
        "[nats]\nurl = 'nats://file:1'\n[log]\nfilter = 'warn'\n[admin]\nlisten = '127.0.0.1:1'\n",
    );
    let source = Source {
        file: Some(file),
        overrides: Overrides {
            nats_url: Some("nats://flag:3".to_owned()),
            ..Overrides::default()
        },
    };
    let environment = environment(&[
        ("NATS_DINGTALK_NATS__URL", "nats://env:2"),
        ("nats_dingtalk_log__filter", "debug"),
    ]);
    let config = load_from(&source, &environment).unwrap();
    assert_eq!(
        config.nats.server,
        ServerLocation::Url("nats://flag:3".to_owned())
    );
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.admin.listen, "127.0.0.1:1".parse().ok());
}

#[test]
fn every_kind_of_value_can_come_from_the_environment() {
    let config = good(
        SALES,
        &[
            ("NATS_DINGTALK_ACCOUNTS__SALES__CONNECTIONS", "5"),
            ("NATS_DINGTALK_ACCOUNTS__SALES__EVENTS", "true"),
            ("NATS_DINGTALK_ACCOUNTS__SALES__ALLOWED_USERS", "a, b"),
            (
                "NATS_DINGTALK_ACCOUNTS__SALES__ALLOWED_CHATS",
                "[\"cid1==\", \"cid2==\"]",
            ),
            ("NATS_DINGTALK_ACCOUNTS__SALES__CLIENT_SECRET", "0012345"),
            ("NATS_DINGTALK_ACCOUNTS__SALES__DIRECT_MESSAGES", "allowed"),
            (
                "NATS_DINGTALK_ACCOUNTS__SALES__MENTION_PATTERNS",
                "[Bb]ot, ^help",
            ),
            ("NATS_DINGTALK_SPOOL__MAX_BYTES", "2MiB"),
            ("NATS_DINGTALK_LOG__FILTER", ""),
        ],
    );
    let sales = account(&config, "sales");
    assert_eq!(sales.connections, 5);
    assert!(sales.events);
    assert_eq!(sales.client_secret.expose(), "0012345");
    assert_eq!(sales.policy.allowed_users, ["a", "b"]);
    assert_eq!(sales.policy.allowed_chats, ["cid1==", "cid2=="]);
    assert_eq!(sales.policy.direct_messages, DirectMessages::Allowed);
    let patterns: Vec<&str> = sales
        .policy
        .mention_patterns
        .iter()
        .map(|p| p.as_str())
        .collect();
    assert_eq!(patterns, ["[Bb]ot", "^help"]);
    assert_eq!(config.spool.max_bytes, 2 << 20);
    assert_eq!(config.log.filter, "info,async_nats=warn");
}

#[test]
fn a_variable_meets_the_account_as_the_file_writes_it() {
    let text = "[accounts.Sales-CN]\nclient_id = 'a'\nclient_secret = 'b'\n";
    let config = good(text, &[("NATS_DINGTALK_ACCOUNTS__SALES_CN__RATE", "7")]);
    assert_eq!(account(&config, "Sales-CN").rate.get(), 7);
    let both = format!("{SALES}[accounts.SALES]\nclient_id = 'a'\nclient_secret = 'b'\n");
    let config = good(&both, &[("NATS_DINGTALK_ACCOUNTS__SALES__RATE", "7")]);
    assert_eq!(account(&config, "sales").rate.get(), 7);
    assert_eq!(account(&config, "SALES").rate.get(), 20);
    let neither = "[accounts.Sales]\n[accounts.SALES]\n";
    refused_with(
        neither,
        &[("NATS_DINGTALK_ACCOUNTS__SALES__RATE", "7")],
        &["means both accounts", "NATS_DINGTALK_ACCOUNTS__SALES__RATE"],
    );
}

#[test]
fn an_account_can_live_in_the_environment_alone() {
    let config = good(
        "",
        &[
            ("NATS_DINGTALK_ACCOUNTS__OPS__APP_KEY", "dingops"),
            ("NATS_DINGTALK_ACCOUNTS__OPS__APP_SECRET", "s"),
        ],
    );
    assert_eq!(account(&config, "ops").client_id, "dingops");
    assert_eq!(account(&config, "ops").robot_code, "dingops");
}

#[test]
fn the_names_of_the_older_console_are_understood() {
    let config = good("[accounts.a]\napp_key = 'k'\napp_secret = 's'\n", &[]);
    assert_eq!(account(&config, "a").client_id, "k");
    assert_eq!(account(&config, "a").client_secret.expose(), "s");
    refused_with(
        "[accounts.a]\napp_key = 'k'\nclient_id = 'k'\nclient_secret = 's'\n",
        &[],
        &["`accounts.a.app_key` is another name of `client_id`"],
    );
}

#[test]
fn a_key_set_twice_by_variables_is_refused() {
    refused_with(
        "",
        &[
            ("NATS_DINGTALK_ACCOUNTS__A__APP_KEY", "k"),
            ("NATS_DINGTALK_ACCOUNTS__A__CLIENT_ID", "k"),
            ("NATS_DINGTALK_ACCOUNTS__A__CLIENT_SECRET", "s"),
        ],
        &["`accounts.a.client_id` is set by NATS_DINGTALK_ACCOUNTS__A__APP_KEY as well"],
    );
}

#[test]
fn two_variables_make_the_account_default() {
    for (id, secret) in [
        ("DINGTALK_CLIENT_ID", "DINGTALK_CLIENT_SECRET"),
        ("DINGTALK_APP_KEY", "DINGTALK_APP_SECRET"),
    ] {
        let config = good("", &[(id, "ding1"), (secret, "s1")]);
        assert_eq!(account(&config, "default").client_id, "ding1");
        assert_eq!(account(&config, "default").client_secret.expose(), "s1");
        assert!(config.require_accounts().is_ok());
    }
    let files = Files::new();
    let id = files.write("id", "ding2\n");
    let secret = files.write("secret", "s2\n");
    let variables = [
        ("DINGTALK_CLIENT_ID_FILE", id.to_str().unwrap()),
        ("DINGTALK_CLIENT_SECRET_FILE", secret.to_str().unwrap()),
    ];
    let config = good("", &variables);
    assert_eq!(account(&config, "default").client_id, "ding2");
    assert_eq!(account(&config, "default").client_secret.expose(), "s2");
}

#[test]
fn the_short_variables_add_nothing_that_is_there_and_change_no_other_app() {
    let short = [
        ("DINGTALK_CLIENT_ID", "dingsales"),
        ("DINGTALK_CLIENT_SECRET", "x"),
    ];
    let config = good(SALES, &short);
    assert_eq!(config.accounts.len(), 1);
    assert_eq!(
        account(&config, "sales").client_secret.expose(),
        "from-file"
    );
    let named = "[accounts.default]\nclient_id = 'other'\nclient_secret = 's'\n";
    refused_with(named, &short, &["DINGTALK_CLIENT_ID", "another client id"]);
    let settings = good("[accounts.default]\nevents = true\n", &short);
    assert!(account(&settings, "default").events);
    refused_with(
        "",
        &[("DINGTALK_CLIENT_SECRET", CANARY)],
        &["DINGTALK_CLIENT_SECRET", "DINGTALK_CLIENT_ID is not"],
    );
    refused_with(
        "",
        &[("DINGTALK_CLIENT_ID", "ding1")],
        &["`accounts.default.client_secret` is missing"],
    );
}

#[test]
fn no_account_is_refused_only_where_one_is_needed() {
    let error = good("", &[]).require_accounts().unwrap_err().to_string();
    assert!(error.contains("DINGTALK_CLIENT_ID"), "{error}");
    assert!(error.contains("[accounts.<name>]"), "{error}");
}

#[test]
fn a_secret_file_loses_its_last_newline_only() {
    let files = Files::new();
    let path = files.write("secret", " two words \r\n");
    let text = format!(
        "[accounts.a]\nclient_id = 'k'\nclient_secret_file = '{}'\n",
        path.display()
    );
    let config = good(&text, &[]);
    assert_eq!(account(&config, "a").client_secret.expose(), " two words ");
}

#[test]
fn a_secret_file_that_is_missing_empty_or_long_is_named_with_its_key() {
    let files = Files::new();
    let text = |path: &Path| {
        let path = path.display();
        format!("[accounts.a]\nclient_id = 'k'\nclient_secret_file = '{path}'\n")
    };
    let missing = files.path("missing");
    let key = "`accounts.a.client_secret_file`";
    refused_with(
        &text(&missing),
        &[],
        &[key, missing.to_str().unwrap(), "bridge.toml"],
    );
    refused_with(&text(files.dir.path()), &[], &[key, "cannot be read"]);
    refused_with(&text(&files.write("empty", "\n")), &[], &[key, "empty"]);
    let lines = files.write("lines", "one\ntwo\n");
    refused_with(&text(&lines), &[], &[key, "more than one line"]);
    refused_with(
        &text(Path::new("/dev/zero")),
        &[],
        &[key, "no regular file"],
    );
    let long = files.write("long", &"x".repeat(70_000));
    refused_with(&text(&long), &[], &[key, "cannot be read"]);
}

#[test]
fn a_secret_and_its_file_in_one_layer_are_refused_and_the_higher_layer_replaces_either() {
    let files = Files::new();
    let path = files.write("secret", "in-file\n");
    let with_file = format!(
        "[accounts.a]\nclient_id = 'k'\nclient_secret_file = '{}'\n",
        path.display()
    );
    let both = format!("{with_file}client_secret = '{CANARY}'\n");
    refused_with(
        &both,
        &[],
        &["`accounts.a.client_secret` is given, and `client_secret_file` as well"],
    );
    let config = good(
        &with_file,
        &[("NATS_DINGTALK_ACCOUNTS__A__CLIENT_SECRET", "in-env")],
    );
    assert_eq!(account(&config, "a").client_secret.expose(), "in-env");
    let variable = "NATS_DINGTALK_ACCOUNTS__SALES__CLIENT_SECRET_FILE";
    let config = good(SALES, &[(variable, path.to_str().unwrap())]);
    assert_eq!(account(&config, "sales").client_secret.expose(), "in-file");
}

#[test]
fn an_error_names_the_source_of_the_value() {
    refused_with(
        "[inbound]\nack = 'maybe'\n",
        &[],
        &["bridge.toml: `inbound.ack`", "\"stored\""],
    );
    refused_with(
        "",
        &[("NATS_DINGTALK_INBOUND__ACK", "maybe")],
        &["environment variable NATS_DINGTALK_INBOUND__ACK: `inbound.ack`"],
    );
    let source = Source {
        file: None,
        overrides: Overrides {
            log_format: Some("xml".to_owned()),
            ..Overrides::default()
        },
    };
    let error = load_from(&source, &environment(&[]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("flag --log-format: `log.format`"), "{error}");
}

#[test]
fn an_unknown_key_suggests_the_known_one() {
    refused_with(
        "[accounts.a]\nclient_id = 'k'\nclient_secret = 's'\nconections = 2\n",
        &[],
        &[
            "`accounts.a.conections` is not a known key",
            "did you mean `connections`?",
        ],
    );
    refused_with(
        "[natz]\n",
        &[],
        &["`natz` is not a known key", "did you mean `nats`?"],
    );
    refused_with(
        "[nats.tls]\nhello = 1\n",
        &[],
        &["`nats.tls.hello`", "known here are ca, cert, key"],
    );
    refused_with(
        "",
        &[("NATS_DINGTALK_NATS_URL", "nats://x")],
        &[
            "environment variable NATS_DINGTALK_NATS_URL",
            "did you mean NATS_DINGTALK_NATS__URL?",
        ],
    );
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_no_settings() {
    let config = good(
        "",
        &[
            ("NATS_DINGTALK_PORT", "tcp://10.0.0.1:8680"),
            ("NATS_DINGTALK_PORT_8680_TCP_ADDR", "10.0.0.1"),
            ("NATS_DINGTALK_SERVICE_HOST", "10.0.0.1"),
            ("NATS_DINGTALK_SERVICE_PORT_HTTP", "8680"),
        ],
    );
    assert_eq!(config, good("", &[]));
}

#[test]
fn all_problems_of_a_load_are_reported_together() {
    let error = load_text(
        "[nats]\nreplicas = 9\nurl = 'ftp://x'\n[log]\nfromat = 'json'\n[admin]\nlisten = 8680\n[accounts.a]\n",
        &[],
    )
    .unwrap_err();
    let keys: Vec<&str> = error
        .problems()
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    for key in [
        "nats.replicas",
        "nats.url",
        "log.fromat",
        "admin.listen",
        "accounts.a.client_id",
        "accounts.a.client_secret",
    ] {
        assert!(keys.contains(&key), "no {key} in {keys:?}");
    }
    assert!(error.to_string().starts_with("6 problems"), "{error}");
}

#[test]
fn values_out_of_range_are_refused() {
    for (text, key) in [
        ("connections = 0", "accounts.sales.connections"),
        ("connections = 51", "accounts.sales.connections"),
        ("connections = -1", "accounts.sales.connections"),
        ("connections = 2.5", "accounts.sales.connections"),
        ("connections = '2'", "accounts.sales.connections"),
        ("rate = 0", "accounts.sales.rate"),
        ("robot_code = 'two words'", "accounts.sales.robot_code"),
        (
            "mention_patterns = ['(']",
            "accounts.sales.mention_patterns",
        ),
        ("mention_patterns = ['']", "accounts.sales.mention_patterns"),
        ("allowed_users = [1]", "accounts.sales.allowed_users"),
        ("allowed_users = ['']", "accounts.sales.allowed_users"),
        ("direct_messages = 'some'", "accounts.sales.direct_messages"),
        ("[nats]\nreplicas = 6", "nats.replicas"),
        ("[nats]\nreplicas = 3", "nats.replicas"),
        ("[nats]\nport = 65536", "nats.port"),
        ("[nats]\nsubject_prefix = 'a..b'", "nats.subject_prefix"),
        ("[nats]\nsubject_prefix = 'a*'", "nats.subject_prefix"),
        ("[nats]\ndedup_window = '1m'", "nats.dedup_window"),
        ("[nats]\nmax_age = '10m'", "nats.dedup_window"),
        ("[nats]\nmax_age = 'long'", "nats.max_age"),
        ("[nats]\nurl = ''", "nats.url"),
        ("[nats]\nurl = 'localhost:4222'", "nats.url"),
        ("[nats]\nurl = 'http://localhost'", "nats.url"),
        ("[nats]\nurl = 'nats://a,,nats://b'", "nats.url"),
        ("[nats]\nurl = 'nats://user:pass@a'", "nats.url"),
        (
            "[dingtalk]\napi_url = 'api.dingtalk.com'",
            "dingtalk.api_url",
        ),
        ("[dingtalk]\noapi_url = 'wss://x'", "dingtalk.oapi_url"),
        (
            "[dingtalk]\noapi_url = 'https://x/?a=b'",
            "dingtalk.oapi_url",
        ),
        (
            "[dingtalk]\nca_file = '/nowhere/ca.pem'",
            "dingtalk.ca_file",
        ),
        ("[dingtalk]\nproxy = 'socks5://x'", "dingtalk.proxy"),
        ("[inbound]\nsoft_budget = '2500ms'", "inbound.soft_budget"),
        ("[inbound]\nhard_budget = '3s'", "inbound.hard_budget"),
        ("[inbound]\nsoft_budget = '0s'", "inbound.soft_budget"),
        ("[inbound]\nsoft_budget = 1", "inbound.soft_budget"),
        ("[spool]\nmax_bytes = 1048575", "spool.max_bytes"),
        ("[spool]\nmax_bytes = 'a lot'", "spool.max_bytes"),
        ("[spool]\nmax_bytes = -1", "spool.max_bytes"),
        ("[spool]\ndir = ''", "spool.dir"),
        ("[admin]\nlisten = ':8680'", "admin.listen"),
        ("[ops]\nstop_grace = '2 moons'", "ops.stop_grace"),
        ("[log]\nfilter = 'a=b=c'", "log.filter"),
    ] {
        let error = load_text(&format!("{SALES}{text}\n"), &[]).unwrap_err();
        let keys: Vec<&str> = error
            .problems()
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(keys, [key], "{text}: {error}");
    }
}

#[test]
fn an_account_needs_a_name_that_fits_into_a_subject() {
    refused_with(
        "[accounts.'a.b']\nclient_id = 'k'\nclient_secret = 's'\n",
        &[],
        &["is no name for an account"],
    );
}

#[test]
fn one_app_has_one_account() {
    let twice =
        format!("{SALES}[accounts.support]\nclient_id = 'dingsales'\nclient_secret = 's'\n");
    refused_with(
        &twice,
        &[],
        &["`accounts.support.client_id`", "`accounts.sales`"],
    );
}

#[test]
fn every_kind_of_broker_credentials_is_taken_and_only_one_at_a_time() {
    let files = Files::new();
    let creds = files.write("bridge.creds", "x").display().to_string();
    let seed = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU";
    let with = |text: &str| load_text(&format!("[nats]\nurl = 'tls://n:4222'\n{text}\n"), &[]);
    let auth = |text: &str| {
        with(text)
            .unwrap_or_else(|error| panic!("{error}"))
            .nats
            .auth
    };
    assert_eq!(
        auth(&format!("creds_file = '{creds}'")),
        NatsAuth::CredsFile(creds.clone().into())
    );
    assert_eq!(
        auth(&format!("nkey = '{seed}'")),
        NatsAuth::Nkey(Secret::new(seed))
    );
    assert_eq!(auth("token = 't'"), NatsAuth::Token(Secret::new("t")));
    let user = NatsAuth::User {
        user: "u".to_owned(),
        password: Secret::new("p"),
    };
    assert_eq!(auth("user = 'u'\npassword = 'p'"), user);
    for (text, key) in [
        ("token = 't'\nuser = 'u'\npassword = 'p'", "nats.user"),
        ("nkey = 'SUnot'", "nats.nkey"),
        ("user = 'u'", "nats.user"),
        ("password = 'p'", "nats.user"),
        ("tls.cert = 'Cargo.toml'", "nats.tls.key"),
        ("tls.key = 'Cargo.toml'", "nats.tls.cert"),
        ("tls.ca = '/nowhere'", "nats.tls.ca"),
    ] {
        let error = with(text).unwrap_err();
        assert_eq!(error.problems()[0].key, key, "{error}");
    }
    refused_with(
        "[nats]\ntoken = 't'\n",
        &[],
        &["`nats.token` is given, but `nats.url` is not"],
    );
}

#[test]
fn the_proxy_of_the_environment_is_a_default() {
    let variables = [
        ("HTTPS_PROXY", "proxy:3128"),
        ("no_proxy", "localhost,.corp"),
        ("HTTP_PROXY", "http://unused:1"),
    ];
    let config = good("", &variables);
    let proxy = |config: &Config| {
        config
            .dingtalk
            .proxy
            .as_ref()
            .map(|proxy| proxy.expose().to_owned())
    };
    assert_eq!(proxy(&config).as_deref(), Some("http://proxy:3128"));
    assert_eq!(config.dingtalk.no_proxy.as_deref(), Some("localhost,.corp"));
    let config = good("[dingtalk]\nproxy = 'http://u:p@other:1'\n", &variables);
    assert_eq!(proxy(&config).as_deref(), Some("http://u:p@other:1"));
    let config = good("[dingtalk]\nproxy = ''\n", &variables);
    assert_eq!(proxy(&config), None);
    refused_with(
        "",
        &[("https_proxy", "socks5://x:1")],
        &["environment variable https_proxy: `dingtalk.proxy`"],
    );
}

#[test]
fn streams_are_named_after_the_subject_prefix() {
    let config = good("[nats]\nsubject_prefix = 'acme.ding-talk'\n", &[]);
    assert_eq!(config.nats.subjects.prefix(), "acme.ding-talk");
    assert_eq!(config.nats.stream_prefix, "ACME_DING-TALK");
}

#[test]
fn the_variable_names_the_file_and_a_named_file_must_be_there() {
    let files = Files::new();
    let file = files.write("named.toml", "[log]\nformat = 'json'\n");
    let environment = environment(&[("NATS_DINGTALK_CONFIG", file.to_str().unwrap())]);
    let config = load_from(&Source::default(), &environment).unwrap();
    assert_eq!(config.log.format, LogFormat::Json);
    let missing = files.path("missing.toml");
    let error = load_from(&source(missing.clone()), &environment)
        .unwrap_err()
        .to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn a_line_that_is_not_toml_is_named_by_place_and_key_and_not_printed() {
    let text = format!("[accounts.sales]\nclient_id = 'k'\nclient_secret = {CANARY}\n");
    refused_with(
        &text,
        &[],
        &[
            "bridge.toml: line 3, column 17",
            "`accounts.sales.client_secret`",
        ],
    );
    let error = refused(&text, &[]);
    assert!(!error.contains(&CANARY[..8]), "{error}");
}

#[test]
fn no_error_shows_a_value_wherever_a_secret_was_put() {
    let everywhere = Keys::new().leaves();
    let mut texts = vec![
        format!("client_secret = {CANARY}"),
        format!("client_secret = '{CANARY}"),
        format!("client_secret = \"{CANARY}\\q\""),
        format!("{CANARY}"),
        format!("{CANARY} = 1"),
        format!("'{CANARY}' = 1\n'{CANARY}' = 2"),
        format!("[{CANARY}]\n[{CANARY}]"),
        format!("[{CANARY}"),
        format!("[accounts]\nsales = '{CANARY}'"),
        format!("[accounts.{CANARY}x]\nfoo = 1"),
        format!("accounts = ['{CANARY}']"),
        format!("client_secret = ['{CANARY}']"),
        format!("[accounts.a]\nclient_secrt = '{CANARY}'\n{CANARY} = '{CANARY}'"),
        format!("[accounts.a]\nclient_id = 'k'\nclient_secret = {{ value = '{CANARY}' }}"),
        format!("[accounts.a]\nclient_id = 'k'\nclient_secret = '''\n{CANARY}\n{CANARY}'''"),
        format!(
            "[accounts.a]\nclient_id = 'k'\nclient_secret = '{CANARY}'\nclient_secret = '{CANARY}'"
        ),
        format!("[nats]\nurl = 'nats://{CANARY}@host'"),
        format!("[dingtalk]\nproxy = 'http://u:{CANARY}@'"),
        format!("[dingtalk]\nproxy = 'ftp://u:{CANARY}@host'"),
    ];
    for path in &everywhere {
        let path: Vec<&str> = path
            .iter()
            .map(|key| if key == "*" { "a" } else { key })
            .collect();
        let (key, table) = path.split_last().unwrap();
        let table = table.join(".");
        for value in [
            format!("'{CANARY}'"),
            format!("['{CANARY}']"),
            format!("{{ {CANARY} = '{CANARY}' }}"),
            CANARY.to_owned(),
        ] {
            texts.push(format!("[{table}]\n{key} = {value}"));
        }
    }
    let mut refusals = 0;
    for text in &texts {
        let shown = match load_text(text, &[]) {
            Ok(config) => format!(
                "{:?}",
                Config {
                    log: good("", &[]).log,
                    ..without_open_texts(config)
                }
            ),
            Err(error) => {
                refusals += 1;
                format!("{error}\n{error:?}")
            }
        };
        assert!(!shown.contains(&CANARY[..16]), "{text}\n{shown}");
    }
    for path in everywhere {
        let name = path.join("__").replace('*', "a").to_uppercase();
        let name = format!("NATS_DINGTALK_{name}");
        if let Err(error) = load_text("", &[(&name, CANARY)]) {
            refusals += 1;
            let shown = format!("{error}\n{error:?}");
            assert!(!shown.contains(&CANARY[..16]), "{name}\n{shown}");
        }
    }
    assert!(refusals > 150, "{refusals}");
}

/// `config` without the texts that are no secrets and may be shown, where a test put one.
fn without_open_texts(mut config: Config) -> Config {
    let plain = good("", &[]);
    config.nats.server = plain.nats.server;
    config.nats.subjects = plain.nats.subjects;
    config.nats.stream_prefix = plain.nats.stream_prefix;
    config.dingtalk.no_proxy = plain.dingtalk.no_proxy;
    config.dingtalk.media_hosts = plain.dingtalk.media_hosts;
    config.spool.dir = plain.spool.dir;
    config
}

#[test]
fn debug_output_of_everything_hides_secrets() {
    let config = good(
        &format!(
            "[accounts.a]\nclient_id = 'k'\nclient_secret = '{CANARY}'\n[nats]\nurl = 'nats://n'\ntoken = '{CANARY}'\n[dingtalk]\nproxy = 'http://u:{CANARY}@p'\n"
        ),
        &[],
    );
    assert!(!format!("{config:?}").contains(&CANARY[..8]));
    let environment = environment(&[("DINGTALK_CLIENT_SECRET", CANARY)]);
    let overrides = Overrides {
        nats_url: Some(CANARY.to_owned()),
        ..Overrides::default()
    };
    assert!(!format!("{environment:?} {overrides:?}").contains(&CANARY[..8]));
}

#[test]
fn a_reload_tells_accounts_from_what_needs_a_restart() {
    let name = |name| AccountName::parse(name).unwrap();
    let account = |name: &str, more: &str| {
        format!("[accounts.{name}]\nclient_id = '{name}'\nclient_secret = 's'\n{more}\n")
    };
    let old = good(
        &[account("a", ""), account("b", ""), account("c", "")].concat(),
        &[],
    );
    let new = good(
        &[
            account("b", ""),
            account("c", "paused = true"),
            account("d", ""),
            "[nats]\nurl = 'nats://n:1'\nsubject_prefix = 'x'\n[ops]\nstop_grace = '1s'\n"
                .to_owned(),
        ]
        .concat(),
        &[],
    );
    let changes = diff(&old, &new);
    assert_eq!(
        changes.accounts,
        [
            AccountChange::Removed(name("a")),
            AccountChange::Changed(name("c")),
            AccountChange::Added(name("d")),
        ]
    );
    assert_eq!(
        changes.restart,
        ["nats.subject_prefix", "nats.url", "ops.stop_grace"]
    );
    assert_eq!(diff(&old, &old.clone()), Changes::default());
    let port = good("[nats]\nport = 4333\n", &[]);
    assert_eq!(diff(&good("", &[]), &port).restart, ["nats.port"]);
}

const ALERTS: &str = "[accounts.alerts]
kind = 'webhook'
webhook_url = 'https://oapi.dingtalk.com/robot/send?access_token=t0ken'
webhook_secret = 'SECx'
keywords = ['alert']
";

#[test]
fn a_custom_robot_is_an_account_without_an_app() {
    let config = good(ALERTS, &[]);
    assert!(config.accounts.is_empty());
    config.require_accounts().unwrap();
    let robot = &config.webhooks[&AccountName::parse("alerts").unwrap()];
    assert_eq!(robot.secret.as_ref().unwrap().expose(), "SECx");
    assert_eq!(robot.keywords, ["alert"]);
    assert!(!robot.paused && !robot.mention_all);
    assert!(!format!("{config:?}").contains("t0ken"));
}

#[test]
fn keys_of_one_kind_of_account_are_refused_in_the_other() {
    for (text, key) in [
        (format!("{ALERTS}client_id = 'x'\n"), "accounts.alerts.client_id"),
        (format!("{ALERTS}media = 'off'\n"), "accounts.alerts.media"),
        (format!("{SALES}keywords = ['a']\n"), "accounts.sales.keywords"),
        ("[accounts.alerts]\nkind = 'webhook'\n".to_owned(), "accounts.alerts.webhook_url"),
        (
            "[accounts.alerts]\nkind = 'webhook'\nwebhook_url = 'https://oapi.dingtalk.com/robot/send'\n".to_owned(),
            "accounts.alerts.webhook_url",
        ),
    ] {
        let error = refused(&text, &[]);
        assert!(error.contains(key), "{error}");
        assert!(!error.contains("t0ken"), "{error}");
    }
}

#[test]
fn a_custom_robot_is_followed_by_a_reload() {
    let changed = ALERTS.replace("'alert'", "'alarm'");
    let name = AccountName::parse("alerts").unwrap();
    for (old, new, change) in [
        ("", ALERTS, AccountChange::Added(name.clone())),
        (
            ALERTS,
            changed.as_str(),
            AccountChange::Changed(name.clone()),
        ),
        (ALERTS, "", AccountChange::Removed(name.clone())),
    ] {
        assert_eq!(diff(&good(old, &[]), &good(new, &[])).accounts, [change]);
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_example_loads_as_it_is_and_shows_the_defaults() {
    let example = load_from(
        &source(repository("config/example.toml")),
        &environment(&[]),
    )
    .unwrap();
    let plain = good(
        "[accounts.sales]\nclient_id = 'dingxxxxxxxxxxxxxxxx'\nclient_secret = 'replace-me'\n",
        &[],
    );
    assert_eq!(example, plain);
}

#[test]
fn the_example_names_every_key() {
    let text = fs::read_to_string(repository("config/example.toml")).unwrap();
    let aliases = ACCOUNT_ALIASES.map(|(alias, _)| alias);
    for path in Keys::new().leaves() {
        let key = path.last().unwrap().as_str();
        let written = text.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.split_once(" = ").is_some_and(|(name, _)| name == key)
        });
        assert!(written || aliases.contains(&key), "{path:?}");
    }
}

#[test]
fn the_demo_configuration_loads() {
    let config = load_from(&source(repository("config/demo.toml")), &environment(&[])).unwrap();
    assert!(config.accounts.contains_key("demo"));
    assert!(config.dingtalk.api_url.starts_with("http://127.0.0.1"));
}

#[test]
fn there_are_at_most_56_keys() {
    let aliases = ACCOUNT_ALIASES.map(|(alias, _)| alias);
    let leaves = Keys::new().leaves();
    // A secret and the file that holds it are one key in two forms.
    let form_of_another = |path: &Vec<String>| {
        let (key, table) = path.split_last().unwrap();
        key.strip_suffix("_file").is_some_and(|value| {
            let mut other = table.to_vec();
            other.push(value.to_owned());
            leaves.contains(&other)
        })
    };
    let count = leaves
        .iter()
        .filter(|path| !aliases.contains(&path.last().unwrap().as_str()) && !form_of_another(path))
        .count();
    assert!(count <= 56, "{count}");
}

#[test]
fn every_key_says_what_it_means() {
    fn look(schema: &serde_json::Value, path: &str) {
        for (name, key) in schema["properties"].as_object().into_iter().flatten() {
            let described = key["description"]
                .as_str()
                .is_some_and(|text| text.len() > 10);
            assert!(described, "{path}.{name}");
            look(key, &format!("{path}.{name}"));
            look(&key["additionalProperties"], &format!("{path}.{name}.*"));
        }
    }
    look(&schema(), "");
}

/// Run with `UPDATE_SCHEMAS=1` to write the file anew, or use `nats-dingtalk schema --write`.
#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let path = repository("schemas/config.schema.json");
    let mut text = serde_json::to_string_pretty(&schema()).unwrap();
    text.push('\n');
    if Environment::capture().value("UPDATE_SCHEMAS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap();
    assert!(
        stored == text,
        "schemas/config.schema.json is stale: run UPDATE_SCHEMAS=1 cargo test --lib config"
    );
}

#[test]
fn the_schema_accepts_the_example_and_the_demo_and_refuses_an_unknown_key() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let read = |text: &str| -> serde_json::Value { <Toml as Format>::from_str(text).unwrap() };
    for file in ["config/example.toml", "config/demo.toml"] {
        let value = read(&fs::read_to_string(repository(file)).unwrap());
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
    }
    assert!(validator.is_valid(&read("[accounts.a]\napp_key = 'k'\napp_secret = 's'\n")));
    assert!(!validator.is_valid(&read("[natz]\n")));
    assert!(!validator.is_valid(&read("[accounts.a]\nconnections = 51\n")));
    assert!(!validator.is_valid(&read("[accounts.'a.b']\n")));
}

/// Runs a watch beside `act`, which ends the test.
async fn watching(file: &Path, act: impl AsyncFnOnce(&mut mpsc::Receiver<()>)) {
    let watch = Watch::new(source(file.to_owned()), environment(&[]));
    let (sender, mut changed) = mpsc::channel(Watch::CAPACITY);
    tokio::select! {
        () = watch.run(sender) => panic!("the watch ended"),
        () = act(&mut changed) => {}
    }
}

async fn noticed(changed: &mut mpsc::Receiver<()>) {
    let notice = tokio::time::timeout(DEADLINE, changed.recv()).await;
    assert_eq!(notice, Ok(Some(())));
}

#[tokio::test]
async fn a_changed_file_is_noticed_whether_written_or_renamed_over() {
    let files = Files::new();
    let file = files.write("a.toml", SALES);
    watching(&file, async |changed| {
        fs::write(&file, "").unwrap();
        noticed(changed).await;
        let other = files.write("a.toml.new", SALES);
        fs::rename(other, &file).unwrap();
        noticed(changed).await;
        fs::remove_file(&file).unwrap();
        noticed(changed).await;
        files.write("a.toml", "");
        noticed(changed).await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_secret_file_is_noticed_even_when_it_was_named_later() {
    let files = Files::new();
    let secrets = Files::new();
    let file = files.write("a.toml", SALES);
    let secret = secrets.write("secret", "one\n");
    watching(&file, async |changed| {
        let path = secret.display();
        let text = format!("[accounts.a]\nclient_id = 'k'\nclient_secret_file = '{path}'\n");
        files.write("a.toml", &text);
        noticed(changed).await;
        secrets.write("secret", "two\n");
        noticed(changed).await;
        // A file that is broken for a moment does not make the watch forget its secrets.
        files.write("a.toml", "[");
        noticed(changed).await;
        secrets.write("secret", "three\n");
        noticed(changed).await;
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_that_swaps_its_link_is_noticed() {
    use std::os::unix::fs::symlink;

    let files = Files::new();
    for (version, text) in [("..1", SALES), ("..2", "")] {
        fs::create_dir(files.path(version)).unwrap();
        fs::write(files.path(version).join("a.toml"), text).unwrap();
    }
    symlink("..1", files.path("..data")).unwrap();
    symlink("..data/a.toml", files.path("a.toml")).unwrap();
    watching(&files.path("a.toml"), async |changed| {
        symlink("..2", files.path("..data_tmp")).unwrap();
        fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
        noticed(changed).await;
    })
    .await;
}

#[tokio::test]
async fn a_change_between_the_load_and_the_watch_is_noticed() {
    let files = Files::new();
    let file = files.write("a.toml", SALES);
    let watch = Watch::new(source(file.clone()), environment(&[]));
    fs::write(&file, "").unwrap();
    let (sender, mut changed) = mpsc::channel(Watch::CAPACITY);
    tokio::select! {
        () = watch.run(sender) => panic!("the watch ended"),
        () = noticed(&mut changed) => {}
    }
}

#[test]
fn a_watch_can_run_on_any_thread() {
    fn sendable<T: Send>(_: &T) {}
    let files = Files::new();
    let watch = Watch::new(source(files.write("a.toml", "")), environment(&[]));
    sendable(&watch.run(mpsc::channel(Watch::CAPACITY).0));
}

#[tokio::test]
async fn a_watch_ends_when_nobody_listens() {
    let files = Files::new();
    let watch = Watch::new(source(files.write("a.toml", "")), environment(&[]));
    let (sender, changed) = mpsc::channel(Watch::CAPACITY);
    drop(changed);
    assert!(
        tokio::time::timeout(DEADLINE, watch.run(sender))
            .await
            .is_ok()
    );
}

proptest! {
    #[test]
    fn a_file_damaged_anywhere_is_read_or_refused_without_showing_its_secret(
        start in 0..260_usize,
        length in 0..40_usize,
        put in "['\"=#.\\\\\\[\\]{}\n a-c_]{0,4}",
    ) {
        let whole = format!(
            "[nats]\nurl = 'nats://n'\ntoken = '{CANARY}'\n\n[accounts.a]\nclient_id = 'k'\nclient_secret = \"{CANARY}\"\nconnections = 2\n"
        );
        let start = start.min(whole.len());
        let end = (start + length).min(whole.len());
        let text = [&whole[..start], &put, &whole[end..]].concat();
        // What still loads may show the text, which became a host name.
        let Err(error) = load_text(&text, &[]) else {
            return Ok(());
        };
        let shown = format!("{error}\n{error:?}");
        prop_assert!(!shown.contains(&CANARY[..8]), "{text}\n{shown}");
    }
}
