//! Name and media type of a fetched item: the type by its content, the name as it was announced and fit
//! for a file system. It reads no body.

use super::errand::Errand;
use crate::broker::Description;
use crate::message::{MediaKind, file_name, media_type};

/// What says nothing.
const UNKNOWN: &str = "application/octet-stream";
/// Ending of the names that DingTalk's storage gives to everything (oapi.md, section 5.2).
const STORAGE_ENDING: &str = ".file";

/// Describes an item by what was announced, what its host said and what it begins with.
pub(super) fn describe(
    errand: &Errand,
    (host_name, host_mime): (Option<&str>, Option<&str>),
    head: &[u8],
) -> Description {
    let host_name = host_name.filter(|name| !name.ends_with(STORAGE_ENDING));
    let announced = errand.name.as_deref().or(host_name).and_then(file_name);
    let mime = media_of(errand, announced.as_deref(), host_mime, head);
    let name = announced.unwrap_or_else(|| named_by_kind(errand.kind, &mime));
    Description {
        name: Some(name),
        mime: Some(mime),
    }
}

fn media_of(errand: &Errand, name: Option<&str>, host_mime: Option<&str>, head: &[u8]) -> String {
    let told = [errand.mime.as_deref(), host_mime].into_iter().flatten();
    let mut told = told.map(|mime| mime.split(';').next().unwrap_or_default().trim());
    let told = || told.find(|mime| mime.contains('/') && *mime != UNKNOWN);
    let found = media_type(name, head).or_else(told);
    found.unwrap_or(UNKNOWN).to_owned()
}

fn named_by_kind(kind: MediaKind, mime: &str) -> String {
    let stem = match kind {
        MediaKind::Image => "image",
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
        MediaKind::File => "file",
    };
    let ending = match mime {
        // The first of the table would be `jpe`, `qt` and the like.
        "image/jpeg" => "jpg",
        "video/quicktime" => "mov",
        "audio/mpeg" => "mp3",
        "audio/amr" => "amr",
        "audio/x-wav" => "wav",
        "text/plain" => "txt",
        UNKNOWN => "bin",
        other => mime_guess::get_mime_extensions_str(other)
            .and_then(|endings| endings.first())
            .copied()
            .unwrap_or("bin"),
    };
    format!("{stem}.{ending}")
}

#[cfg(test)]
mod tests {
    use super::super::errand::Source;
    use super::*;
    use crate::message::{AccountName, Secret};

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0";

    fn errand(kind: MediaKind, name: Option<&str>) -> Errand {
        Errand {
            account: AccountName::parse("sales").unwrap(),
            message: "m".to_owned(),
            object: "o".to_owned(),
            source: Source::Code(Secret::new("c")),
            kind,
            name: name.map(ToOwned::to_owned),
            mime: None,
        }
    }

    #[test]
    fn content_tells_the_type_and_the_announcement_the_name() {
        let table = [
            (
                Some("年报.pdf"),
                &b"%PDF-1.7"[..],
                "年报.pdf",
                "application/pdf",
            ),
            // Whatever it is called, this is a picture.
            (Some("a.pdf"), PNG, "a.pdf", "image/png"),
            (Some("a.zip"), ZIP, "a.zip", "application/zip"),
            (
                Some("a.apk"),
                ZIP,
                "a.apk",
                "application/vnd.android.package-archive",
            ),
            (Some("notes.md"), b"# hi", "notes.md", "text/markdown"),
            (Some("strange.xyzzy"), b"??", "strange.xyzzy", UNKNOWN),
            (None, b"??", "file.bin", UNKNOWN),
        ];
        for (name, head, expected, mime) in table {
            let found = describe(&errand(MediaKind::File, name), (None, None), head);
            assert_eq!(found.name.as_deref(), Some(expected));
            assert_eq!(found.mime.as_deref(), Some(mime), "{name:?}");
        }
    }

    #[test]
    fn what_has_no_name_is_called_by_what_it_is() {
        let table: [(MediaKind, &[u8], &str); 4] = [
            (MediaKind::Image, PNG, "image.png"),
            (MediaKind::Image, b"\xff\xd8\xff\xe0\0\x10JFIF", "image.jpg"),
            (
                MediaKind::Audio,
                b"#!AMR\n\x3c\0\0\0\0\0\0\0\0",
                "audio.amr",
            ),
            (MediaKind::Video, b"\0\0\0\x18ftypmp42\0\0\0\0", "video.mp4"),
        ];
        for (kind, head, expected) in table {
            let host = (Some("0f3a.file"), Some("application/octet-stream"));
            let found = describe(&errand(kind, None), host, head);
            assert_eq!(found.name.as_deref(), Some(expected));
        }
        let host = (Some("shown.webp"), Some("image/webp; q=1"));
        let found = describe(&errand(MediaKind::Image, None), host, b"??");
        assert_eq!(found.name.as_deref(), Some("shown.webp"));
        assert_eq!(found.mime.as_deref(), Some("image/webp"));
    }
}
