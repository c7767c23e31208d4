//! Media of requests on their way out: from an object key or an address to the media id that a
//! message names (oapi.md, sections 2.4 and 5.1).
//!
//! A picture by `url` is uploaded like everything else although DingTalk would take its address:
//! clients would fetch it from wherever they are whenever somebody scrolls by, so it would vanish
//! with its host, show its readers to it, and be blank where only the bridge may reach it.

mod depot;
mod freight;
mod length;
mod piece;
mod watched;

use crate::message::{Attachment, DeadReason, MediaKind, MediaSource};

use super::resolve::Refusal;

pub(super) use depot::{Depot, Trouble};
pub(super) use freight::{Done, Freight, Task};
pub(super) use piece::names_unknown_media;

/// Refuses what is missing or contradictory as far as the words of a request tell.
pub(super) fn check(kind: MediaKind, attachment: &Attachment) -> Result<(), Refusal> {
    let refused = |detail: &str| Err(Refusal::new(DeadReason::Malformed, detail));
    let uploaded = match attachment.source()? {
        MediaSource::MediaId(id) => {
            check_id(id)?;
            true
        }
        MediaSource::Object(_) | MediaSource::Url(_) => false,
    };
    match (kind, &attachment.cover) {
        (MediaKind::Video, Some(cover)) => {
            if let MediaSource::MediaId(id) = cover.source()? {
                check_id(id)?;
            }
            if uploaded && attachment.duration_ms.is_none() {
                return refused("a video by `media_id` with a cover needs `duration_ms`");
            }
        }
        (MediaKind::Image | MediaKind::Audio | MediaKind::File, Some(_)) => {
            return refused("only a video has a `cover`");
        }
        (MediaKind::Audio, None) if uploaded && attachment.duration_ms.is_none() => {
            return refused("audio by `media_id` needs `duration_ms`");
        }
        (MediaKind::File, None) if uploaded && attachment.name.is_none() => {
            return refused("a file by `media_id` needs `name`, with its extension");
        }
        (MediaKind::Image | MediaKind::Audio | MediaKind::Video | MediaKind::File, None) => {}
    }
    Ok(())
}

fn check_id(id: &str) -> Result<(), Refusal> {
    if id.starts_with(['@', '$']) {
        return Ok(());
    }
    Err(Refusal::new(
        DeadReason::Malformed,
        "a `media_id` begins with @ or $; name what is in the object store by `object`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: MediaKind, json: &str) -> Option<String> {
        let attachment = serde_json::from_str(json).unwrap();
        check(kind, &attachment).err().map(|refusal| refusal.detail)
    }

    #[test]
    fn what_is_at_dingtalk_already_has_to_be_described() {
        for (kind, json, missing) in [
            (MediaKind::Audio, r#"{"media_id":"@a"}"#, "duration_ms"),
            (MediaKind::File, r#"{"media_id":"@a"}"#, "name"),
            (
                MediaKind::Video,
                r#"{"media_id":"@a","cover":{"media_id":"@b"}}"#,
                "duration_ms",
            ),
            (MediaKind::Image, r#"{"media_id":"a.png"}"#, "begins with"),
            (
                MediaKind::Video,
                r#"{"object":"a","cover":{"media_id":"b"}}"#,
                "begins with",
            ),
            (
                MediaKind::File,
                r#"{"object":"a","cover":{"object":"b"}}"#,
                "cover",
            ),
            (
                MediaKind::Image,
                r#"{"object":"a","url":"b"}"#,
                "exactly one",
            ),
            (MediaKind::Image, "{}", "exactly one"),
        ] {
            let refusal = refusal(kind, json).unwrap_or_default();
            assert!(refusal.contains(missing), "{json}: {refusal}");
        }
        for (kind, json) in [
            (MediaKind::Image, r#"{"media_id":"@a"}"#),
            (MediaKind::Audio, r#"{"media_id":"@a","duration_ms":5}"#),
            (MediaKind::File, r#"{"media_id":"$a","name":"a.pdf"}"#),
            (MediaKind::Video, r#"{"media_id":"$a"}"#),
            (MediaKind::Video, r#"{"object":"a","cover":{"url":"b"}}"#),
        ] {
            assert_eq!(refusal(kind, json), None, "{json}");
        }
    }
}
