//! Uploads of media and the addresses of what people sent (oapi.md, section 5).

use std::time::Duration;

use reqwest::Body;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::Api;
use super::call::Errand;
use super::errors::{Call, Lesson};
use super::failure::{ApiError, ErrorClass};
use crate::dingtalk::json::Members;
use crate::message::{MediaKind, Priority, Secret};
use crate::telemetry::ApiFamily;

/// Bytes in a megabyte of DingTalk's.
const MEGABYTE: u64 = 1024 * 1024;
/// Bytes a second of the slowest line that an upload is waited for on.
const SLOWEST_LINE: u64 = 32 * 1024;
/// Time that an upload has besides.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest file name that is passed on, in characters.
const MAX_NAME: usize = 100;

const UPLOAD: Errand = Errand::new(Call::Upload, ApiFamily::Media);
const ADDRESS: Errand = Errand::new(Call::Query, ApiFamily::Media);

/// Bytes on their way to DingTalk.
#[derive(Debug)]
pub struct Upload {
    /// What they are.
    pub kind: MediaKind,
    /// File name with its extension.
    pub name: String,
    /// How many, which the body must hold exactly.
    pub size: u64,
    /// They themselves; streamed, never held whole.
    pub body: Body,
}

/// What DingTalk takes as one kind of media.
struct Limits {
    /// As the API names it.
    kind: &'static str,
    megabytes: u64,
    /// Extensions; the first one stands for those of the same format.
    formats: &'static [&'static str],
}

/// The table of limits (oapi.md, section 5.1).
fn limits(kind: MediaKind) -> Limits {
    let (kind, megabytes, formats): (_, _, &[_]) = match kind {
        MediaKind::Image => ("image", 20, &["jpg", "jpeg", "gif", "png", "bmp"]),
        MediaKind::Audio => ("voice", 2, &["amr", "mp3", "wav"]),
        MediaKind::Video => ("video", 20, &["mp4"]),
        MediaKind::File => (
            "file",
            20,
            &[
                "doc", "docx", "xls", "xlsx", "ppt", "pptx", "zip", "pdf", "rar",
            ],
        ),
    };
    Limits {
        kind,
        megabytes,
        formats,
    }
}

/// Whether DingTalk takes a file of this name and size as this kind (oapi.md, section 5.1). It asks
/// nobody.
///
/// # Errors
/// Permanent, with what is taken.
pub fn check_upload(kind: MediaKind, name: &str, size: u64) -> Result<(), ApiError> {
    let limits = limits(kind);
    let refused = |code: &str, message: String, cure: String| ApiError {
        class: ErrorClass::Permanent,
        code: code.to_owned(),
        message,
        cure: Some(cure),
    };
    let formats = limits.formats.join(", ");
    match extension(name) {
        Some(given) if limits.formats.contains(&given.as_str()) => {}
        Some(given) => {
            let message = format!("DingTalk takes no .{given} as {}", limits.kind);
            let cure = format!("send {formats}, or pack it as a zip and send that as a file");
            return Err(refused("media-format", message, cure).scrubbed(&[]));
        }
        None => {
            let message = "the file name has no extension".to_owned();
            let cure = format!("name the file with one of {formats}");
            return Err(refused("media-format", message, cure));
        }
    }
    let most = limits.megabytes * MEGABYTE;
    if size == 0 || size > most {
        let message = format!("{size} bytes to send as {}", limits.kind);
        let cure = format!("send 1 to {most} bytes ({} MB)", limits.megabytes);
        return Err(refused("media-size", message, cure));
    }
    Ok(())
}

/// The extension of a file name, in lower case.
fn extension(name: &str) -> Option<String> {
    let (front, end) = name.rsplit_once('.')?;
    (!front.is_empty() && !end.is_empty()).then(|| end.to_ascii_lowercase())
}

