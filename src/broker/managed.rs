//! stub
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ManagedError;
#[derive(Debug)]
pub struct ManagedServer;
