//! The integration tests: one binary, real sockets, no mocks.

mod sim;
mod sim_sdk;
