//! The broker module against a real nats-server that is killed, restarted and filled up.

mod connecting;
mod feeds;
mod keyvalue;
mod managed;
mod managed_recovery;
mod media;
mod media_settles;
mod publishing;
mod streams;
