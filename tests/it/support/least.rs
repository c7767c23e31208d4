//! The bridge of every test logs in as the user that `nats-dingtalk permissions --role bridge` prints, and
//! has no right beyond: what it lacks fails the test that needs it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::bridge::PROGRAM;

/// Name of the user, which is in the name of its inboxes too.
pub(crate) const USER: &str = "bridge";
/// Its password.
pub(crate) const PASSWORD: &str = "least-of-all";

/// The part of a broker's configuration with this user; whoever gives no name may do everything. What
/// the broker refuses goes into `log`.
pub(crate) fn users(log: &Path) -> String {
    static BLOCK: OnceLock<String> = OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        let output = Command::new(PROGRAM)
            .args(["permissions", "--role", "bridge"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.replace("$BRIDGE_PASSWORD", &format!("{PASSWORD:?}"))
            .replacen(
                "users: [",
                "users: [\n    { user: anybody, password: anybody }",
                1,
            )
    });
    format!("no_auth_user: anybody\nlog_file: {log:?}\n{block}")
}

/// The login of a bridge as lines of its `[nats]` section; none where it has another, or another
/// prefix than the one that the rights are for.
pub(crate) fn login(url: &str, keys: &str) -> String {
    let own = ["user", "token", "nkey", "creds", "prefix"];
    let otherwise = own.iter().any(|key| keys.contains(key)) || url.contains('@');
    match cfg!(test) && !otherwise {
        true => format!("user = {USER:?}\npassword = {PASSWORD:?}\n"),
        false => String::new(),
    }
}
