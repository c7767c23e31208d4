//! The broker module against a real nats-server that is killed, restarted and filled up.

mod connecting;
mod feeds;
mod keyvalue;
mod managed;
mod media;
mod publishing;
mod streams;
