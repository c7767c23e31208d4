//! Running the bridge: signals, the two-stage stop, admin HTTP. It knows no DingTalk and no NATS.

mod admin;
mod doorman;
mod ready;
mod signals;
mod stop;

pub use admin::{Admin, AdminError};
pub use signals::{Signal, Signals};
pub use stop::Stop;
