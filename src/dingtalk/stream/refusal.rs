//! What a refused `connections/open` means: one table from answer to wait, park or ban
//! (stream-protocol.md, section 1.3).

use std::borrow::Cow;
use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use super::endpoint::encode;
use crate::dingtalk::json::Members;
use crate::message::Secret;
use crate::telemetry::ApiOutcome;

/// Longest part of an answer that is repeated in a reason.
const MAX_EXCERPT: usize = 200;
/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// What stands in the place of a secret.
const MASK: &str = "***";
/// What stands between the name of a value and the value, in queries, JSON and markup.
const GAP: [char; 9] = ['=', ':', '>', '"', '\'', '\\', ' ', '\n', '\t'];
/// The same in an address inside another one.
const ENCODED_GAP: [&str; 5] = ["%3D", "%3d", "%3A", "%3a", "%22"];
/// Ends of a value without quotes.
const ENDS: [char; 11] = ['"', '\'', '&', '<', '>', ',', ';', ')', '}', ']', '#'];

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
    /// No connection to the gateway came about: DingTalk was asked nothing.
    Unreached(String),
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
            Self::Retry { reason, .. }
            | Self::Unreached(reason)
            | Self::Park(reason)
            | Self::Banned(reason) => reason,
        }
    }

    /// How the call is counted.
    pub(super) fn outcome(&self) -> ApiOutcome {
        match self {
            Self::Retry { throttled, .. } if *throttled => ApiOutcome::Throttled,
            Self::Retry { .. } | Self::Unreached(_) => ApiOutcome::Failed,
            Self::Park(_) => ApiOutcome::Refused,
            Self::Banned(_) => ApiOutcome::Throttled,
        }
    }
}

/// `text` with `secret` taken out, as it is and as it stands in an address: a server may repeat what
/// it was sent. To be done before anything is cut, lest a part of it remain.
pub(super) fn without<'a>(text: &'a str, secret: &Secret) -> Cow<'a, str> {
    let plain = secret.expose();
    if plain.is_empty() {
        return Cow::Borrowed(text);
    }
    let encoded = encode(plain);
    if !text.contains(plain) && !text.contains(&encoded) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(&encoded, MASK).replace(plain, MASK))
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
    if (200..300).contains(&status) {
        let shape = shape(members.as_ref(), body);
        return Refusal::retry(format!("the gateway granted no connection: {shape}"));
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
        _ => retry(is_throttling(&code)),
    }
}

/// What an answer consists of, without a word of it: it may hold a ticket that nobody has used.
fn shape(members: Option<&Members<'_>>, body: &str) -> String {
    let Some(members) = members else {
        return format!("its answer of {} bytes is no JSON object", body.len());
    };
    let names: Vec<&str> = members.iter().map(|(name, _)| name).collect();
    match names.as_slice() {
        [] => "its answer is an empty object".to_owned(),
        names => format!("its answer holds {}", excerpt(&names.join(", "))),
    }
}

/// What a call without an answer means.
pub(super) fn of_network(error: &reqwest::Error) -> Refusal {
    let reason = format!("the gateway is not reached: {}", chain(error));
    if error.is_connect() {
        Refusal::Unreached(reason)
    } else {
        Refusal::retry(reason)
    }
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

/// The beginning of a text on one line; markup and control characters become spaces, and tickets are
/// masked.
pub(super) fn excerpt(text: &str) -> String {
    let text = without_tickets(text);
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

/// `text` without the values of everything that is named a ticket.
fn without_tickets(text: &str) -> String {
    let names = text.to_ascii_lowercase();
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for (at, name) in names.match_indices("ticket") {
        let after = at + name.len();
        // It may stand inside a value that is masked already.
        let Some(rest) = text.get(after..).filter(|_| after >= done) else {
            continue;
        };
        let Some(value) = value_after(rest) else {
            continue;
        };
        kept.push_str(text.get(done..after + value.start).unwrap_or_default());
        kept.push_str(MASK);
        done = after + value.end;
    }
    kept.push_str(text.get(done..).unwrap_or_default());
    kept
}

/// Where the value stands that begins a text after its name; `None` when none follows.
fn value_after(text: &str) -> Option<Range<usize>> {
    let mut value = text;
    let encoded = |text| {
        ENCODED_GAP
            .iter()
            .find_map(|&mark| str::strip_prefix(text, mark))
    };
    while let Some(next) = value.strip_prefix(GAP).or_else(|| encoded(value)) {
        value = next;
    }
    let start = text.len() - value.len();
    let gap = text.get(..start)?;
    let assigned = gap.contains(['=', ':', '>', '%']);
    let quote = gap.chars().next_back().filter(|c| matches!(c, '"' | '\''));
    let ends = |c: char| match quote {
        Some(quote) => c == quote,
        None => c.is_whitespace() || ENDS.contains(&c),
    };
    let length = value.find(ends).unwrap_or(value.len());
    (assigned && length > 0).then_some(start..start + length)
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

    #[test]
    fn what_is_named_a_ticket_is_masked_and_the_rest_stays() {
        for (said, masked) in [
            ("wss://h/c?ticket=a%20b&x=1", "wss://h/c?ticket=***&x=1"),
            ("to=%2Fc%3Fticket%3Da-b", "to=%2Fc%3Fticket%3D***"),
            (r#"{"Ticket": "a b","x":1}"#, r#"{"Ticket": "***","x":1}"#),
            (r#"{"ticket":"a-b","x":1}"#, r#"{"ticket":"***","x":1}"#),
            ("ticket=ticket=a", "ticket=***"),
            (
                "a stale ticket, or two tickets: 3",
                "a stale ticket, or two tickets: 3",
            ),
        ] {
            assert_eq!(excerpt(said), masked);
        }
    }
}
