//! A bridge between DingTalk and NATS JetStream.

pub mod broker;
pub mod config;
pub mod dingtalk;
pub mod message;
pub mod sim;
pub mod spool;
pub mod telemetry;
