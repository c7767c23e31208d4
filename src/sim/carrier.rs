//! Delivered cards as a recall sees them: what carries a card into a chat has a key of its own
//! (oapi.md, section 3.2). It knows nothing of what a card holds.

use std::sync::Arc;

use super::state::World;

/// One card in one chat, under its carrier id in [`World::carriers`].
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    /// The app that delivered it.
    pub(super) app: Arc<str>,
    /// The open conversation id, or the staff id in a 1:1 chat.
    pub(super) chat: String,
    /// Whether it was taken back.
    pub(super) recalled: bool,
}

impl World {
    /// The card that went out under this carrier id.
    pub(super) fn carrier_mut(&mut self, carrier_id: &str) -> Option<&mut Carrier> {
        self.carriers.get_mut(carrier_id)
    }
}
