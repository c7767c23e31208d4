//! The whole bridge and its parts against real servers on real sockets.

mod broker;
mod cli;
mod sim;
mod sim_sdk;
mod support;
