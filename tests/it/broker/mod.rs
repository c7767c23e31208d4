//! The broker module against a real nats-server that is killed, restarted and filled up.

mod connecting;
mod feeds;
mod keyvalue;
mod managed;
pub(crate) mod nats;
mod publishing;
mod streams;
