//! What a failed call tells its caller, without secrets. It knows no code of DingTalk's.

use std::time::Duration;

use thiserror::Error;

/// Longest code that is passed on, in characters.
const MAX_CODE: usize = 96;
/// Longest text that is passed on, in characters.
const MAX_TEXT: usize = 300;
/// What stands where a secret was.
const MASK: &str = "***";
/// Names whose values are secrets wherever DingTalk quotes a request.
const SECRET_NAMES: [&str; 6] = [
    "access_token",
    "access-token",
    "accesstoken",
    "appsecret",
    "client_secret",
    "session",
];

/// Why a call did not send.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// What the caller can do.
    pub class: ErrorClass,
    /// DingTalk's code, or one of the bridge's (`timeout`, `connect`, `http-502`, …).
    pub code: String,
    /// DingTalk's words, cut to a sane length, secrets removed.
    pub message: String,
    /// What cures it: console page, permission, setting.
    pub cure: Option<String>,
}

impl ApiError {
    /// No answer within the caller's own time: it may have been processed.
    pub fn late() -> Self {
        Self {
            class: ErrorClass::Ambiguous,
            code: "timeout".to_owned(),
            message: "no answer in time".to_owned(),
            cure: None,
        }
    }
}

/// What the caller can do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It was not processed: send again after this long (never shorter; add jitter and growth).
    RetryAfter(Duration),
    /// It may have been processed: never send again.
    Ambiguous,
    /// It never will be: give the request up.
    Permanent,
    /// The session webhook is of no use any more: take the Open API, or give up.
    WebhookGone,
    /// Nothing of this account will be, until somebody acts: hold the account and try after this long.
    Park(Duration),
    /// The quota of the month is used up: nothing that is billed will be, until the month turns after
    /// this long (oapi.md, section 9.4).
    Quota(Duration),
}

impl ErrorClass {
    /// Whether a call that failed so may count against the monthly quota: throttled, unreachable
    /// and parked ones do not (oapi.md, section 9.4).
    pub fn billed(self) -> bool {
        match self {
            Self::Ambiguous | Self::Permanent | Self::WebhookGone => true,
            Self::RetryAfter(_) | Self::Park(_) | Self::Quota(_) => false,
        }
    }
}

impl ApiError {
    /// Removes `secrets` and whatever looks like one from every text, then cuts the texts.
    pub(super) fn scrubbed(mut self, secrets: &[&str]) -> Self {
        self.code = cut(scrub(self.code, secrets), MAX_CODE);
        self.message = cut(scrub(self.message, secrets), MAX_TEXT);
        self.cure = self.cure.map(|cure| cut(scrub(cure, secrets), MAX_TEXT));
        self
    }
}

fn scrub(mut text: String, secrets: &[&str]) -> String {
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        if text.contains(secret) {
            text = text.replace(secret, MASK);
        }
    }
    mask_named(&text)
}

/// Masks the values in `name=value`, `name: value` and `"name":"value"`, so that a token or session
/// of which the bridge does not know is not passed on either.
fn mask_named(text: &str) -> String {
    // ASCII lower-casing keeps every offset.
    let lower = text.to_ascii_lowercase();
    let ends = |name: &str| -> Vec<usize> {
        let hits = lower.match_indices(name);
        hits.map(|(at, name)| at + name.len()).collect()
    };
    let mut ends: Vec<usize> = SECRET_NAMES.iter().flat_map(|name| ends(name)).collect();
    ends.sort_unstable();
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in ends.into_iter().filter_map(|end| value_after(&lower, end)) {
        if start >= from {
            masked.push_str(text.get(from..start).unwrap_or_default());
            masked.push_str(MASK);
            from = end;
        }
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
}

/// Where the value of a name that ends at `after` begins and ends.
fn value_after(text: &str, after: usize) -> Option<(usize, usize)> {
    let quoted = text.get(after..)?.trim_start_matches(['"', '\\']);
    let sign = quoted.trim_start().strip_prefix(['=', ':'])?;
    let value = sign.trim_start_matches(['"', '\\', ' ']);
    let start = text.len() - value.len();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.+/=%$".contains(c);
    let length = value.find(|c| !is_part(c)).unwrap_or(value.len());
    (length > 0).then_some((start, start + length))
}

fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str) -> ApiError {
        ApiError {
            class: ErrorClass::Permanent,
            code: message.to_owned(),
            message: message.to_owned(),
            cure: Some(message.to_owned()),
        }
    }

    #[test]
    fn secrets_leave_every_text_before_it_is_cut() {
        let long = format!("{}CANARY-TOKEN tail", "x".repeat(MAX_TEXT - 6));
        let error = error(&long).scrubbed(&["CANARY-TOKEN", ""]);
        let shown = format!("{error:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.contains(MASK), "{shown}");
    }

    #[test]
    fn named_values_are_masked_in_every_notation() {
        for text in [
            "https://oapi.dingtalk.com/robot/sendBySession?session=CANARY&x=1",
            r#"{"accessToken":"CANARY","a":1}"#,
            r#"{\"access_token\":\"CANARY\"}"#,
            "X-Acs-Dingtalk-Access-Token: CANARY",
            "appSecret = CANARY",
            "session expired, session=CANARY",
            "access_token=abc access_token=CANARY",
        ] {
            let masked = mask_named(text);
            assert!(!masked.contains("CANARY"), "{masked}");
            assert!(masked.contains(MASK), "{masked}");
        }
    }

    #[test]
    fn ordinary_texts_stay_as_they_are() {
        for text in [
            "session 不存在",
            "不合法的access_token",
            "token is not exist",
            "",
        ] {
            assert_eq!(mask_named(text), text);
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let error = error(&"错".repeat(5000)).scrubbed(&[]);
        assert_eq!(error.message.chars().count(), MAX_TEXT + 1);
        assert_eq!(error.code.chars().count(), MAX_CODE + 1);
    }
}
