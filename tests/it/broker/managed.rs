//! Managed server.
