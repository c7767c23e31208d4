//! What is refused, and how that is said.

use super::*;

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
