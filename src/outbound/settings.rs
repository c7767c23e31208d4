//! What the configuration of an account says about the sending of its requests.

use crate::config;

/// The part of an account's section that the outbound side follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether a request may mention everybody in a group.
    pub mention_all: bool,
    /// Template of streamed answers, and of cards that name none.
    pub card_template: Option<String>,
    /// Variable of that template that is streamed.
    pub card_key: String,
    /// Keywords of a custom robot, of which a message must contain one unless there are none; absent
    /// for an app.
    pub custom_robot: Option<Vec<String>>,
}

impl Settings {
    /// Settings that allow whatever any account may be allowed.
    pub(super) const fn lenient() -> Self {
        Self {
            mention_all: true,
            card_template: None,
            card_key: String::new(),
            custom_robot: None,
        }
    }
}

impl From<&config::Account> for Settings {
    fn from(account: &config::Account) -> Self {
        Self {
            mention_all: account.mention_all,
            card_template: account.card_template.clone(),
            card_key: account.card_key.clone(),
            custom_robot: None,
        }
    }
}

impl From<&config::WebhookAccount> for Settings {
    fn from(account: &config::WebhookAccount) -> Self {
        Self {
            mention_all: account.mention_all,
            card_template: None,
            card_key: String::new(),
            custom_robot: Some(account.keywords.clone()),
        }
    }
}
