//! Pictures, files, audio and video: what DingTalk tells of each before it is fetched.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dingtalk::json::{self, Members};
use crate::message::{Media, MediaKind};

/// Durations of videos below this, written as text, are seconds: `"5"` beside the number `4000`
/// (stream-protocol.md, section 5).
const SECONDS_BELOW: f64 = 1000.0;

/// The kind of media that a msgtype or a rich text item names.
pub(super) fn kind(message_type: &str) -> Option<MediaKind> {
    Some(match message_type {
        "picture" | "image" => MediaKind::Image,
        "audio" | "voice" => MediaKind::Audio,
        "video" => MediaKind::Video,
        "file" => MediaKind::File,
        _ => return None,
    })
}

/// The kind that the members of an untyped object suggest; `None` when it holds no media.
pub(super) fn guess(members: &Members<'_>) -> Option<MediaKind> {
    let has = |name| members.filled(name).is_some();
    if has("videoType") {
        Some(MediaKind::Video)
    } else if has("recognition") {
        Some(MediaKind::Audio)
    } else if has("fileName") || has("dentryId") {
        Some(MediaKind::File)
    } else if has("downloadCode") && has("duration") {
        Some(MediaKind::Audio)
    } else if has("downloadCode") || has("pictureDownloadCode") || has("pictureUrl") {
        Some(MediaKind::Image)
    } else {
        None
    }
}

/// Reads one media item; `None` when nothing is told of it.
pub(super) fn item<'a>(kind: MediaKind, members: &Members<'a>) -> Option<Media<'a>> {
    let first = |names: &[&str]| names.iter().find_map(|name| members.filled(name));
    let item = Media {
        kind,
        name: first(&["fileName"]).or_else(|| last_segment(members.filled("filePath")?)),
        mime: members.filled("videoType").and_then(video_mime),
        size: ["fileSize", "size"]
            .iter()
            .find_map(|name| u64::try_from(members.integer(name)?).ok()),
        duration_ms: members.value("duration").and_then(|v| millis(kind, v)),
        download_code: first(&["downloadCode", "pictureDownloadCode"]),
        url: first(&["pictureUrl", "picUrl", "downloadUrl"]),
        object: None,
    };
    let told = item.name.is_some()
        || item.size.is_some()
        || item.duration_ms.is_some()
        || item.download_code.is_some()
        || item.url.is_some();
    told.then_some(item)
}

fn last_segment(path: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let name = match path {
        Cow::Borrowed(path) => Cow::Borrowed(path.rsplit('/').next()?),
        Cow::Owned(path) => Cow::Owned(path.rsplit('/').next()?.to_owned()),
    };
    (!name.is_empty()).then_some(name)
}

fn video_mime(video_type: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match video_type.as_ref() {
        "mp4" => Some("video/mp4".into()),
        "mov" => Some("video/quicktime".into()),
        _ => None,
    }
}

fn millis(kind: MediaKind, duration: &RawValue) -> Option<u64> {
    let quoted = duration.get().starts_with('"');
    let number: f64 = json::text(duration)?.trim().parse().ok()?;
    let number = if quoted && kind == MediaKind::Video && number < SECONDS_BELOW {
        number * 1000.0
    } else {
        number
    };
    // The cast saturates.
    (number.is_finite() && number >= 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_milliseconds_however_they_are_written() {
        for (kind, duration, millis) in [
            (MediaKind::Audio, "4000", Some(4000)),
            (MediaKind::Audio, "\"2000\"", Some(2000)),
            (MediaKind::Video, "\"5\"", Some(5000)),
            (MediaKind::Video, "\"1.5\"", Some(1500)),
            (MediaKind::Video, "\"4000\"", Some(4000)),
            (MediaKind::Video, "4000", Some(4000)),
            (MediaKind::Audio, "\"\"", None),
            (MediaKind::Audio, "-1", None),
            (MediaKind::Audio, "\"NaN\"", None),
            (MediaKind::Audio, "{}", None),
        ] {
            let object = format!(r#"{{"downloadCode":"c","duration":{duration}}}"#);
            let item = item(kind, &Members::read(&object).unwrap()).unwrap();
            assert_eq!(item.duration_ms, millis, "{duration}");
        }
    }

    #[test]
    fn a_file_sent_through_the_api_has_a_name_and_a_size_but_no_code() {
        let object = r#"{"dentryId":172,"spaceId":284,"fileType":"pdf","fileSize":"8192","filePath":"/bot/年报.pdf"}"#;
        let members = Members::read(object).unwrap();
        assert_eq!(guess(&members), Some(MediaKind::File));
        let item = item(MediaKind::File, &members).unwrap();
        assert_eq!(item.name.as_deref(), Some("年报.pdf"));
        assert_eq!(item.size, Some(8192));
        assert_eq!(item.download_code, None);
    }
}
