//! Defaults, file, environment and flags, and which of them wins.

use super::*;

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
