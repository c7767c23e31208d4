//! The whole bridge and its parts against real servers on real sockets.

mod api;
mod architecture;
mod bridge;
mod broker;
mod cli;
mod examples;
mod outbound;
mod sim;
mod sim_sdk;
mod stream;
mod support;
