//! All of DingTalk: Stream Mode, Open API and the shapes of its payloads. It knows no NATS.

pub mod api;
pub mod json;
pub mod net;
pub mod payload;
pub mod stream;
