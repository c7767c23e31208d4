//! Section `accounts.<name>`: one DingTalk app each.

use std::num::NonZeroU32;

use regex::Regex;

use crate::message::Secret;

/// One DingTalk app.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Client ID (AppKey), unique over all accounts.
    pub client_id: String,
    /// Client secret (AppSecret).
    pub client_secret: Secret,
    /// Code of the robot; default: the client id.
    pub robot_code: String,
    /// Stream connections, 1 to 50; default 2.
    pub connections: usize,
    /// Whether EVENT `*` is subscribed; default false.
    pub events: bool,
    /// Whether messages to people that the robot acts for are subscribed; default false.
    pub delegate: bool,
    /// Whether the account is at rest: no connection, no sends; default false.
    pub paused: bool,
    /// Sends per second and API family; default 20.
    pub rate: NonZeroU32,
    /// What is let in.
    pub policy: Policy,
}

/// What an account lets in, decided before anything visible or billed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// In groups, only messages that mention the robot or match a pattern; default false.
    pub require_mention: bool,
    /// Groups (openConversationId) where no mention is needed.
    pub free_response_chats: Vec<String>,
    /// Texts that count as a mention.
    pub mention_patterns: Vec<Regex>,
    /// staffIds that may speak to the robot; empty: everybody.
    pub allowed_users: Vec<String>,
    /// Groups (openConversationId) that may; empty: every group.
    pub allowed_chats: Vec<String>,
    /// Who may write in 1:1 chats; default: everybody.
    pub direct_messages: DirectMessages,
    /// What happens to what is kept out; default: dropped.
    pub gated: Gated,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let patterns = |policy: &Self| -> Vec<String> {
            policy
                .mention_patterns
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        self.require_mention == other.require_mention
            && self.free_response_chats == other.free_response_chats
            && patterns(self) == patterns(other)
            && self.allowed_users == other.allowed_users
            && self.allowed_chats == other.allowed_chats
            && self.direct_messages == other.direct_messages
            && self.gated == other.gated
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            require_mention: false,
            free_response_chats: Vec::new(),
            mention_patterns: Vec::new(),
            allowed_users: Vec::new(),
            allowed_chats: Vec::new(),
            direct_messages: DirectMessages::All,
            gated: Gated::Drop,
        }
    }
}

/// Who may write in 1:1 chats.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DirectMessages {
    /// Everybody (whom `allowed_users` lets in).
    All,
    /// Only those named in `allowed_users`, even when the list is empty.
    Allowed,
    /// Nobody.
    None,
}

/// What happens to a message that the policy keeps out. It is acknowledged and counted either way.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Gated {
    /// Nothing more.
    Drop,
    /// Published under `<prefix>.gated.>`.
    Publish,
}
