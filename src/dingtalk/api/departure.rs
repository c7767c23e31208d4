//! Until when a call may leave. A process can be stopped, and a machine can sleep, between any two steps
//! before the write: another bridge that took over judges by its clock, so a call that missed its time must
//! not leave any more.

use std::error::Error;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::Request;
use thiserror::Error;
use tokio::time::Instant;

use crate::message::Timestamp;

/// Until when a call may leave, by two clocks: the one stands still while a machine sleeps, the other may be
/// set.
#[derive(Debug, Clone, Copy)]
pub struct LeaveBy {
    running: Instant,
    wall: Timestamp,
}

impl LeaveBy {
    /// From now on for so long.
    pub fn within(span: Duration) -> Self {
        Self {
            running: Instant::now() + span,
            wall: Timestamp::now().after(span),
        }
    }

    fn is_over(self) -> bool {
        Instant::now() > self.running || Timestamp::now() > self.wall
    }

    /// Holds `request` to it: its body is given out in time or never, and nothing of a request is written
    /// before its body.
    pub(super) fn hold(self, request: &mut Request) {
        if let Some(body) = request.body_mut() {
            let inner = mem::take(body);
            *body = reqwest::Body::wrap(Timely { by: self, inner });
        }
    }
}

/// The call missed its time; nothing of it left.
#[derive(Debug, Error)]
#[error("the call could not leave in time")]
pub(super) struct TooLate;

/// A body that is given out in time or not at all.
struct Timely {
    by: LeaveBy,
    inner: reqwest::Body,
}

impl Body for Timely {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.is_end_stream() && self.by.is_over() {
            return Poll::Ready(Some(Err(TooLate.into())));
        }
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
