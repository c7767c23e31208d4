//! The whole bridge and its parts against real servers on real sockets.

mod broker;
