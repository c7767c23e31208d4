//! The original beside the normalised view: the data byte for byte, without session webhooks.
//!
//! A session webhook lets its holder speak as the robot (stream-protocol.md, section 0.14), so it never
//! leaves the bridge. It knows nothing of what the rest of the data means.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::dingtalk::json::{self, Members};

/// Depth of nesting, JSON in strings included, to which webhooks are cut out; a deeper value that
/// names one becomes `null`. Real payloads have at most four levels of JSON in strings.
const MAX_DEPTH: usize = 48;
/// Path of every session webhook.
const PATH: &str = "sendBySession";
/// Name of the member that holds one.
const MEMBER: &str = "sessionWebhook";

static PATHS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PATH));
static MEMBERS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MEMBER));

/// Data without session webhooks.
#[derive(Debug)]
pub(super) struct Redacted<'a> {
    /// Valid JSON text.
    pub(super) json: Cow<'a, str>,
    /// Whether the data was JSON; otherwise `json` is it as a JSON string.
    pub(super) is_json: bool,
    /// Whether a webhook may have stood elsewhere than in its own member of the data, so that texts
    /// taken from the data have to go through [`scrub`] as well.
    pub(super) scattered: bool,
}

/// Takes every session webhook out of `data`, whose members are `members` when it is an object.
///
/// The usual case, one member of the data, costs one scan and one copy; everything else stays as it
/// is, byte for byte.
pub(super) fn raw<'a>(data: &'a str, members: Option<&Members<'a>>) -> Redacted<'a> {
    let (json, is_json) = match members {
        Some(members) => (without_member(data, members), true),
        None if serde_json::from_str::<IgnoredAny>(data).is_ok() => (Cow::Borrowed(data), true),
        None => (Cow::Owned(quote(&scrub(data))), false),
    };
    let scattered = names_webhook(&json);
    let json = if scattered && is_json {
        let mut kept = String::with_capacity(json.len());
        value(&json, 0, &mut kept);
        Cow::Owned(kept)
    } else {
        json
    };
    Redacted {
        json,
        is_json,
        scattered,
    }
}

/// JSON text found inside the data, without session webhooks.
pub(super) fn inside(json: &str) -> Cow<'_, str> {
    raw(json, Members::read(json).as_ref()).json
}

