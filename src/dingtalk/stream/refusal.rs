//! What a refused `connections/open` means: one table from answer to wait, park or ban
//! (stream-protocol.md, section 1.3).

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use crate::dingtalk::json::Members;
use crate::message::Secret;
use crate::telemetry::ApiOutcome;

/// Longest part of an answer that is repeated in a reason.
const MAX_EXCERPT: usize = 200;
/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Why no connection was opened, by what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Trying again helps, not before `wait`.
    Retry {
        /// What happened.
        reason: String,
        /// What the server asked for.
        wait: Option<Duration>,
        /// Whether it was asked for too often.
        throttled: bool,
    },
    /// Only somebody who changes a setting helps; the reason says which.
    Park(String),
    /// The address of this machine is banned for five minutes.
    Banned(String),
}

impl Refusal {
    /// A failure that trying again may cure.
    pub(super) fn retry(reason: String) -> Self {
        Self::Retry {
            reason,
            wait: None,
            throttled: false,
        }
    }

    /// What happened, for people.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Retry { reason, .. } | Self::Park(reason) | Self::Banned(reason) => reason,
        }
    }

    /// How the call is counted.
    pub(super) fn outcome(&self) -> ApiOutcome {
        match self {
            Self::Retry { throttled, .. } if *throttled => ApiOutcome::Throttled,
            Self::Retry { .. } => ApiOutcome::Failed,
            Self::Park(_) => ApiOutcome::Refused,
            Self::Banned(_) => ApiOutcome::Throttled,
        }
    }
}

/// `text` with `secret` taken out: a server may repeat what it was sent. To be done before anything
/// is cut, lest a part of it remain.
pub(super) fn without<'a>(text: &'a str, secret: &Secret) -> Cow<'a, str> {
    if secret.is_empty() || !text.contains(secret.expose()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(secret.expose(), "***"))
}

/// What an HTTP answer without a usable ticket means.
pub(super) fn of_answer(status: u16, wait: Option<Duration>, body: &str) -> Refusal {
    let members = Members::read(body.trim_start_matches('\u{feff}'));
    let text = |name| {
        let value = members.as_ref().and_then(|all| all.filled(name));
        value.unwrap_or_default().into_owned()
    };
    let (code, message) = (text("code"), text("message"));
    let banned = members.as_ref().and_then(|all| all.integer("status")) == Some(1111);
    // The page of a ban may be wrapped in markup.
    if banned || body.contains(r#""status":1111"#) {
        return Refusal::Banned(
            "DingTalk bans this machine's address for five minutes (status 1111): too many calls"
                .to_owned(),
        );
    }
    let said = match (code.as_str(), message.as_str()) {
        ("", "") => excerpt(body),
        (code, message) => excerpt(&format!("{code}: {message}")),
    };
    let reason = format!("the gateway answered {status} ({said})");
    let retry = |throttled| Refusal::Retry {
        reason: reason.clone(),
        wait: wait.map(|wait| wait.min(MAX_WAIT)),
        throttled,
    };
    // Pages of proxies and load balancers hold no code; DingTalk's own refusals always do.
    let from_dingtalk = !code.is_empty();
    match status {
        401 => Refusal::Park(format!(
            "{reason}: check Client ID and Client Secret of the app, in the developer console under \
             Credentials and Basic Information"
        )),
        400 if from_dingtalk => Refusal::Park(format!(
            "{reason}: check in the developer console that the app is published, has the robot \
             capability and receives messages in Stream mode"
        )),
        400 => Refusal::retry(format!(
            "{reason}: this is no answer of DingTalk, check dingtalk.api_url and the proxy"
        )),
        403 if is_throttling(&code) => retry(true),
        403 if code.contains("IpNotInWhiteList") => Refusal::Park(format!(
            "{reason}: add this machine's address to the IP whitelist of the app, in the developer \
             console under Security Settings"
        )),
        403 if from_dingtalk => Refusal::Park(format!(
            "{reason}: check the permissions of the app in the developer console"
        )),
        429 => retry(true),
        404 | 405 if from_dingtalk => Refusal::Park(format!("{reason}: check dingtalk.api_url")),
        200 => Refusal::retry(format!(
            "the gateway granted no connection: {}",
            excerpt(body)
        )),
        _ => retry(is_throttling(&code)),
    }
}

