//! Downloads of what people sent: a code becomes a signed URL, which gives the bytes to whoever asks
//! plainly (oapi.md, section 5.2).

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::MEDIA_DOWNLOAD_PATH;
use super::errors::{Refusal, request_id};
use super::robot::check_robot;
use crate::sim::content::Content;
use crate::sim::state::{Shared, World};

/// Headers that a signed URL does not bear: they would have to be part of what is signed.
const UNSIGNED: [&str; 3] = [
    "x-acs-dingtalk-access-token",
    "authorization",
    "content-type",
];

pub(super) async fn download(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = MEDIA_DOWNLOAD_PATH;
    shared.v1_call(&headers, &body, path, |world, app, body| {
        check_robot(world, app, body)?;
        let object = object_of(world, app, body)?;
        let url = json!({"downloadUrl": signed_url(&shared, world, object)});
        if shared.options.nested_download_url {
            return Ok(json!({ "data": url }));
        }
        Ok(url)
    })
}

/// The object behind the code, if it is this app's and lives.
fn object_of<'w>(world: &'w World, app: &Arc<str>, body: &Value) -> Result<&'w str, Refusal> {
    let code = body.get("downloadCode").and_then(Value::as_str);
    let code = code.unwrap_or_default();
    if code.is_empty() {
        return Err(Refusal::bad(
            "invalidParameter.robotCode.empty",
            "机器人downloadCode为空",
        ));
    }
    match world.media.code(code) {
        Some(code) if code.app != *app => Err(Refusal::bad(
            "invalidParameter.robotCode.auth",
            "downloadCode和robotCode不匹配",
        )),
        Some(code) if code.expires > Instant::now() => Ok(&code.object),
        _ => Err(Refusal::bad(
            "invalidParameter.robotCode.downloadCode",
            "下载码有误或者已经过期",
        )),
    }
}

fn signed_url(shared: &Shared, world: &World, object: &str) -> String {
    let life = i64::try_from(shared.options.download_url_life.as_millis()).unwrap_or(i64::MAX);
    let expires = (shared.now_millis().saturating_add(life) / 1000).to_string();
    let signature = world.media.signature(object, &expires).unwrap_or_default();
    let query = [
        ("OSSAccessKeyId", "LTAIsim"),
        ("Signature", signature.as_str()),
        ("Expires", expires.as_str()),
    ];
    let base = format!("{}/sim-oss/{object}", shared.api_url);
    Url::parse_with_params(&base, query).map_or(base, String::from)
}

#[derive(Deserialize)]
pub(super) struct Signed {
    #[serde(default, rename = "Expires")]
    expires: String,
    #[serde(default, rename = "Signature")]
    signature: String,
}

pub(super) async fn object(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
) -> Response {
    let world = shared.world();
    let right = world.media.signature(&name, &signed.expires);
    if UNSIGNED.iter().any(|name| headers.contains_key(*name))
        || right.is_none_or(|right| right != signed.signature)
    {
        return denied(
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        );
    }
    let expires = signed.expires.parse::<i64>().unwrap_or_default();
    if shared.now_millis() / 1000 >= expires {
        return denied(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "Request has expired.",
        );
    }
    match world.media.object(&name) {
        Some(content) => bytes(content),
        None => denied(
            StatusCode::NOT_FOUND,
            "NoSuchKey",
            "The specified key does not exist.",
        ),
    }
}

fn bytes(content: &Content) -> Response {
    let chunks = content.chunks().map(Ok::<_, io::Error>);
    let mut response = Response::new(Body::from_stream(stream::iter(chunks)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(content.size()));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::SERVER, HeaderValue::from_static("AliyunOSS"));
    response
}

/// A refusal of the object store, which speaks XML.
fn denied(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{code}</Code>\n  \
         <Message>{message}</Message>\n  <RequestId>{}</RequestId>\n  \
         <HostId>sim-oss</HostId>\n</Error>\n",
        request_id()
    );
    let kind = [(header::CONTENT_TYPE, "application/xml")];
    (status, kind, body).into_response()
}
