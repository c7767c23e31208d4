//! The whole bridge and its parts against real servers on real sockets.

mod api;
mod broker;
mod outbound;
mod sim;
mod sim_sdk;
