//! Every card of one simulator, in the order of their creation, and the presses that wait for an answer.

use std::collections::HashMap;
use std::sync::Arc;

use super::machine::{Card, CardRefusal};
use super::record::CardView;

/// The cards. Two apps may use the same id for two cards.
#[derive(Default)]
pub(in crate::sim) struct Deck {
    cards: Vec<Card>,
    by_id: HashMap<(Arc<str>, String), usize>,
    /// The card and the place in its presses, by the number of the frame.
    pub(super) presses: HashMap<u64, (usize, usize)>,
}

impl Deck {
    /// Adds a card of `app` whose id is new.
    pub(in crate::sim) fn add(&mut self, app: &Arc<str>, card: Card) -> Result<(), CardRefusal> {
        let key = (Arc::clone(app), card.view().out_track_id.clone());
        if self.by_id.contains_key(&key) {
            return Err(CardRefusal::Param("param.cardAlreadyExist"));
        }
        self.by_id.insert(key, self.cards.len());
        self.cards.push(card);
        Ok(())
    }

    /// The card of `app` with this id.
    pub(in crate::sim) fn card_mut(&mut self, app: &Arc<str>, id: &str) -> Option<&mut Card> {
        let at = self.place(app, id)?;
        self.cards.get_mut(at)
    }

    /// The card with this id, whichever app made it.
    pub(in crate::sim) fn view(&self, id: &str) -> Option<&CardView> {
        self.views().find(|view| view.out_track_id == id)
    }

    /// Every card, oldest first.
    pub(in crate::sim) fn views(&self) -> impl Iterator<Item = &CardView> {
        self.cards.iter().map(Card::view)
    }

    pub(super) fn at(&mut self, place: usize) -> Option<&mut Card> {
        self.cards.get_mut(place)
    }

    pub(super) fn place(&self, app: &Arc<str>, id: &str) -> Option<usize> {
        self.by_id.get(&(Arc::clone(app), id.to_owned())).copied()
    }
}
