//! Presses of buttons: what a card adds to them, and what their answers do to it (oapi.md, section 6.8).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::change::Change;
use super::deck::Deck;
use super::record::{CardPressed, CardView, PressAnswer, UpdateSource};
use crate::message::Timestamp;
use crate::sim::bot::CardPress;
use crate::sim::ledger::{AckRules, ReadAck};
use crate::sim::state::World;

/// What a client answered to a press.
pub(super) struct Answer<'a> {
    /// How long after the push.
    pub(super) after: Duration,
    /// `code` of the ack.
    pub(super) code: i64,
    /// `data` of the ack.
    pub(super) data: Option<&'a str>,
}

impl CardView {
    /// Whether a press reaches this app: it made the card and asked for callbacks over Stream.
    pub(in crate::sim) fn calls_back(&self, app: &str) -> bool {
        self.app == app && self.callback_type == "STREAM"
    }

    /// The group that a press comes from: the named one, else the first that holds the card. A 1:1
    /// chat has none.
    pub(in crate::sim) fn space_of_press(&self, press: &CardPress) -> String {
        if !press.space_id.is_empty() {
            return press.space_id.clone();
        }
        let mut standing = self.deliveries.iter().filter(|one| one.stands());
        let group = standing.find(|one| one.space_type != "IM_ROBOT");
        group.map(|one| one.space_id.clone()).unwrap_or_default()
    }
}

impl Deck {
    /// Writes a press down before its frame goes out, so that no answer can come earlier.
    pub(in crate::sim) fn pressed(&mut self, app: &Arc<str>, frame: u64, press: &CardPress) {
        let Some(place) = self.place(app, &press.out_track_id) else {
            return;
        };
        let Some(card) = self.at(place) else { return };
        let presses = &mut card.view_mut().presses;
        presses.push(CardPressed {
            at: Timestamp::now(),
            frame,
            user: press.user.clone(),
            action_ids: press.action_ids.clone(),
            answer: PressAnswer::Waiting,
        });
        let nth = presses.len() - 1;
        self.presses.insert(frame, (place, nth));
    }

    /// Applies the first answer to a press when it came `within` the time that DingTalk waits.
    pub(super) fn answered(&mut self, frame: u64, answer: &Answer<'_>, within: Duration) {
        let Some((place, nth)) = self.presses.remove(&frame) else {
            return;
        };
        let Some(card) = self.at(place) else { return };
        let Some(user) = card.view().presses.get(nth).map(|one| one.user.clone()) else {
            return;
        };
        let outcome = if answer.after > within {
            PressAnswer::Late
        } else {
            match read(answer, &user) {
                Ok(change) if change.is_empty() => PressAnswer::Empty,
                Ok(change) => {
                    card.update(change, UpdateSource::Answer);
                    PressAnswer::Applied
                }
                Err(why) => PressAnswer::Invalid { why },
            }
        };
        if let Some(pressed) = card.view_mut().presses.get_mut(nth) {
            pressed.answer = outcome;
        }
    }
}

impl World {
    /// Gives the answer to a press to its card, when it came on a socket that counts.
    pub(in crate::sim) fn answer_press(
        &mut self,
        ack: &ReadAck<'_>,
        rules: &AckRules,
        within: Duration,
    ) {
        let Some(seq) = self.ledger.find(ack.message_id) else {
            return;
        };
        let Some(entry) = self.ledger.entry(seq) else {
            return;
        };
        if ack.link != entry.link && !(rules.any_socket && *entry.app == *ack.app) {
            return;
        }
        let answer = Answer {
            after: entry.pushed.elapsed(),
            code: ack.code,
            data: ack.data,
        };
        self.deck.answered(seq, &answer, within);
    }
}

/// The change inside `{"response":{…}}`; anything else that is JSON changes nothing.
fn read(answer: &Answer<'_>, user: &str) -> Result<Change, String> {
    if answer.code != 200 {
        return Err(format!("code {}", answer.code));
    }
    let Some(data) = answer.data.filter(|data| !data.is_empty()) else {
        return Ok(Change::default());
    };
    let data: Value = serde_json::from_str(data).map_err(|_| "data is not JSON".to_owned())?;
    let Some(response) = data.get("response") else {
        return Ok(Change::default());
    };
    Change::of_answer(response, user).map_err(|refusal| refusal.code().to_owned())
}
