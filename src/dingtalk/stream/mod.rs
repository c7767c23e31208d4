//! Stream Mode: endpoint, session, frame. It reads frames and writes acknowledgements; what a frame
//! means and where it goes is not decided here.

mod delivery;
mod frame;

pub use delivery::{Ack, AckTicket, Delivery, LinkChange, LinkEvent};
pub use frame::{Frame, FrameType};
