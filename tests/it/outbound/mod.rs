//! The outbound side against a real nats-server and the simulated DingTalk.

mod astray;
mod backlog;
mod bare;
mod card_holds;
mod cards;
mod faults;
mod many;
mod media;
mod overtaken;
mod requests;
mod sessions;
mod stage;
mod streams;
