//! What a reload changes, and how a changed file is noticed.

use super::*;

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
