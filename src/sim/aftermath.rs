//! What becomes of a message after it was sent: people read it, its robot takes it back, reacts to
//! one, and a month ends (oapi.md, sections 3, 7 and 9.4). It knows no HTTP.

use serde::Serialize;

use super::record::Sent;
use super::state::World;
use super::{Sim, SimError};
use crate::message::Timestamp;

/// A reaction of a robot on somebody's message.
#[derive(Debug, Clone, Serialize)]
pub struct Emotion {
    /// When it was set.
    pub at: Timestamp,
    /// The app whose robot reacted.
    pub app: String,
    /// `openMsgId`: the message.
    pub msg_id: String,
    /// `openConversationId`.
    pub chat: String,
    /// `emotionName`.
    pub name: String,
    /// `textEmotion.text`; the name when there is none.
    pub text: String,
    /// When it was taken back.
    pub recalled_at: Option<Timestamp>,
}

impl Emotion {
    /// Whether both are the same reaction of the same robot on the same message.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.app, &self.msg_id, &self.chat) == (&other.app, &other.msg_id, &other.chat)
            && (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl World {
    /// The delivered send with this key.
    pub(super) fn sent_under(&mut self, key: &str) -> Option<&mut Sent> {
        let mut latest_first = self.sent.iter_mut().rev();
        latest_first.find(|sent| sent.delivered() && sent.process_query_key.as_deref() == Some(key))
    }

    /// Sets a reaction; the same one twice is one.
    pub(super) fn react(&mut self, emotion: Emotion, keep: usize) {
        let mut shown = self
            .emotions
            .iter()
            .filter(|each| each.recalled_at.is_none());
        if shown.any(|each| each.is_same(&emotion)) {
            return;
        }
        if self.emotions.len() >= keep {
            self.emotions.pop_front();
        }
        self.emotions.push_back(emotion);
    }

    /// Takes a reaction back; false when it is not there.
    pub(super) fn unreact(&mut self, emotion: &Emotion) -> bool {
        let mut shown = self
            .emotions
            .iter_mut()
            .filter(|each| each.recalled_at.is_none());
        match shown.find(|each| each.is_same(emotion)) {
            Some(shown) => {
                shown.recalled_at = Some(emotion.at);
                true
            }
            None => false,
        }
    }

    /// Somebody reads a message.
    pub(super) fn read(&mut self, key: &str, user: &str) -> Result<(), SimError> {
        let sent = self.sent_under(key);
        let sent = sent.ok_or_else(|| SimError::Unknown(key.to_owned()))?;
        if !sent.read_by.iter().any(|reader| reader == user) {
            sent.read_by.push(user.to_owned());
        }
        Ok(())
    }

    /// A new month: nothing is billed yet.
    pub(super) fn turn_month(&mut self) {
        for app in self.apps.values_mut() {
            app.billed = 0;
            app.webhook_billed = 0;
        }
    }
}

impl Sim {
    /// The sends that people can still see, in order: delivered and not recalled.
    pub fn visible(&self) -> Vec<Sent> {
        let mut sent = self.sent();
        sent.retain(Sent::visible);
        sent
    }

    /// `user` reads the message with this processQueryKey.
    ///
    /// # Errors
    /// When nothing was delivered under this key.
    pub fn read(&self, key: &str, user: &str) -> Result<(), SimError> {
        let done = self.shared.world().read(key, user);
        self.shared.notify();
        done
    }

    /// Every reaction, recalled ones included, in order.
    pub fn emotions(&self) -> Vec<Emotion> {
        self.shared.world().emotions.iter().cloned().collect()
    }

    /// How many calls of the app count against this month's quota; 0 for an unknown one.
    pub fn billed(&self, app: &str) -> u32 {
        let world = self.shared.world();
        world.apps.get(app).map_or(0, |app| app.billed)
    }

    /// How many posts to session webhooks the app has made this month; 0 for an unknown one.
    pub fn webhook_billed(&self, app: &str) -> u32 {
        let world = self.shared.world();
        world.apps.get(app).map_or(0, |app| app.webhook_billed)
    }

    /// Begins a new month: the quota of every app is whole again.
    pub fn turn_month(&self) {
        self.shared.world().turn_month();
    }

    /// Gives this user a unionId.
    pub fn set_union_id(&self, union_id: impl Into<String>, user: impl Into<String>) {
        let mut world = self.shared.world();
        world.union_ids.insert(union_id.into(), user.into());
    }
}
