//! Uploads of files that sends name later (oapi.md, section 5.1). Bodies are read as they come and
//! never held whole, unless the options ask for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::MEDIA_UPLOAD_PATH;
use super::errors::Refusal;
use crate::message::Timestamp;
use crate::sim::content::hex;
use crate::sim::media::{Upload, new_media_id};
use crate::sim::state::{Shared, World};

/// Bytes of every upload that are kept for observation.
const HEAD: usize = 1024;
const MIB: u64 = 1024 * 1024;

/// What DingTalk takes: type, most bytes, endings of the file name.
const KINDS: [(&str, u64, &[&str]); 4] = [
    ("image", 20 * MIB, &["jpg", "gif", "png", "bmp"]),
    ("voice", 2 * MIB, &["amr", "mp3", "wav"]),
    ("video", 20 * MIB, &["mp4"]),
    (
        "file",
        20 * MIB,
        &[
            "doc", "docx", "xls", "xlsx", "ppt", "pptx", "zip", "pdf", "rar",
        ],
    ),
];

#[derive(Deserialize)]
pub(super) struct UploadQuery {
    #[serde(default)]
    access_token: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// Reads everything first, so that a refusal finds a client that listens.
pub(super) async fn upload(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<UploadQuery>,
    parts: Result<Multipart, MultipartRejection>,
) -> Response {
    let Ok(mut parts) = parts else {
        return Refusal::oapi(43008, "参数需要multipart类型").into_response();
    };
    let mut seen = Seen::default();
    if seen
        .read(&mut parts, shared.options.keep_uploads)
        .await
        .is_err()
    {
        return Refusal::oapi(41005, "缺少多媒体文件数据").into_response();
    }
    if !query.kind.is_empty() {
        seen.kind = query.kind;
    }
    let mut world = shared.world();
    let app = world.admit_oapi(&shared.options, &query.access_token, MEDIA_UPLOAD_PATH);
    let mut upload = seen.into_upload();
    let outcome = app.and_then(|app| {
        upload.app = app.as_ref().to_owned();
        check(&upload)
    });
    let answer = match outcome {
        Ok(()) => {
            let id = new_media_id(&upload.kind);
            upload.media_id = Some(id.clone());
            let answer = json!({
                "errcode": 0, "errmsg": "ok", "media_id": id,
                "created_at": upload.at.as_millis(), "type": upload.kind,
            });
            Json(answer).into_response()
        }
        Err(refusal) => {
            upload.refused = Some(refusal.code.clone());
            refusal.into_response()
        }
    };
    world.media.log_upload(upload);
    answer
}

/// What `GET` on the path says.
pub(super) async fn not_post() -> Response {
    Refusal::oapi(43002, "需要POST请求").into_response()
}

/// The parts of an upload as they come.
#[derive(Default)]
struct Seen {
    kind: String,
    media: bool,
    file_name: String,
    content_type: String,
    size: u64,
    digest: Sha256,
    head: BytesMut,
    body: Option<BytesMut>,
}

impl Seen {
    async fn read(&mut self, parts: &mut Multipart, keep: bool) -> Result<(), MultipartError> {
        while let Some(field) = parts.next_field().await? {
            match field.name() {
                Some("type") => self.kind = field.text().await?,
                Some("media") => self.read_media(field, keep).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn read_media(&mut self, mut field: Field<'_>, keep: bool) -> Result<(), MultipartError> {
        self.media = true;
        self.file_name = field.file_name().unwrap_or_default().to_owned();
        self.content_type = field.content_type().unwrap_or_default().to_owned();
        self.body = keep.then(BytesMut::new);
        while let Some(chunk) = field.chunk().await? {
            self.size += chunk.len() as u64;
            self.digest.update(&chunk);
            let room = HEAD.saturating_sub(self.head.len()).min(chunk.len());
            self.head.extend(chunk.iter().take(room));
            if let Some(body) = &mut self.body {
                body.extend_from_slice(&chunk);
            }
        }
        Ok(())
    }

    fn into_upload(self) -> Upload {
        Upload {
            at: Timestamp::now(),
            app: String::new(),
            media_id: None,
            kind: self.kind,
            file_name: self.file_name,
            content_type: self.content_type,
            size: self.size,
            sha256: hex(&self.digest.finalize()),
            refused: None,
            head: self.head.freeze(),
            body: self.body.map(BytesMut::freeze),
        }
    }
}

fn check(upload: &Upload) -> Result<(), Refusal> {
    let (_, most, endings) = KINDS
        .iter()
        .find(|(kind, ..)| *kind == upload.kind)
        .ok_or_else(|| Refusal::oapi(40004, "不合法的媒体文件类型"))?;
    if upload.file_name.is_empty() {
        return Err(Refusal::oapi(41005, "缺少多媒体文件数据"));
    }
    if upload.size == 0 {
        return Err(Refusal::oapi(44001, "多媒体文件为空"));
    }
    let (_, ending) = upload.file_name.rsplit_once('.').unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    if !endings.contains(&ending.as_str()) {
        return Err(Refusal::oapi(40005, "不合法的文件类型"));
    }
    if upload.size > *most {
        return Err(Refusal::oapi(40006, "不合法的文件大小"));
    }
    Ok(())
}

/// Refuses a robot message that names a media id that nobody uploaded.
pub(super) fn check_media(world: &World, key: &str, param: &Value) -> Result<(), Refusal> {
    // A picture may also be named by its URL.
    let names: &[(&str, bool)] = match key {
        "sampleAudio" | "sampleFile" => &[("mediaId", false)],
        "sampleVideo" => &[("videoMediaId", false), ("picMediaId", false)],
        "sampleImageMsg" => &[("photoURL", true)],
        "sampleLink" => &[("picUrl", true)],
        _ => &[],
    };
    for (name, may_be_url) in names {
        let value = param.get(*name).and_then(Value::as_str).unwrap_or_default();
        let is_url = *may_be_url && !value.starts_with(['@', '$']);
        if !is_url && !world.media.knows(value) {
            let code = format!("invalid.param.{name}");
            return Err(Refusal::bad(&code, "无效的mediaId"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(kind: &str, file_name: &str, size: u64) -> Upload {
        let mut upload = Seen::default().into_upload();
        kind.clone_into(&mut upload.kind);
        file_name.clone_into(&mut upload.file_name);
        upload.size = size;
        upload
    }

    #[test]
    fn the_table_of_types_sizes_and_endings_is_kept() {
        let rows = [
            ("image", "a.PNG", 20 * MIB, None),
            ("image", "a.png", 20 * MIB + 1, Some("40006")),
            ("image", "a.webp", 1, Some("40005")),
            ("voice", "a.amr", 2 * MIB, None),
            ("voice", "a.amr", 2 * MIB + 1, Some("40006")),
            ("voice", "a.ogg", 1, Some("40005")),
            ("video", "a.mp4", 20 * MIB, None),
            ("file", "a.pdf", 20 * MIB, None),
            ("file", "a.md", 1, Some("40005")),
            ("file", "pdf", 1, Some("40005")),
            ("file", "a.pdf", 0, Some("44001")),
            ("file", "", 5, Some("41005")),
            ("card", "a.pdf", 1, Some("40004")),
        ];
        for (kind, name, size, code) in rows {
            let refused = check(&upload(kind, name, size)).err();
            let refused = refused.map(|refusal| refusal.code);
            assert_eq!(refused.as_deref(), code, "{kind} {name} {size}");
        }
    }
}
