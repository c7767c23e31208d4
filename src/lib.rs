//! A bridge between DingTalk and NATS JetStream.

pub mod broker;
pub mod config;
pub mod dingtalk;
pub mod inbound;
pub mod message;
pub mod ops;
pub mod sim;
pub mod outbound;
pub mod spool;
pub mod telemetry;
