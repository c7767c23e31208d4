//! In which chat each card stands, as far as the bridge put it there: DingTalk often leaves that out
//! when somebody presses a button. Written where cards are shown, read where presses come in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use crate::message::{AccountName, Kind};

/// Cards that are remembered; the longest known one is forgotten first.
const REMEMBERED: usize = 10_000;

/// The chats of cards; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CardChats(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    chats: HashMap<(AccountName, String), (Kind, String)>,
    order: VecDeque<(AccountName, String)>,
}

impl CardChats {
    /// Says where a card stands.
    pub fn set(&self, account: &AccountName, out_track_id: &str, kind: Kind, chat: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (account.clone(), out_track_id.to_owned());
        let place = (kind, chat.to_owned());
        if known.chats.insert(key.clone(), place).is_none() {
            known.order.push_back(key);
        }
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.chats.remove(&oldest);
        }
    }

    /// Where a card stands, if that is known.
    pub fn find(&self, account: &AccountName, out_track_id: &str) -> Option<(Kind, String)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = (account.clone(), out_track_id.to_owned());
        known.chats.get(&key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_where_it_was_put_last_and_the_oldest_is_forgotten() {
        let (cards, sales) = (CardChats::default(), AccountName::parse("sales").unwrap());
        for chat in ["c0", "c1"] {
            cards.set(&sales, "t", Kind::Group, chat);
        }
        assert_eq!(cards.find(&sales, "t"), Some((Kind::Group, "c1".into())));
        let other = AccountName::parse("ops").unwrap();
        assert_eq!(cards.find(&other, "t"), None);
        for n in 0..REMEMBERED {
            cards.set(&sales, &n.to_string(), Kind::User, "u");
        }
        assert_eq!(cards.find(&sales, "t"), None);
        assert!(cards.find(&sales, "0").is_some());
    }
}
