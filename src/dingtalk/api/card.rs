//! Interactive cards: creating, delivering, updating and streaming them (oapi.md, section 6).

use std::collections::BTreeMap;

use super::failure::ApiError;
use super::{Api, errors};

/// Where a card is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardSpace {
    /// A group, by openConversationId.
    Group(String),
    /// The 1:1 chat of a person with the robot, by staffId.
    User(String),
}

/// Whom a delivered card mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardMentions {
    /// staffId to the name that is shown.
    pub users: BTreeMap<String, String>,
    /// Everybody in the group.
    pub all: bool,
}

/// A card to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardDraft {
    /// The caller's id of it; at most 64 characters.
    pub out_track_id: String,
    /// Template id.
    pub template: String,
    /// Public parameters.
    pub params: BTreeMap<String, String>,
    /// Parameters that one user alone sees, by staffId.
    pub private: BTreeMap<String, BTreeMap<String, String>>,
    /// Where it is delivered.
    pub space: CardSpace,
    /// Whom it mentions; in groups only.
    pub mentions: CardMentions,
    /// What the chat list shows.
    pub summary: Option<String>,
}

/// One frame of a streamed variable: always the full text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFrame {
    /// Card.
    pub out_track_id: String,
    /// DingTalk's idempotency key: the same for a repetition, a new one after a refusal.
    pub guid: String,
    /// Variable of the template.
    pub key: String,
    /// Full text.
    pub content: String,
    /// What the frame does to the card.
    pub end: FrameEnd,
}

/// What a frame does to its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEnd {
    /// The stream goes on.
    Open,
    /// The card is finished (`isFinalize`).
    Finished,
    /// The card failed (`isError`).
    Failed,
}

/// What became of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The card is new.
    New,
    /// DingTalk had it already (`param.cardAlreadyExist`): an earlier try went through.
    Existing,
}

impl Api {
    /// Creates a card without showing it. Repeating it under the same outTrackId is harmless.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn create_card(&self, draft: &CardDraft) -> Result<Created, ApiError> {
        let _ = draft;
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Shows a created card in its space; its carrierId, which recalls it.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn deliver_card(&self, draft: &CardDraft) -> Result<Option<String>, ApiError> {
        let _ = draft;
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Changes the named parameters of a card. Repeating it is harmless.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn update_card(
        &self,
        out_track_id: &str,
        params: &BTreeMap<String, String>,
        private: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<(), ApiError> {
        let _ = (out_track_id, params, private);
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Streams one frame. Repeating it under the same guid is harmless.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn stream_card(&self, frame: &CardFrame) -> Result<(), ApiError> {
        let _ = frame;
        std::future::ready(Err(errors::mismatch())).await
    }
}
