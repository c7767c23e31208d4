//! `bind`, `binding` and `unbind`: sessions of services and the chats that they speak to.

use bytes::Bytes;

use super::denial::Denial;
use super::desk::Desk;
use crate::broker::BrokerError;
use crate::message::{BindQuestion, Binding, BindingAnswer, SessionQuestion};

/// Longest session id, in bytes.
const MAX_SESSION: usize = 512;
/// How often a binding that changes under our hands is tried.
const TRIES: usize = 5;

impl Desk {
    /// Binds a session to a chat, whatever it was bound to.
    pub(super) async fn bind(&self, question: BindQuestion) -> Result<BindingAnswer, Denial> {
        let session = checked(question.session)?;
        question.chat.check()?;
        let binding = Binding {
            account: self.account(question.account)?,
            chat: question.chat,
        };
        let value: Bytes = serde_json::to_vec(&binding)
            .map_err(|error| Denial::new(500, "binding", error.to_string()))?
            .into();
        let key = Binding::session_key(&session);
        for _ in 0..TRIES {
            let before = self.bound(&session).await?;
            let written = match &before {
                Some((_, revision)) => self.bindings.update(&key, value.clone(), *revision).await,
                None => self.bindings.create(&key, value.clone()).await,
            };
            match written {
                Err(BrokerError::Conflict) => continue,
                written => written?,
            };
            let (kind, chat) = binding.place();
            let chat = Binding::chat_key(&binding.account, kind, chat);
            let name = Bytes::from(session.clone());
            self.bindings.write(&chat, name).await?;
            return Ok(BindingAnswer {
                session,
                bound: Some(binding),
                previous: before.map(|(before, _)| before),
            });
        }
        Err(BrokerError::Conflict.into())
    }

    /// Tells the chat of a session.
    pub(super) async fn binding(&self, question: SessionQuestion) -> Result<BindingAnswer, Denial> {
        let session = checked(question.session)?;
        match self.bound(&session).await? {
            Some((binding, _)) => Ok(BindingAnswer {
                session,
                bound: Some(binding),
                previous: None,
            }),
            None => Err(
                Denial::new(404, "unbound", "no chat is bound to this session")
                    .cure("bind one with the verb `bind`"),
            ),
        }
    }

    /// Frees a session of its chat; one that is free already is no error.
    pub(super) async fn unbind(&self, question: SessionQuestion) -> Result<BindingAnswer, Denial> {
        let session = checked(question.session)?;
        let before = self.bound(&session).await?;
        if before.is_some() {
            self.bindings
                .delete(&Binding::session_key(&session))
                .await?;
        }
        Ok(BindingAnswer {
            session,
            bound: None,
            previous: before.map(|(before, _)| before),
        })
    }

    /// The chat of a session, and the revision of its binding.
    pub(super) async fn bound(&self, session: &str) -> Result<Option<(Binding, u64)>, BrokerError> {
        let entry = self.bindings.read(&Binding::session_key(session)).await?;
        Ok(entry.and_then(|entry| Some((Binding::decode(&entry.value)?, entry.revision))))
    }
}

fn checked(session: String) -> Result<String, Denial> {
    if session.is_empty() || session.len() > MAX_SESSION {
        return Err(Denial::malformed(format!(
            "`session` must have 1 to {MAX_SESSION} bytes"
        )));
    }
    Ok(session)
}
