//! An account of `kind = "webhook"`: a custom robot in one group, which needs no app
//! (oapi.md, section 4.3).

use reqwest::Url;

use super::account::RawAccount;
use super::section::Section;
use crate::message::Secret;

/// Most keywords of a robot (oapi.md, section 4.3).
const MAX_KEYWORDS: usize = 10;
/// Keys that belong to an app only.
const OF_APPS: [&str; 20] = [
    "client_id",
    "client_secret",
    "client_secret_file",
    "robot_code",
    "connections",
    "events",
    "delegate",
    "rate",
    "media",
    "card_template",
    "card_key",
    "quota",
    "require_mention",
    "free_response_chats",
    "mention_patterns",
    "allowed_users",
    "allowed_chats",
    "direct_messages",
    "gated",
    "app_key",
];
/// Keys that belong to a webhook only.
const OF_WEBHOOKS: [&str; 5] = [
    "webhook_url",
    "webhook_url_file",
    "webhook_secret",
    "webhook_secret_file",
    "keywords",
];

/// A custom robot in one group. It only sends: nothing comes in from it.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookAccount {
    /// Its webhook, access token included.
    pub url: Secret,
    /// Key of its signature, where its security setting is a signature.
    pub secret: Option<Secret>,
    /// Words of which a message must contain one, where its security setting is keywords.
    pub keywords: Vec<String>,
    /// Whether the account is at rest: no sends; default false.
    pub paused: bool,
    /// Whether a request may mention everybody in the group; default false.
    pub mention_all: bool,
}

/// The checked webhook.
pub(super) fn check(raw: RawAccount, section: &mut Section<'_>) -> WebhookAccount {
    let given: Vec<&str> = OF_APPS
        .into_iter()
        .filter(|key| section.is_set(key))
        .collect();
    for key in given {
        section.refuse(
            key,
            "belongs to an app, and this account is of kind `webhook`",
            "remove it, or remove `kind` to make the account an app",
        );
    }
    let given = section.is_set("webhook_url") || section.is_set("webhook_url_file");
    if !given {
        section.refuse(
            "webhook_url",
            "is missing",
            "copy the webhook of the robot from the group's settings into it or into the file that `webhook_url_file` names",
        );
    }
    let url = section.secret("webhook_url", raw.webhook_url, raw.webhook_url_file);
    let fault = url.as_ref().and_then(|url| fault(url.expose()));
    if let Some(fault) = fault {
        section.refuse(
            "webhook_url",
            fault,
            "copy the whole webhook from the robot's settings: https://oapi.dingtalk.com/robot/send?access_token=…",
        );
    }
    let secret = section.secret(
        "webhook_secret",
        raw.webhook_secret,
        raw.webhook_secret_file,
    );
    let blank = |word: &String| word.trim().is_empty();
    if raw.keywords.len() > MAX_KEYWORDS || raw.keywords.iter().any(blank) {
        section.refuse(
            "keywords",
            format!("must be at most {MAX_KEYWORDS} words, none of them empty"),
            "copy them from the robot's security settings",
        );
    }
    WebhookAccount {
        url: url.unwrap_or_else(|| Secret::new("")),
        secret,
        keywords: raw.keywords,
        paused: raw.paused,
        mention_all: raw.mention_all,
    }
}

/// Refuses the keys of a webhook in an app.
pub(super) fn refuse_in_app(section: &mut Section<'_>) {
    let given: Vec<&str> = OF_WEBHOOKS
        .into_iter()
        .filter(|key| section.is_set(key))
        .collect();
    for key in given {
        section.refuse(
            key,
            "belongs to an account of kind `webhook`, and this one is an app",
            "add kind = \"webhook\", or remove it",
        );
    }
}

/// What is wrong with a webhook, without quoting it.
fn fault(url: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(url.trim()) else {
        return Some("is not a URL");
    };
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
        return Some("is not an https URL with a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user or password");
    }
    let token = url
        .query_pairs()
        .any(|(name, value)| name == "access_token" && !value.is_empty());
    (!token).then_some("has no access_token")
}
