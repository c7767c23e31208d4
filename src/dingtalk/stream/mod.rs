//! Stream Mode: endpoint, session, frame. It reads frames and writes acknowledgements; what a frame
//! means and where it goes is not decided here.
//!
//! [`Link::run`] drives the slots of an account; a slot opens connections and replaces them before
//! they end; a session is one connection.

mod answer;
mod aside;
mod backoff;
mod connect;
mod delivery;
mod documented;
mod ending;
mod endpoint;
mod frame;
mod link;
mod probe;
mod pulse;
mod refusal;
mod session;
mod slot;
mod standing;
mod upgrade;
mod write;

pub use aside::Aside;
pub use delivery::{Ack, AckTicket, Delivery, LinkChange, LinkEvent};
pub use frame::{Frame, FrameType};
pub use link::{Link, LinkConfig, Timings};
pub use probe::{clock_skew, probe};

#[cfg(test)]
mod tests;