/// The media type of a part with this extension.
fn mime(extension: &str) -> &'static str {
    match extension {
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "png" => "image/png",
        "bmp" => "image/bmp",
        "amr" => "audio/amr",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

/// A file name that can stand in a multipart header: no quotes, no line breaks, and of two
/// extensions for one format the one that DingTalk lists.
fn header_name(name: &str) -> String {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain = |c: char| match c {
        '"' | '\\' | '/' => '_',
        c if c.is_control() => '_',
        c => c,
    };
    let stem: String = stem.chars().map(plain).take(MAX_NAME).collect();
    let end: String = end.chars().map(plain).take(MAX_NAME).collect();
    let end = match end.to_ascii_lowercase() {
        jpeg if jpeg == "jpeg" => "jpg".to_owned(),
        end => end,
    };
    format!("{stem}.{end}")
}

impl Api {
    /// Uploads media; the media id. Nobody sees anything of it, so repeating it is harmless.
    ///
    /// # Errors
    /// By [`super::ErrorClass`], never ambiguous; what DingTalk would refuse (kind, size, extension:
    /// oapi.md, section 5.1) is refused before the call as permanent. A token that DingTalk refuses
    /// is replaced, but the bytes are gone by then: the error says to upload again at once.
    pub async fn upload(&self, upload: Upload) -> Result<String, ApiError> {
        let app = self.app()?;
        check_upload(upload.kind, &upload.name, upload.size)?;
        app.legacy.token(&app.tokens).await?;
        self.slot(UPLOAD.family, Priority::Normal).await;
        let shown = app.legacy.token(&app.tokens).await?;
        let token = shown.token.expose();
        let line = Duration::from_secs(upload.size / SLOWEST_LINE);
        let query = [("access_token", token), ("type", limits(upload.kind).kind)];
        let part = Part::stream_with_length(upload.body, upload.size);
        let mime = mime(extension(&upload.name).as_deref().unwrap_or_default());
        let part = part.file_name(header_name(&upload.name));
        let part = part.headers(
            [(CONTENT_TYPE, HeaderValue::from_static(mime))]
                .into_iter()
                .collect(),
        );
        // Names are written as browsers write them: servers seldom read the escaped form.
        let form = Form::new().percent_encode_noop().part("media", part);
        let client = self.http.client();
        let request = client
            .post(format!("{}/media/upload", app.legacy.url))
            .query(&query)
            .timeout(UPLOAD_TIMEOUT + line)
            .multipart(form);
        let read = |answer: &Members<'_>| answer.filled("media_id").map(String::from);
        let refusal = match self.attempt(UPLOAD, request, &read).await {
            Ok(id) => {
                app.legacy.accepted(&shown);
                return Ok(id);
            }
            Err(refusal) => refusal,
        };
        let again = refusal.lesson == Lesson::Token;
        let renewed = again && app.legacy.refused(&shown, &app.tokens).await?;
        let mut error = self.cleaned(refusal, &[token]);
        if renewed {
            error.class = ErrorClass::RetryAfter(Duration::ZERO);
        }
        Err(error)
    }

    /// Where the bytes behind a download code are fetched from, for a short time and without a
    /// token. The address is signed, so it is a secret.
    ///
    /// # Errors
    /// By [`super::ErrorClass`], never ambiguous; an expired code is permanent.
    pub async fn download_url(&self, download_code: &str) -> Result<Secret, ApiError> {
        let robot = &self.app()?.robot;
        let url = robot.url("robot/messageFiles/download");
        let body = json!({ "downloadCode": download_code, "robotCode": robot.code });
        let request = || self.http.client().post(&url).json(&body);
        self.ask(ADDRESS, &request, &|answer| address(answer)).await
    }
}

/// The address, which some answers hold one level deeper (oapi.md, section 5.2).
fn address(answer: &Members<'_>) -> Option<Secret> {
    let below = answer.object("data");
    let found = answer.filled("downloadUrl");
    let found = found.or_else(|| below.and_then(|data| data.filled("downloadUrl")));
    found.map(|url| Secret::new(url.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_limits_is_held_before_the_call() {
        let most = 20 * MEGABYTE;
        for (kind, name, size) in [
            (MediaKind::Image, "a.JPG", most),
            (MediaKind::Image, "a.b.jpeg", 1),
            (MediaKind::Audio, "a.amr", 2 * MEGABYTE),
            (MediaKind::Video, "片.mp4", most),
            (MediaKind::File, "报表.xlsx", most),
        ] {
            assert_eq!(check_upload(kind, name, size), Ok(()), "{name}");
        }
        for (kind, name, size, code) in [
            (MediaKind::Image, "a.webp", 1, "media-format"),
            (MediaKind::Image, "a", 1, "media-format"),
            (MediaKind::Image, ".png", 1, "media-format"),
            (MediaKind::File, "notes.txt", 1, "media-format"),
            (MediaKind::File, "a.pdf.", 1, "media-format"),
            (MediaKind::Audio, "a.ogg", 1, "media-format"),
            (MediaKind::Video, "a.mov", 1, "media-format"),
            (MediaKind::Image, "a.png", 0, "media-size"),
            (MediaKind::Image, "a.png", most + 1, "media-size"),
            (MediaKind::Audio, "a.mp3", 2 * MEGABYTE + 1, "media-size"),
        ] {
            let error = check_upload(kind, name, size).unwrap_err();
            assert_eq!(error.class, ErrorClass::Permanent, "{name}");
            assert_eq!(error.code, code, "{name}");
            assert!(error.cure.is_some(), "{name}");
        }
    }

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(header_name("报 表.XLSX"), "报 表.xlsx");
        assert_eq!(header_name("a\"\r\nX: y.pdf"), "a___X: y.pdf");
        assert_eq!(header_name("../etc/passwd.zip"), ".._etc_passwd.zip");
        assert_eq!(header_name("a.jpeg"), "a.jpg");
        assert!(header_name(&"字".repeat(5000)).chars().count() < 250);
    }

    #[test]
    fn the_address_is_found_on_both_levels_and_is_a_secret() {
        for text in [
            r#"{"downloadUrl":"http://x/CANARY"}"#,
            r#"{"data":{"downloadUrl":"http://x/CANARY"}}"#,
        ] {
            let found = address(&Members::read(text).unwrap()).unwrap();
            assert_eq!(found.expose(), "http://x/CANARY");
            assert!(!format!("{found:?}").contains("CANARY"));
        }
        let empty = Members::read(r#"{"downloadUrl":""}"#).unwrap();
        assert!(address(&empty).is_none());
    }
}
