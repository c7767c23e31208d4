//! Section `accounts.<name>`: one DingTalk app each.

use std::num::NonZeroU32;
use std::path::PathBuf;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::section::Section;
use super::text;
use super::webhook::{self, WebhookAccount};
use crate::message::Secret;

/// Longest client id and robot code, in bytes.
const MAX_ID: usize = 128;
/// Most memory that one compiled pattern may take, in bytes.
const MAX_PATTERN: usize = 1024 * 1024;

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
    /// What becomes of pictures, files, audio and video that come in; default: fetched.
    pub media: Media,
    /// Template of streamed answers, and of cards that name none; absent: plain messages instead.
    pub card_template: Option<String>,
    /// Variable of that template that is streamed; default `content`.
    pub card_key: String,
    /// Whether a request may mention everybody in a group; default false.
    pub mention_all: bool,
    /// Billed calls in a month; absent: counted and never held back.
    pub quota: Option<NonZeroU32>,
    /// What is let in.
    pub policy: Policy,
}

/// What an account lets in, decided before anything visible or billed.
#[derive(Debug, Clone, Default)]
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

/// What an account is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AccountKind {
    /// A DingTalk app with a robot.
    #[default]
    App,
    /// A custom robot of one group, by its webhook.
    Webhook,
}

/// A checked account of either kind.
pub(super) enum Checked {
    /// A DingTalk app.
    App(Account),
    /// A custom robot.
    Webhook(WebhookAccount),
}

/// What becomes of pictures, files, audio and video that come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// Fetched at once into the object store; the message names the object.
    #[default]
    Fetch,
    /// Left at DingTalk: the message carries the download code.
    Link,
    /// Left at DingTalk, and the download code is left out of the view.
    Off,
}

/// Who may write in 1:1 chats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DirectMessages {
    /// Everybody (whom `allowed_users` lets in).
    #[default]
    All,
    /// Only those named in `allowed_users`, even when the list is empty.
    Allowed,
    /// Nobody.
    None,
}

/// What happens to a message that the policy keeps out. It is acknowledged and counted either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gated {
    /// Nothing more.
    #[default]
    Drop,
    /// Published under `<prefix>.gated.>`.
    Publish,
}

/// One DingTalk app. In the developer console (open-dev.dingtalk.com) every value stands under
/// "Credentials and basic information" of the app.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = super::schema::add_account_aliases)]
pub(super) struct RawAccount {
    /// `app`, or `webhook` for a custom robot of one group, which only sends and needs no app.
    kind: AccountKind,
    /// Client ID, formerly AppKey; alias `app_key`. Required for an app, one account each.
    pub(super) client_id: Option<String>,
    /// Client Secret, formerly AppSecret; alias `app_secret`. This or `client_secret_file` is
    /// required for an app.
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    client_secret: Option<Secret>,
    /// File that holds the Client Secret; alias `app_secret_file`.
    client_secret_file: Option<PathBuf>,
    /// Webhook of a custom robot, access token included: for kind `webhook`, this or
    /// `webhook_url_file` is required.
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(super) webhook_url: Option<Secret>,
    /// File that holds the webhook.
    pub(super) webhook_url_file: Option<PathBuf>,
    /// Key of a custom robot's signature, `SEC…`.
    #[serde(deserialize_with = "text::secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(super) webhook_secret: Option<Secret>,
    /// File that holds the key of the signature.
    pub(super) webhook_secret_file: Option<PathBuf>,
    /// Keywords of a custom robot: a message without any of them is refused before it is sent.
    pub(super) keywords: Vec<String>,
    /// Code of the robot, where it differs from the client id. Default: the client id.
    robot_code: Option<String>,
    /// Stream connections, 1 to 50. Two keep one open while the other is renewed.
    #[schemars(range(min = 1, max = 50))]
    connections: i64,
    /// Whether events (EVENT `*`: members, approvals, calendar and so on) are received.
    events: bool,
    /// Whether messages to people that the robot acts for are received.
    delegate: bool,
    /// Whether the account rests: no connection, no sends.
    pub(super) paused: bool,
    /// Sends per second and API family, at least 1.
    #[schemars(range(min = 1, max = 100_000))]
    rate: i64,
    /// What becomes of pictures, files, audio and video that come in: `fetch` (into the object store
    /// at once), `link` (only the download code is passed on, which expires) or `off`.
    media: Media,
    /// Id of the card template for streamed answers, published on DingTalk's card platform. Without
    /// one, what asks for a card is sent as markdown.
    card_template: Option<String>,
    /// Variable of that template that takes the streamed text.
    card_key: String,
    /// Whether requests may mention everybody in a group.
    pub(super) mention_all: bool,
    /// Billed calls that the account may make in a month, such as 5000; near the limit cards are
    /// merged harder, then reactions and cards dropped, at last only priority `alert` is sent.
    #[schemars(range(min = 1))]
    quota: Option<i64>,
    /// In groups, let in only messages that mention the robot or match `mention_patterns`.
    require_mention: bool,
    /// Groups (openConversationId) where no mention is needed.
    free_response_chats: Vec<String>,
    /// Regular expressions that count as a mention, such as "(?i)^bot\\b".
    mention_patterns: Vec<String>,
    /// staffIds that may speak to the robot; empty: everybody.
    allowed_users: Vec<String>,
    /// Groups (openConversationId) that may; empty: every group.
    allowed_chats: Vec<String>,
    /// Who may write in 1:1 chats: `all`, `allowed` (only `allowed_users`) or `none`.
    direct_messages: DirectMessages,
    /// What happens to what is kept out: `drop`, or `publish` under `<subject_prefix>.gated.>`.
    gated: Gated,
}

