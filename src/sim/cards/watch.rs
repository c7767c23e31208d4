//! Cards for an observer, and how to wait for what they become.

use super::record::{CardState, CardView};
use crate::sim::state::World;
use crate::sim::{Sim, SimError};

impl World {
    /// The card with this id as it stands now, recalls included.
    pub(in crate::sim) fn card(&self, out_track_id: &str) -> Option<CardView> {
        let card = self.deck.view(out_track_id)?;
        Some(self.with_recalls(card))
    }

    /// Every card as it stands now, oldest first.
    pub(in crate::sim) fn cards(&self) -> Vec<CardView> {
        let cards = self.deck.views();
        cards.map(|card| self.with_recalls(card)).collect()
    }

    fn with_recalls(&self, card: &CardView) -> CardView {
        let mut card = card.clone();
        for delivery in &mut card.deliveries {
            let carrier = delivery.carrier_id.as_deref();
            let carrier = carrier.and_then(|id| self.carriers.get(id));
            delivery.recalled = carrier.is_some_and(|carrier| carrier.recalled);
        }
        card
    }
}

impl Sim {
    /// The card with this `outTrackId`, or `cardBizId` of the old API.
    pub fn card(&self, out_track_id: &str) -> Option<CardView> {
        self.shared.world().card(out_track_id)
    }

    /// Every card, in the order of their creation.
    pub fn cards(&self) -> Vec<CardView> {
        self.shared.world().cards()
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::message::Timestamp;
    use crate::sim::SimOptions;
    use crate::sim::cards::{Card, CardDelivery, CardParams, Draft};
    use crate::sim::carrier::Carrier;

    #[tokio::test]
    async fn a_card_whose_carrier_was_recalled_stands_nowhere() {
        let sim = Sim::start(SimOptions::default()).await.unwrap();
        let app: Arc<str> = Arc::from("ding");
        let mut card = Card::new(Draft {
            app: Arc::clone(&app),
            out_track_id: "c1".to_owned(),
            template_id: "t.schema".to_owned(),
            template: None,
            callback_type: String::new(),
            user_id_type: 1,
            spaces: BTreeSet::new(),
            params: CardParams::new(),
            private_data: BTreeMap::new(),
        });
        card.deliver(CardDelivery {
            at: Timestamp::now(),
            space_type: "IM_GROUP".to_owned(),
            space_id: "cidA==".to_owned(),
            at_users: Vec::new(),
            recipients: Vec::new(),
            carrier_id: Some("carrier".to_owned()),
            error: None,
            recalled: false,
        });
        let mut carrier = Carrier {
            app: Arc::clone(&app),
            chat: "cidA==".to_owned(),
            recalled: false,
        };
        {
            let mut world = sim.shared.world();
            world.deck.add(&app, card).unwrap();
            world.carriers.insert("carrier".to_owned(), carrier.clone());
        }
        let standing = sim.card("c1").unwrap();
        assert_eq!(standing.chats().collect::<Vec<_>>(), ["cidA=="]);
        carrier.recalled = true;
        let mut world = sim.shared.world();
        world.carriers.insert("carrier".to_owned(), carrier);
        drop(world);
        let recalled = sim.card("c1").unwrap();
        assert!(recalled.deliveries[0].recalled);
        assert_eq!(recalled.chats().count(), 0);
    }
}
