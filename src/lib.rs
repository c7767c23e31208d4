//! A bridge between DingTalk (Stream Mode, Open API) and NATS JetStream.
//!
//! ```text
//! inbound   dingtalk::stream ──frame──▶ inbound (admit · dedup · route) ──▶ broker ──PubAck──▶ ack on the source socket
//!                                               └── soft budget passed ──▶ spool ──▶ ack; drained to the broker later
//! outbound  broker ──request──▶ outbound (resolve · order · pace · send) ──▶ dingtalk::api ──▶ receipt ──▶ JetStream ack
//!                                               └── given up ──▶ dead letter with the reason
//! ```
//!
//! Modules in reading order: [`message`] is the language, [`config`] and [`telemetry`] are leaves beside it;
//! [`broker`], [`dingtalk`] and [`spool`] are adapters that never meet; [`inbound`] and [`outbound`] are peers that
//! never meet either; [`fleet`] is what replicas share, [`verbs`] answers questions; [`ops`] runs, [`bridge`] composes, [`cli`] is what a person types, [`sim`] is a DingTalk to
//! try all of it against.
//!
//! Words: an *account* is one DingTalk app, a *link* its Stream connections, a *session* one of them, a *frame*
//! what comes in on it, an *ack* the answer to it; a *request* is what a service wants sent, a *lane* the order of
//! one chat, a *receipt* what became of a request, a *dead letter* what was given up; the *spool* holds what the
//! broker could not take yet; a *replica* is one of several bridges on one configuration.

#[macro_use]
mod failpoint;

pub mod bridge;
pub mod broker;
pub mod cli;
pub mod config;
pub mod dingtalk;
pub mod fleet;
pub mod inbound;
pub mod message;
pub mod ops;
pub mod outbound;
pub mod sim;
pub mod spool;
pub mod telemetry;
pub mod verbs;
