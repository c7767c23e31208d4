//! What a request says about a picture, file, voice or video: where its bytes are, and what DingTalk
//! has to be told about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outbound::RequestError;

/// A picture, file, voice or video to send. Exactly one of `object`, `url` and `media_id` is given;
/// never a path: the bridge reads no local file for a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Key in the object store of media (`nats-dingtalk media put`, `nats object put`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Address that the bridge fetches it from, https, at an allowed host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// DingTalk's media id, `@…` or `$…`, of something uploaded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_id: Option<String>,
    /// File name with its extension; default: that of the object or of the address. Required for a
    /// file by `media_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Length of audio and video in milliseconds; default: read from the bytes. Required for audio by
    /// `media_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Cover picture of a video; without one the video is sent as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<Picture>,
}

/// The cover of a video. Exactly one of the keys is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Key in the object store of media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Address that the bridge fetches it from, https, at an allowed host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// DingTalk's media id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_id: Option<String>,
}

/// Where the bytes of a picture, file, voice or video are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaSource<'a> {
    /// Key in the object store of media.
    Object(&'a str),
    /// Address to fetch them from.
    Url(&'a str),
    /// At DingTalk already.
    MediaId(&'a str),
}

impl Attachment {
    /// Where its bytes are.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] unless exactly one place is named.
    pub fn source(&self) -> Result<MediaSource<'_>, RequestError> {
        source([&self.object, &self.url, &self.media_id])
    }
}

impl Picture {
    /// Where its bytes are.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] unless exactly one place is named.
    pub fn source(&self) -> Result<MediaSource<'_>, RequestError> {
        source([&self.object, &self.url, &self.media_id])
    }
}

fn source(keys: [&Option<String>; 3]) -> Result<MediaSource<'_>, RequestError> {
    let found = match keys {
        [Some(key), None, None] => Some(MediaSource::Object(key)),
        [None, Some(url), None] => Some(MediaSource::Url(url)),
        [None, None, Some(id)] => Some(MediaSource::MediaId(id)),
        _ => None,
    };
    let empty = keys.into_iter().flatten().any(String::is_empty);
    found.filter(|_| !empty).ok_or(RequestError::Invalid(
        "media is named by exactly one of object, url and media_id; a local file is put into the object store first, as `nats-dingtalk send --file` does",
    ))
}
