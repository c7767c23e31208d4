//! Hostile input through the front door: what DingTalk, a service or a stranger with a broker login
//! could send to break the bridge, and what comes of it.

mod admin;
mod answers;
mod detours;
mod headers;
mod permissions;
mod values;

use crate::support::bridge::Bridge;

/// Topic of bot messages.
const BOT: &str = "/v1.0/im/bot/messages/get";

/// Resident memory of the bridge, in MiB.
fn resident(bridge: &Bridge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() / 1024
}
