//! The command line as clap reads it.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("nats-dingtalk").chain(line.split(' ')))
}

#[test]
fn the_commands_are_defined_without_contradictions() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_and_every_argument_says_what_it_is() {
    let cli = Cli::command();
    let inner = cli
        .get_subcommands()
        .flat_map(clap::Command::get_subcommands);
    for command in cli.get_subcommands().chain(inner) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            let named = format!("{} {}", command.get_name(), argument.get_id());
            assert!(argument.get_help().is_some(), "{named}");
        }
    }
}

#[test]
fn good_lines_are_taken() {
    for line in [
        "run",
        "run -c bridge.toml --admin-listen 127.0.0.1:0 --log-format json",
        "send sales user:manager1 hello",
        "send sales group:cid6KeB+/oA== --markdown --title Build -",
        "send sales user:manager1 paid --id order-42 --timeout 5s --json --nats-url nats://b:4222",
        "send sales user:manager1 --file report.pdf",
        "send sales user:manager1 --file a.png --as file --name shown.png",
        "media ls",
        "media ls sales/ --json",
        "media get sales/ding:msg==/1 -o -",
        "media put report.pdf --key reports/1 --name shown.pdf -c bridge.toml",
        "tail",
        "tail --since 1h --chat cid6KeB+/oA== --no-follow -n 5",
        "tail --from-seq 7 --account sales --json -c bridge.toml",
        "check",
        "demo --stay --nats-server /usr/local/bin/nats-server",
        "check --nats-url nats://b:4222 -c bridge.toml",
        "sim --app dingabc:made-up --calls-per-second 0",
        "schema",
        "schema --write schemas",
        "completions zsh",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn wrong_lines_are_refused_with_what_to_write_instead() {
    for (line, cure) in [
        ("send sales manager1 hello", "user:<staffId>"),
        ("send sales user:cid6KeBBLoveMJOGXo== hello", "group:"),
        ("send s.ales user:a hello", "a-z"),
        ("send sales user:a hello --title x", "--markdown"),
        ("send sales user:a hello --timeout soon", "30s"),
        (
            "send sales user:a hello --file a.pdf",
            "cannot be used with",
        ),
        ("send sales user:a --file a.pdf --as picture", "image"),
        ("send sales user:a hello --as image", "cannot be used with"),
        ("send sales user:a --name x.pdf", "--file"),
        ("tail --since yesterday", "2h"),
        ("tail --since 1h --from-seq 3", "cannot be used with"),
        ("sim --app dingabc", "ID:SECRET"),
        ("completions perl", "bash"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.use_stderr());
        assert!(error.to_string().contains(cure), "{line}: {error}");
    }
}
