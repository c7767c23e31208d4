//! Secrets: where they come from, and that nothing shows them.

use super::*;

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
