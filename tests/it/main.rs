//! The integration tests: one binary, real sockets, no mocks.

mod api;
mod sim;
mod sim_sdk;
