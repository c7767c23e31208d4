//! Cards as state machines (oapi.md, section 6): created, delivered, written, finished or failed. It
//! knows neither HTTP nor sockets; the API and the gateway bring what happened.

mod change;
mod deck;
mod machine;
mod press;
mod record;
mod template;
mod watch;

pub(super) use self::change::Change;
pub(super) use self::deck::Deck;
pub(super) use self::machine::{Card, CardRefusal, Draft, Frame};
pub use self::record::{
    CardDelivery, CardFrame, CardParams, CardPressed, CardState, CardUpdate, CardView,
    FrameVerdict, PressAnswer, UpdateSource,
};
pub use self::template::{CardKey, CardTemplate};
