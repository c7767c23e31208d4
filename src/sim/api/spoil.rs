//! What an armed fault does to one call. It knows no route.

use std::future::ready;
use std::io;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::task::yield_now;

use crate::sim::armed::CallFault;
use crate::sim::content::Content;

/// Does the call as the fault says; `None` when nothing is answered.
pub(super) async fn spoiled(fault: CallFault, request: Request, next: Next) -> Option<Response> {
    match fault {
        CallFault::Reject(status, body) => {
            drain(request).await;
            Some(rejection(status, body))
        }
        CallFault::Redirect(to) => {
            drain(request).await;
            Some(redirection(&to))
        }
        CallFault::ApplyThenFail(status) => {
            next.run(request).await;
            Some(rejection(
                status,
                r#"{"code":"system.error","message":"未知的系统错误"}"#.to_owned(),
            ))
        }
        CallFault::Delay(wait) => {
            tokio::time::sleep(wait).await;
            Some(next.run(request).await)
        }
        CallFault::CutBody(after) => Some(shortened(next.run(request).await, after)),
        CallFault::Lengthen(bytes) => Some(lengthened(next.run(request).await, bytes)),
        CallFault::ApplyThenHold | CallFault::ApplyThenCut => {
            next.run(request).await;
            None
        }
        CallFault::Hold | CallFault::CutCall => None,
    }
}

/// Reads a body to its end, so that the client hears the refusal and not a reset.
async fn drain(request: Request) {
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

fn rejection(status: u16, body: String) -> Response {
    let kind = match body.as_bytes().first() {
        Some(b'<') => "text/html",
        _ => "application/json;charset=utf-8",
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn redirection(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// The answer as it is announced, whose body breaks off after so many bytes.
fn shortened(response: Response, after: u64) -> Response {
    let (parts, body) = response.into_parts();
    let left = usize::try_from(after).unwrap_or(usize::MAX);
    let pieces = body.into_data_stream().scan(left, |left, piece| {
        let piece = (*left > 0).then(|| {
            let mut piece = piece.map_err(io::Error::other)?;
            piece.truncate(*left);
            *left -= piece.len();
            Ok::<Bytes, io::Error>(piece)
        });
        ready(piece)
    });
    let end = stream::once(async {
        // What came so far is written before the connection ends.
        yield_now().await;
        Err(io::ErrorKind::ConnectionReset.into())
    });
    Response::from_parts(parts, Body::from_stream(pieces.chain(end)))
}

/// The answer without its length, and with more behind it.
fn lengthened(response: Response, by: u64) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let more = Content::new(Bytes::new(), by).chunks().map(Ok);
    let pieces = body.into_data_stream().chain(stream::iter(more));
    Response::from_parts(parts, Body::from_stream(pieces))
}
