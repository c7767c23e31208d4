//! The gateway: takes WebSockets, pushes frames, reads acks, redelivers. It knows no API.

mod accept;
mod link;
mod payload;
mod push;
mod redelivery;
mod session;
mod wire;

pub(super) use accept::serve;
pub(super) use link::{Link, LinkMode, Out};
pub use payload::{BOT_TOPIC, CARD_TOPIC};
pub(super) use payload::{Envelope, Payload, RetryTable, Template, burst_msg_id};
pub(super) use push::{Aim, Turn, raw_text};
pub(super) use redelivery::{Due, Task, run};
pub(super) use wire::{Opcode, put_fragmented, put_frame};
