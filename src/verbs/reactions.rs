//! `react` and `unreact` (oapi.md, section 7).

use std::sync::Arc;

use super::denial::Denial;
use super::desk::Desk;
use crate::dingtalk::api::{Api, Reaction};
use crate::message::{Brake, Kind, ReactionAnswer, ReactionQuestion, SessionEntry};

/// Longest text of a reaction, in characters.
const MAX_TEXT: usize = 64;

/// A reaction that can be asked for, or why it is left out.
enum Readied {
    Go(Arc<Api>, Reaction),
    Dropped(ReactionAnswer),
}

impl Desk {
    /// Puts a reaction on a message.
    pub(super) async fn react(&self, question: ReactionQuestion) -> Result<ReactionAnswer, Denial> {
        match self.ready(question).await? {
            Readied::Dropped(answer) => Ok(answer),
            Readied::Go(api, reaction) => {
                api.react(&reaction).await?;
                Ok(done())
            }
        }
    }

    /// Takes a reaction away.
    pub(super) async fn unreact(
        &self,
        question: ReactionQuestion,
    ) -> Result<ReactionAnswer, Denial> {
        match self.ready(question).await? {
            Readied::Dropped(answer) => Ok(answer),
            Readied::Go(api, reaction) => {
                api.unreact(&reaction).await?;
                Ok(done())
            }
        }
    }

    async fn ready(&self, question: ReactionQuestion) -> Result<Readied, Denial> {
        let ReactionQuestion {
            message,
            text,
            account,
            conversation,
        } = question;
        if text.is_empty() || text.chars().count() > MAX_TEXT {
            return Err(Denial::malformed(format!(
                "`text` must have 1 to {MAX_TEXT} characters"
            )));
        }
        let session = self.session(&SessionEntry::message_key(&message)).await?;
        if let (Some(named), Some(session)) = (&account, &session)
            && *named != session.account
        {
            let message = format!("the message came to account `{}`", session.account);
            return Err(Denial::new(409, "mismatch", message).cure("leave `account` out"));
        }
        let known = session.as_ref().map(|session| session.account.clone());
        let account = self.account(account.or(known))?;
        let api = self.api(&account)?;
        let conversation_id = conversation
            .or_else(|| session.and_then(conversation_of))
            .ok_or_else(|| {
                Denial::new(
                    404,
                    "message",
                    "the chat of the message is not known any more",
                )
                .cure("give `conversation`: `chat.id` of the inbound message")
            })?;
        if self.standings.brake(&account) >= Brake::NoReactions {
            let reason = "reactions are left out to save the quota of the month";
            return Ok(Readied::Dropped(ReactionAnswer {
                done: false,
                reason: Some(reason.to_owned()),
            }));
        }
        // `<clientId>:<msgId>`
        let message_id = message.split_once(':').map(|(_, id)| id.to_owned());
        let reaction = Reaction {
            message_id: message_id.unwrap_or(message),
            conversation_id,
            text,
        };
        Ok(Readied::Go(api, reaction))
    }
}

/// The conversation of a session: in a group it is the chat itself (oapi.md, section 10).
fn conversation_of(session: SessionEntry) -> Option<String> {
    let SessionEntry {
        conversation,
        kind,
        chat,
        ..
    } = session;
    conversation.or_else(|| (kind == Kind::Group).then_some(chat))
}

fn done() -> ReactionAnswer {
    ReactionAnswer {
        done: true,
        reason: None,
    }
}