impl Default for RawAccount {
    fn default() -> Self {
        Self {
            kind: AccountKind::default(),
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            webhook_url: None,
            webhook_url_file: None,
            webhook_secret: None,
            webhook_secret_file: None,
            keywords: Vec::new(),
            robot_code: None,
            connections: 2,
            events: false,
            delegate: false,
            paused: false,
            rate: 20,
            media: Media::default(),
            card_template: None,
            card_key: "content".to_owned(),
            mention_all: false,
            quota: None,
            require_mention: false,
            free_response_chats: Vec::new(),
            mention_patterns: Vec::new(),
            allowed_users: Vec::new(),
            allowed_chats: Vec::new(),
            direct_messages: DirectMessages::default(),
            gated: Gated::default(),
        }
    }
}

impl RawAccount {
    /// The checked account.
    pub(super) fn check(self, section: &mut Section<'_>) -> Checked {
        match self.kind {
            AccountKind::App => {
                webhook::refuse_in_app(section);
                Checked::App(self.check_app(section))
            }
            AccountKind::Webhook => Checked::Webhook(webhook::check(self, section)),
        }
    }

    fn check_app(self, section: &mut Section<'_>) -> Account {
        let client_id = identifier(section, "client_id", self.client_id).unwrap_or_else(|| {
            section.refuse(
                "client_id",
                "is missing",
                "copy the Client ID (AppKey) of the app from the DingTalk developer console",
            );
            String::new()
        });
        let given = section.is_set("client_secret") || section.is_set("client_secret_file");
        let secret = section.secret("client_secret", self.client_secret, self.client_secret_file);
        if !given {
            section.refuse(
                "client_secret",
                "is missing",
                "copy the Client Secret (AppSecret) of the app from the DingTalk developer console into it, into the file that `client_secret_file` names, or into an environment variable",
            );
        }
        let policy = Policy {
            require_mention: self.require_mention,
            free_response_chats: ids(section, "free_response_chats", self.free_response_chats),
            mention_patterns: patterns(section, &self.mention_patterns),
            allowed_users: ids(section, "allowed_users", self.allowed_users),
            allowed_chats: ids(section, "allowed_chats", self.allowed_chats),
            direct_messages: self.direct_messages,
            gated: self.gated,
        };
        let rate = section.number("rate", self.rate, 1..=100_000_u32);
        let quota = self
            .quota
            .map(|quota| section.number("quota", quota, 1..=u32::MAX));
        let card_key = identifier(section, "card_key", Some(self.card_key)).unwrap_or_default();
        Account {
            robot_code: identifier(section, "robot_code", self.robot_code)
                .unwrap_or_else(|| client_id.clone()),
            client_id,
            client_secret: secret.unwrap_or_else(|| Secret::new("")),
            connections: section.number("connections", self.connections, 1..=50_usize),
            events: self.events,
            delegate: self.delegate,
            paused: self.paused,
            rate: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
            media: self.media,
            card_template: identifier(section, "card_template", self.card_template),
            card_key,
            mention_all: self.mention_all,
            quota: quota.and_then(NonZeroU32::new),
            policy,
        }
    }
}

fn identifier(section: &mut Section<'_>, key: &str, value: Option<String>) -> Option<String> {
    let value = value?.trim().to_owned();
    if value.is_empty() || value.len() > MAX_ID || !value.bytes().all(|b| b.is_ascii_graphic()) {
        section.refuse(
            key,
            format!("must be 1 to {MAX_ID} visible characters without spaces"),
            "copy it again from the DingTalk developer console",
        );
    }
    Some(value)
}

fn ids(section: &mut Section<'_>, key: &str, ids: Vec<String>) -> Vec<String> {
    if ids.iter().any(|id| id.is_empty() || id.trim() != id) {
        section.refuse(
            key,
            "holds an entry that is empty or has spaces around it",
            "give each id exactly as DingTalk does",
        );
    }
    ids
}

fn patterns(section: &mut Section<'_>, patterns: &[String]) -> Vec<Regex> {
    let mut compiled = Vec::with_capacity(patterns.len());
    for (at, pattern) in patterns.iter().enumerate() {
        let regex = RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build();
        match regex {
            Ok(regex) if !pattern.is_empty() => compiled.push(regex),
            Ok(_) => section.refuse(
                "mention_patterns",
                format!("has an empty entry {}, which would match every text", at + 1),
                "remove it; to let every text in, leave `require_mention` off",
            ),
            Err(_) => section.refuse(
                "mention_patterns",
                format!("has an entry {} that is no regular expression, or too large a one", at + 1),
                "check brackets and backslashes; in TOML, single quotes keep backslashes: '\\bbot\\b'",
            ),
        }
    }
    compiled
}
