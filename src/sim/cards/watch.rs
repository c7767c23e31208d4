//! Cards for an observer, and how to wait for what they become.

use super::record::{CardState, CardView};
use crate::sim::{Sim, SimError};

impl Sim {
    /// The card with this `outTrackId`, or `cardBizId` of the old API.
    pub fn card(&self, out_track_id: &str) -> Option<CardView> {
        self.shared.world().deck.view(out_track_id).cloned()
    }

    /// Every card, in the order of their creation.
    pub fn cards(&self) -> Vec<CardView> {
        self.shared.world().deck.views().cloned().collect()
    }

    /// Waits until this card is in `state`; returns it.
    ///
    /// # Errors
    /// When it is not there in time.
    pub async fn card_in(
        &self,
        out_track_id: &str,
        state: CardState,
    ) -> Result<CardView, SimError> {
        let what = format!("card `{out_track_id}` to be {state:?}");
        self.card_until(out_track_id, &what, |card| card.state == state)
            .await
    }

    /// Waits until this card `fits`; `what` names it in the error.
    ///
    /// # Errors
    /// When it does not fit in time.
    pub async fn card_until(
        &self,
        out_track_id: &str,
        what: &str,
        mut fits: impl FnMut(&CardView) -> bool,
    ) -> Result<CardView, SimError> {
        self.wait_for(what, |sim| sim.card(out_track_id).filter(|card| fits(card)))
            .await
    }

    /// Waits until `count` cards are in `state`; returns them.
    ///
    /// # Errors
    /// When there are fewer in time.
    pub async fn cards_in(
        &self,
        state: CardState,
        count: usize,
    ) -> Result<Vec<CardView>, SimError> {
        let what = format!("{count} cards to be {state:?}");
        self.wait_for(&what, |sim| {
            let mut cards = sim.cards();
            cards.retain(|card| card.state == state);
            (cards.len() >= count).then_some(cards)
        })
        .await
    }
}