/// What a call without an answer means.
pub(super) fn of_network(error: &reqwest::Error) -> Refusal {
    Refusal::retry(format!("the gateway is not reached: {}", chain(error)))
}

/// An error with its sources, as one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

/// The beginning of a text on one line; markup and control characters become spaces.
pub(super) fn excerpt(text: &str) -> String {
    let mut tag = false;
    let visible = text.chars().map(|c| {
        tag = c == '<' || (tag && c != '>');
        if tag || c == '>' || c.is_control() {
            ' '
        } else {
            c
        }
    });
    let visible: String = visible.collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let line = words.join(" ");
    if line.is_empty() {
        return "an empty body".to_owned();
    }
    line.chars().take(MAX_EXCERPT).collect()
}

/// Codes of throttling (QPS before permission: a throttled app is told it is forbidden).
fn is_throttling(code: &str) -> bool {
    ["QpsLimit", "QpmLimit", "Throttling"]
        .iter()
        .any(|mark| code.contains(mark))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn body(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/frames")
            .join(name);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn every_documented_refusal_leads_where_the_reference_says() {
        let unauthorised = of_answer(401, None, &body("142-http-open-response-401.json"));
        assert!(
            matches!(&unauthorised, Refusal::Park(reason) if reason.contains("Client Secret") && reason.contains("authFailed")),
            "{unauthorised:?}"
        );
        let invalid = of_answer(400, None, &body("143-http-open-response-400-param.json"));
        assert!(
            matches!(&invalid, Refusal::Park(reason) if reason.contains("ua invalid") && reason.contains("Stream mode")),
            "{invalid:?}"
        );
        let busy = of_answer(403, None, &body("144-http-open-response-403-qps.json"));
        assert_eq!(busy.outcome(), ApiOutcome::Throttled);
        assert!(matches!(busy, Refusal::Retry { .. }));
        let busy = of_answer(
            429,
            Some(Duration::from_secs(7)),
            &body("145-http-open-response-429-throttling.json"),
        );
        assert!(
            matches!(busy, Refusal::Retry { wait: Some(wait), throttled: true, .. } if wait.as_secs() == 7)
        );
        for status in [200, 403, 429] {
            let ban = of_answer(status, None, &body("146-http-ip-ban-body.json"));
            assert!(matches!(ban, Refusal::Banned(_)), "{status}");
        }
        let page = r#"<html><script>{"status":1111,"wait":5}</script></html>"#;
        assert!(matches!(of_answer(200, None, page), Refusal::Banned(_)));
    }

    #[test]
    fn an_address_outside_the_whitelist_parks_and_a_qpm_limit_does_not() {
        let listed = r#"{"code":"Forbidden.AccessDenied.IpNotInWhiteList","message":"no"}"#;
        assert!(
            matches!(of_answer(403, None, listed), Refusal::Park(reason) if reason.contains("whitelist"))
        );
        let limited = r#"{"code":"Forbidden.AccessDenied.QpmLimitForAppkeyAndApi"}"#;
        assert!(matches!(
            of_answer(403, None, limited),
            Refusal::Retry { .. }
        ));
    }

    #[test]
    fn pages_of_proxies_are_tried_again_and_quoted_without_markup() {
        let html = "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>";
        let refusal = of_answer(400, None, html);
        assert!(matches!(refusal, Refusal::Retry { .. }));
        assert!(
            refusal
                .reason()
                .contains("(400 The plain HTTP request was sent to HTTPS port)"),
            "{refusal:?}"
        );
        for (status, body) in [
            (403, "<h1>Blocked</h1>"),
            (500, ""),
            (503, "<x/>"),
            (408, "{}"),
            (404, "nope"),
            (302, ""),
        ] {
            let refusal = of_answer(status, None, body);
            assert!(
                matches!(refusal, Refusal::Retry { .. }),
                "{status}: {refusal:?}"
            );
        }
        assert!(of_answer(500, None, "").reason().contains("an empty body"));
    }

    #[test]
    fn a_server_cannot_ask_for_an_endless_wait() {
        let refusal = of_answer(503, Some(Duration::from_secs(86_400)), "");
        assert!(matches!(refusal, Refusal::Retry { wait: Some(wait), .. } if wait == MAX_WAIT));
    }

    #[test]
    fn a_long_answer_is_cut() {
        assert!(of_answer(500, None, &"x".repeat(9000)).reason().len() < 300);
    }
}
