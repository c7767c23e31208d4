//! The block that the command prints: `check` names what is missing of it, and the documents hold it as it is.

use std::process::Command;

use tempfile::TempDir;

use super::PASSWORD;
use super::guarded::block;
use crate::support::bridge::PROGRAM;
use crate::support::nats::Nats;

#[tokio::test(flavor = "multi_thread")]
async fn check_names_every_right_that_is_missing() {
    let all = block(&["--role", "bridge"]);
    let without = |lines: &[&str]| {
        let kept = all.lines().filter(|line| !lines.contains(&line.trim()));
        kept.collect::<Vec<_>>().join("\n")
    };
    for (users, said) in [
        (
            all.clone(),
            vec!["ok     permissions", "are what a bridge needs"],
        ),
        (
            without(&[
                "\"$JS.API.CONSUMER.UNPIN.DINGTALK_OUTBOUND.*\"",
                "\"$SRV.>\"",
            ]),
            vec![
                "WRONG  permissions",
                "this user may not publish to $JS.API.CONSUMER.UNPIN.DINGTALK_OUTBOUND.*",
                "this user may not subscribe to $SRV.>",
                "nats-dingtalk permissions --role bridge",
            ],
        ),
        (
            without(&["\"$JS.API.STREAM.INFO.DINGTALK_INBOUND\""]),
            vec![
                "WRONG  DINGTALK_INBOUND",
                "may not publish to $JS.API.STREAM.INFO.DINGTALK_INBOUND",
            ],
        ),
        (
            without(&["\"$SYS.REQ.USER.INFO\""]),
            vec!["WRONG  permissions", "$SYS.REQ.USER.INFO"],
        ),
    ] {
        let nats = Nats::start_with_users(&users, "admin", PASSWORD).await;
        let dir = TempDir::new().unwrap();
        let config = format!(
            "[nats]\nurl = \"{}\"\nuser = \"bridge\"\npassword = {PASSWORD:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [dingtalk]\napi_url = \"http://127.0.0.1:1\"\n",
            nats.url()
        );
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let check = tokio::process::Command::new(PROGRAM)
            .arg("check")
            .arg("--config")
            .arg(&path)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(check.stdout).unwrap();
        for part in said {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains(PASSWORD));
    }
}

#[test]
fn the_documented_users_are_the_generated_ones() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/permissions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = 0;
    for block in text.split("```sh\nnats-dingtalk permissions ").skip(1) {
        let (arguments, rest) = block.split_once('\n').unwrap();
        let (_, printed) = rest.split_once("```text\n").unwrap();
        let (printed, _) = printed.split_once("```").unwrap();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = Command::new(PROGRAM)
            .arg("permissions")
            .args(&arguments)
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, output, "{arguments:?}");
        blocks += 1;
    }
    assert!(blocks >= 3, "{blocks} generated blocks");
}
