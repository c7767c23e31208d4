//! What every test needs: a real broker, the simulated DingTalk, the bridge as its own process, and
//! one way to wait.

pub(crate) mod books;
pub(crate) mod bridge;
pub(crate) mod least;
pub(crate) mod nats;
pub(crate) mod orders;
pub(crate) mod sections;
pub(crate) mod signal;
pub(crate) mod wait;
pub(crate) mod world;

use std::path::PathBuf;

/// A file of `tests/frames`, parsed.
pub(crate) fn frame(name: &str) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frames")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
