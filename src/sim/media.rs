//! Files on both sides: what apps uploaded, and what stands behind the download codes of people's
//! messages. It knows neither HTTP nor message shapes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;
use tokio::time::Instant;

use super::Sim;
use super::content::Content;
use crate::message::Timestamp;

/// One upload to `media/upload`, taken or refused.
#[derive(Debug, Clone, Serialize)]
pub struct Upload {
    /// When its last byte came.
    pub at: Timestamp,
    /// The app that uploaded; empty when the token was not known.
    pub app: String,
    /// Id under which sends name it; absent when it was refused.
    pub media_id: Option<String>,
    /// `type`: `image`, `voice`, `video` or `file`.
    pub kind: String,
    /// Name of the part.
    pub file_name: String,
    /// Content type of the part.
    pub content_type: String,
    /// How many bytes came.
    pub size: u64,
    /// SHA-256 of the bytes in hex.
    pub sha256: String,
    /// Errcode of the refusal; absent when it was taken.
    pub refused: Option<String>,
    /// The first bytes, one KiB at most.
    #[serde(skip)]
    pub head: Bytes,
    /// All bytes, when the options ask for them.
    #[serde(skip)]
    pub body: Option<Bytes>,
}

/// What a download code stands for.
pub(super) struct Code {
    /// The app whose robot got it.
    pub(super) app: Arc<str>,
    /// Name of the object behind it.
    pub(super) object: String,
    pub(super) expires: Instant,
}

/// Uploads, download codes and the objects behind them.
pub(super) struct Media {
    keep: usize,
    uploads: VecDeque<Upload>,
    ids: HashSet<String>,
    codes: HashMap<String, Code>,
    order: VecDeque<String>,
    objects: HashMap<String, Content>,
    key: [u8; 16],
}

impl Media {
    /// Remembers `keep` uploads and download codes.
    pub(super) fn new(keep: usize) -> Self {
        Self {
            keep,
            uploads: VecDeque::new(),
            ids: HashSet::new(),
            codes: HashMap::new(),
            order: VecDeque::new(),
            objects: HashMap::new(),
            key: fastrand::u128(..).to_be_bytes(),
        }
    }

    /// Writes an upload down.
    pub(super) fn log_upload(&mut self, upload: Upload) {
        if self.uploads.len() >= self.keep
            && let Some(oldest) = self.uploads.pop_front()
            && let Some(id) = oldest.media_id
        {
            self.ids.remove(&id);
        }
        self.ids.extend(upload.media_id.clone());
        self.uploads.push_back(upload);
    }

    /// Every upload still remembered, in order.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.iter()
    }

    /// Whether sends may name this media id.
    pub(super) fn knows(&self, media_id: &str) -> bool {
        self.ids.contains(media_id)
    }

    /// Puts a file behind a new download code for the robot of `app`.
    pub(super) fn add_code(
        &mut self,
        app: &Arc<str>,
        content: Content,
        expires: Instant,
    ) -> String {
        if self.order.len() >= self.keep
            && let Some(oldest) = self.order.pop_front()
            && let Some(code) = self.codes.remove(&oldest)
        {
            self.objects.remove(&code.object);
        }
        let code = format!(
            "mIofN{}",
            STANDARD.encode([random(), random(), random()].concat())
        );
        let object = format!("{:032x}.file", fastrand::u128(..));
        self.objects.insert(object.clone(), content);
        self.order.push_back(code.clone());
        let app = Arc::clone(app);
        self.codes.insert(
            code.clone(),
            Code {
                app,
                object,
                expires,
            },
        );
        code
    }

    pub(super) fn code(&self, code: &str) -> Option<&Code> {
        self.codes.get(code)
    }

    /// Ends every download code of the app; signed URLs live on.
    pub(super) fn expire_codes(&mut self, app: &str) {
        let now = Instant::now();
        for code in self.codes.values_mut().filter(|code| *code.app == *app) {
            code.expires = now;
        }
    }

    pub(super) fn object(&self, name: &str) -> Option<&Content> {
        self.objects.get(name)
    }

    /// What a URL of this object is signed with.
    pub(super) fn signature(&self, object: &str, expires: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(format!("GET\n\n\n{expires}\n/{object}").as_bytes());
        Some(STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A new media id, with the beginning that DingTalk gives to this kind (oapi.md, section 5.1).
pub(super) fn new_media_id(kind: &str) -> String {
    let beginning = match kind {
        "image" => "@lADP",
        "voice" => "@lATP",
        "video" => "$iQEL",
        _ => "@lAzP",
    };
    format!("{beginning}{}", URL_SAFE_NO_PAD.encode(random()))
}

fn random() -> [u8; 16] {
    fastrand::u128(..).to_be_bytes()
}

impl Sim {
    /// Every upload, refused ones included, in order.
    pub fn uploads(&self) -> Vec<Upload> {
        self.shared.world().media.uploads().cloned().collect()
    }

    /// The upload that got this media id.
    pub fn upload(&self, media_id: &str) -> Option<Upload> {
        let world = self.shared.world();
        let mut uploads = world.media.uploads();
        let found = uploads.find(|upload| upload.media_id.as_deref() == Some(media_id));
        found.cloned()
    }
}
