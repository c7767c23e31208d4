//! The writing half of a connection: answers as they come, as many with one flush as are waiting.

use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use super::answer::Answer;
use super::connect::Ws;
use super::ending::End;
use super::refusal;

/// Answers written with one flush.
const ANSWER_BATCH: usize = 256;
/// A peer that takes nothing for so long is dead.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Writes answers until every sender is gone, which is [`End::Let`], or writing fails.
pub(super) async fn write(
    sink: &mut SplitSink<Ws, Message>,
    waiting: &mut mpsc::Receiver<Answer>,
) -> End {
    let mut batch = Vec::new();
    loop {
        if waiting.recv_many(&mut batch, ANSWER_BATCH).await == 0 {
            return End::Let;
        }
        match timeout(WRITE_LIMIT, write_batch(sink, &mut batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Lost(refusal::chain(&error)),
            Err(_) => return End::Lost("DingTalk takes no answers".to_owned()),
        }
    }
}

async fn write_batch(
    sink: &mut SplitSink<Ws, Message>,
    batch: &mut Vec<Answer>,
) -> Result<(), tungstenite::Error> {
    for answer in batch.drain(..) {
        sink.feed(answer.into_message()).await?;
    }
    sink.flush().await
}
