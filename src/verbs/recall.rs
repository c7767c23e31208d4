//! `recall` and `read_status` (oapi.md, section 3).

use super::denial::Denial;
use super::desk::Desk;
use crate::message::{MessageRead, ReadStatusAnswer, RecallAnswer, SentQuestion};

/// Keys that DingTalk takes at a time.
const CHUNK: usize = 20;
/// Messages whose readers are looked up at a time: each is a call.
const MAX_READ: usize = 20;

impl Desk {
    /// Takes messages back. Some may stay while others go: each is reported.
    pub(super) async fn recall(&self, question: SentQuestion) -> Result<RecallAnswer, Denial> {
        let sent = self.sent(question).await?;
        let mut answer = RecallAnswer {
            recalled: Vec::new(),
            failed: sent.keyless.clone(),
        };
        let mut denied = None;
        let mut asked = false;
        for chunk in sent.keys.chunks(CHUNK) {
            match sent.api.recall(sent.to(), chunk).await {
                Ok(done) => {
                    asked = true;
                    answer.recalled.extend(done.recalled);
                    answer.failed.extend(done.failed);
                }
                Err(error) => {
                    let why = error.to_string();
                    let keys = chunk.iter().map(|key| (key.clone(), why.clone()));
                    answer.failed.extend(keys);
                    denied.get_or_insert(error);
                }
            }
        }
        match denied {
            Some(error) if !asked => Err(error.into()),
            _ => Ok(answer),
        }
    }

    /// Tells who read messages.
    pub(super) async fn read_status(
        &self,
        question: SentQuestion,
    ) -> Result<ReadStatusAnswer, Denial> {
        let sent = self.sent(question).await?;
        if sent.keys.len() > MAX_READ {
            let count = sent.keys.len();
            return Err(Denial::malformed(format!(
                "{count} messages; at most {MAX_READ} at a time"
            )));
        }
        let mut messages = Vec::with_capacity(sent.keys.len());
        for key in &sent.keys {
            let (kind, chat) = &sent.chat;
            let ask = || async {
                let status = sent.api.read_status(sent.to(), key).await?;
                Ok::<_, Denial>(MessageRead {
                    key: key.clone(),
                    status: status.send_status,
                    read: status.read,
                    unread: status.unread,
                })
            };
            let about = format!("{}:{kind}:{chat}:{key}", sent.account);
            messages.push(self.reads.answer(about, ask).await?);
        }
        Ok(ReadStatusAnswer { messages })
    }
}
