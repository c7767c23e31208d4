//! One thing to upload: what it is, where its bytes are, what it is called. Pure.

use crate::broker::MediaObject;
use crate::message::{MediaKind, MediaSource};

/// One thing to upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::outbound) struct Piece<'a> {
    /// What DingTalk takes it as.
    pub(super) kind: MediaKind,
    /// Where its bytes are.
    pub(super) source: MediaSource<'a>,
    /// What the request calls it.
    pub(super) name: Option<&'a str>,
    /// Whether its length has to be known.
    pub(super) timed: bool,
    /// Which of the request's pieces it is.
    pub(super) role: Role,
}

/// Which of a request's pieces it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::outbound) enum Role {
    /// What is sent.
    Main,
    /// The cover of a video.
    Cover,
}

/// A piece whose bytes are in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::outbound) struct Stored {
    /// The object.
    pub(super) object: MediaObject,
    /// File name with its extension.
    pub(super) name: String,
    /// Whether the bridge put it there for this request only.
    pub(super) passing: bool,
}

/// A piece that DingTalk has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::outbound) struct Laid {
    /// Its media id.
    pub(super) media_id: String,
    /// File name.
    pub(super) name: String,
    /// How long it plays, where that had to be known.
    pub(super) millis: Option<u64>,
    /// Key that the cache has it under.
    pub(super) cached_as: String,
    /// Whether it was uploaded just now.
    pub(super) uploaded: bool,
}

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Cover => "cover",
        }
    }
}

/// The name of a kind in keys and texts.
pub(super) const fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
        MediaKind::File => "file",
    }
}

/// The file name of a piece: what the request says, else what is known of the object, else the end of
/// its key. One without extension gets that of its media type.
pub(super) fn file_name(asked: Option<&str>, object: &MediaObject) -> String {
    let known = object.description.name.as_deref();
    let end = object.key.rsplit('/').next().unwrap_or_default();
    let name = [asked, known]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty());
    let name = name.unwrap_or(end);
    let mime = object.description.mime.as_deref().unwrap_or_default();
    match extension(mime) {
        Some(extension) if !name.contains('.') => format!("{name}.{extension}"),
        _ => name.to_owned(),
    }
}

/// The extension of a media type, of those that DingTalk takes (oapi.md, section 5.1).
fn extension(mime: &str) -> Option<&'static str> {
    let kind = mime.split(';').next().unwrap_or_default().trim();
    Some(match kind.to_ascii_lowercase().as_str() {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "image/bmp" => "bmp",
        "audio/amr" => "amr",
        "audio/mpeg" => "mp3",
        "audio/wav" | "audio/x-wav" | "audio/vnd.wave" => "wav",
        "video/mp4" => "mp4",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        _ => return None,
    })
}

/// The key of a piece in the cache: the same bytes are the same media to one account. A file is also
/// known by the name that it was uploaded under.
pub(super) fn cache_key(account: &str, kind: MediaKind, stored: &Stored) -> String {
    let digest = &stored.object.digest;
    let key = format!("media:{account}:{}:{digest}", kind_name(kind));
    match kind {
        MediaKind::File => format!("{key}:{}", stored.name),
        MediaKind::Image | MediaKind::Audio | MediaKind::Video => key,
    }
}

/// Whether a refusal says that a media id is not known, or not any more: the legacy code, or a robot
/// call that names the member that holds the id.
pub(in crate::outbound) fn names_unknown_media(code: &str) -> bool {
    const MEMBERS: [&str; 4] = ["mediaId", "photoURL", "videoMediaId", "picMediaId"];
    code == "40007"
        || ["invalid.param.", "invalidParameter."]
            .iter()
            .filter_map(|family| code.strip_prefix(family))
            .any(|member| {
                MEMBERS
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(member))
            })
}

#[cfg(test)]
mod tests {
    use crate::broker::Description;

    use super::*;

    fn object(key: &str, name: Option<&str>, mime: Option<&str>) -> MediaObject {
        MediaObject {
            key: key.into(),
            description: Description {
                name: name.map(str::to_owned),
                mime: mime.map(str::to_owned),
            },
            size: 3,
            digest: "d".into(),
            stored_at: None,
        }
    }

    #[test]
    fn the_name_is_the_requests_then_the_objects_then_the_end_of_the_key() {
        for (asked, object, expected) in [
            (
                Some("b.pdf"),
                object("x/a.pdf", Some("c.pdf"), None),
                "b.pdf",
            ),
            (None, object("x/a.pdf", Some("c.pdf"), None), "c.pdf"),
            (None, object("x/a.pdf", Some(""), None), "a.pdf"),
            (None, object("x/a", None, Some("image/PNG; q=1")), "a.png"),
            (None, object("x/a", None, Some("text/plain")), "a"),
            (Some("v1.a"), object("x", None, Some("image/png")), "v1.a"),
        ] {
            assert_eq!(file_name(asked, &object), expected);
        }
    }

    #[test]
    fn the_same_bytes_are_the_same_media_unless_they_are_another_kind_or_file() {
        let stored = |name: &str| Stored {
            object: object("k", None, None),
            name: name.into(),
            passing: false,
        };
        let key = |kind, name| cache_key("sales", kind, &stored(name));
        assert_eq!(
            key(MediaKind::Image, "a.png"),
            key(MediaKind::Image, "b.png")
        );
        assert_ne!(key(MediaKind::File, "a.pdf"), key(MediaKind::File, "b.pdf"));
        assert_ne!(key(MediaKind::Image, "a"), key(MediaKind::Video, "a"));
    }

    #[test]
    fn refusals_of_a_media_id_are_told_from_others() {
        for code in [
            "40007",
            "invalid.param.mediaId",
            "invalidParameter.photoUrl",
        ] {
            assert!(names_unknown_media(code), "{code}");
        }
        for code in ["40006", "invalid.param.duration", "mediaId", ""] {
            assert!(!names_unknown_media(code), "{code}");
        }
    }
}