/// Cuts session webhook addresses out of a text that people or other programs wrote.
pub(super) fn scrub(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    let mut searched = 0;
    while let Some(at) = rest.get(searched..).and_then(|part| part.find(PATH)) {
        let at = searched + at;
        match address(rest, at) {
            Some(Range { start, end }) => {
                kept.push_str(rest.get(..start).unwrap_or_default());
                rest = rest.get(end..).unwrap_or_default();
                searched = 0;
            }
            None => searched = at + PATH.len(),
        }
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Where the address with [`PATH`] at `at` begins and ends; `None` when no session follows.
fn address(text: &str, at: usize) -> Option<Range<usize>> {
    let before = text.get(..at)?;
    let start = before
        .rfind(|c| !in_address(c))
        .map_or(0, |end| end + before.get(end..).map_or(1, first_width));
    let run = before.get(start..)?;
    let start = start + run.rfind("http").unwrap_or(0);
    let after = text.get(at + PATH.len()..)?;
    let length = after.find(|c| !in_address(c)).unwrap_or(after.len());
    let tail = before_escape(after.get(..length)?);
    tail.contains("session")
        .then_some(start..at + PATH.len() + tail.len())
}

/// What precedes an escape that no address has: of `\/`, `\u003d`, `\"` and `\n` only the first two.
fn before_escape(text: &str) -> &str {
    let mut searched = 0;
    while let Some(at) = text.get(searched..).and_then(|part| part.find('\\')) {
        let at = searched + at;
        let after = text.get(at..).unwrap_or_default().trim_start_matches('\\');
        if !after.starts_with(['/', 'u']) {
            return text.get(..at).unwrap_or_default();
        }
        searched = text.len() - after.len();
    }
    text
}

fn first_width(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

fn in_address(c: char) -> bool {
    c.is_ascii_graphic()
        && !matches!(
            c,
            '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '{' | '}' | ',' | ';'
        )
}

/// Whether a webhook may be in `text`. Its time of expiry, which every bot message tells, is none.
fn names_webhook(text: &str) -> bool {
    let bytes = text.as_bytes();
    PATHS.find(bytes).is_some()
        || MEMBERS.find_iter(bytes).any(|at| {
            let after = bytes.get(at + MEMBER.len()..).unwrap_or_default();
            !after.starts_with(b"ExpiredTime")
        })
}

fn without_member<'a>(object: &'a str, members: &Members<'a>) -> Cow<'a, str> {
    if !members.iter().any(|(name, _)| name == MEMBER) {
        return Cow::Borrowed(object);
    }
    let mut kept = String::with_capacity(object.len());
    copy_members(object, members, &mut kept, |text, out| out.push_str(text));
    Cow::Owned(kept)
}

/// Copies an object without webhook members; `copy` writes the values of the others.
fn copy_members(
    object: &str,
    members: &Members<'_>,
    out: &mut String,
    copy: impl Fn(&str, &mut String),
) {
    let open = object.find('{').map_or(0, |at| at + 1);
    out.push_str(object.get(..open).unwrap_or_default());
    let (mut end, mut first) = (open, true);
    for (name, value) in members.iter() {
        let Some(span) = span(object, value) else {
            continue;
        };
        let before = object.get(end..span.start).unwrap_or_default();
        end = span.end;
        if name == MEMBER || matches!(scrub(name), Cow::Owned(_)) {
            continue;
        }
        // What precedes the first member left has no comma.
        let before = match before.split_once(',') {
            Some((space, after)) if first && space.trim().is_empty() => after,
            _ => before,
        };
        first = false;
        out.push_str(before);
        copy(value.get(), out);
    }
    out.push_str(object.get(end..).unwrap_or_default());
}

fn copy_elements(
    array: &str,
    elements: &[&RawValue],
    out: &mut String,
    copy: impl Fn(&str, &mut String),
) {
    let mut end = 0;
    for element in elements {
        if let Some(span) = span(array, element) {
            out.push_str(array.get(end..span.start).unwrap_or_default());
            copy(element.get(), out);
            end = span.end;
        }
    }
    out.push_str(array.get(end..).unwrap_or_default());
}

/// Where `value` stands in the text that it was read from.
fn span(text: &str, value: &RawValue) -> Option<Range<usize>> {
    let value = value.get();
    let start = (value.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start + value.len();
    (end <= text.len()).then_some(start..end)
}

/// Copies one JSON value without the webhooks at any depth in it.
fn value(json: &str, depth: usize, out: &mut String) {
    if !names_webhook(json) {
        return out.push_str(json);
    }
    if depth >= MAX_DEPTH {
        return out.push_str("null");
    }
    let inner = |text: &str, out: &mut String| value(text, depth + 1, out);
    match json.trim_start().as_bytes().first() {
        Some(b'{') => match Members::read(json) {
            Some(members) => copy_members(json, &members, out, inner),
            None => out.push_str("null"),
        },
        Some(b'[') => match json::elements(json) {
            Some(elements) => copy_elements(json, &elements, out, inner),
            None => out.push_str("null"),
        },
        Some(b'"') => string(json, depth, out),
        _ => out.push_str(json),
    }
}

/// Copies a JSON string: as JSON when it holds JSON, as text otherwise; as it is when nothing is cut.
fn string(json: &str, depth: usize, out: &mut String) {
    let Ok(text) = serde_json::from_str::<String>(json) else {
        // A half surrogate pair: what it says beside the webhook cannot be told.
        return out.push_str("\"\"");
    };
    let holds_json = matches!(
        text.trim_start().as_bytes().first(),
        Some(b'{' | b'[' | b'"')
    ) && serde_json::from_str::<IgnoredAny>(&text).is_ok();
    let kept = if holds_json {
        let mut kept = String::with_capacity(text.len());
        value(&text, depth + 1, &mut kept);
        Cow::Owned(kept)
    } else {
        scrub(&text)
    };
    if kept == text {
        out.push_str(json);
    } else {
        out.push_str(&quote(&kept));
    }
}

fn quote(text: &str) -> String {
    // A string always serialises; an empty one is valid wherever a string is.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://oapi.dingtalk.com/robot/sendBySession?session=0a1b";

    fn redacted(data: &str) -> String {
        raw(data, Members::read(data).as_ref()).json.into_owned()
    }

    #[test]
    fn the_member_is_cut_wherever_it_stands_and_nothing_else_changes() {
        for (with, without) in [
            (
                r#"{ "sessionWebhook" : "URL" , "b": 1.50 }"#,
                r#"{  "b": 1.50 }"#,
            ),
            (
                r#"{"a":1, "sessionWebhook":"URL", "b":2}"#,
                r#"{"a":1, "b":2}"#,
            ),
            (r#"{"a":1,"sessionWebhook":"URL"}"#, r#"{"a":1}"#),
            (r#"{"sessionWebhook":"URL"}"#, "{}"),
            (
                r#"{"sessionWebhook":"URL","sessionWebhook":"URL","a":"\u0041"}"#,
                r#"{"a":"\u0041"}"#,
            ),
            (
                r#"{"sessionWebhook":null,"sessionWebhookExpiredTime":5}"#,
                r#"{"sessionWebhookExpiredTime":5}"#,
            ),
            (
                r#"{"session\u0057ebhook":"https://x/","a":1}"#,
                r#"{"a":1}"#,
            ),
        ] {
            assert_eq!(redacted(&with.replace("URL", URL)), without);
        }
    }

    #[test]
    fn webhooks_deeper_in_the_data_are_cut_and_their_neighbours_stay() {
        for (with, without) in [
            (
                r#"{"a":{"sessionWebhook":"URL","b":1.0},"c":[1 ,2]}"#,
                r#"{"a":{"b":1.0},"c":[1 ,2]}"#,
            ),
            (r#"[{"sessionWebhook":"URL"},2]"#, "[{},2]"),
            (
                r#"{"body":"{\"sessionWebhook\":\"URL\",\"x\":1}"}"#,
                r#"{"body":"{\"x\":1}"}"#,
            ),
            (r#"{"t":"see URL now"}"#, r#"{"t":"see  now"}"#),
            (r#"{"t":"看URL。"}"#, r#"{"t":"看。"}"#),
            (r#"{"URL":1,"b":2}"#, r#"{"b":2}"#),
            (
                r#"{"t":"https:\/\/oapi.dingtalk.com\/robot\/sendBySession?session\u003dab"}"#,
                r#"{"t":""}"#,
            ),
        ] {
            assert_eq!(redacted(&with.replace("URL", URL)), without);
        }
    }

    #[test]
    fn talk_about_webhooks_is_no_webhook() {
        for data in [
            r#"{"text":{"content":"what is sessionWebhook? \u4f60\/"}}"#,
            r#"{"text":{"content":"POST /robot/sendBySession, then?"}}"#,
            r#"{"sessionWebhookExpiredTime": 1}"#,
        ] {
            assert_eq!(redacted(data), data);
        }
    }

    #[test]
    fn data_that_is_no_json_becomes_a_string_without_the_address() {
        assert_eq!(redacted(""), "\"\"");
        assert_eq!(redacted("{not json"), "\"{not json\"");
        let broken = format!(r#"{{"sessionWebhook": "{URL}", "content": "x" "y":1}}"#);
        assert_eq!(
            serde_json::from_str::<String>(&redacted(&broken)).unwrap(),
            r#"{"sessionWebhook": "", "content": "x" "y":1}"#
        );
        assert_eq!(scrub(&format!(r#"\"{URL}\" x"#)), r#"\"\" x"#);
        assert_eq!(scrub(&format!(r"{URL}\nx, {URL}, y")), r"\nx, , y");
    }

    #[test]
    fn nesting_without_end_neither_overflows_nor_leaks() {
        let deep = 200_000;
        let data = format!("{}\"{URL}\"{}", "[".repeat(deep), "]".repeat(deep));
        let kept = redacted(&data);
        assert!(!kept.contains(PATH));
        assert!(serde_json::from_str::<IgnoredAny>(&kept).is_ok());
    }
}
