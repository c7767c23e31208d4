//! `chat`: what is known of a chat, from what is kept anyway. DingTalk is not asked.

use super::denial::Denial;
use super::desk::{Desk, header_value};
use crate::broker::Shelf;
use crate::message::{
    AccountName, Binding, ChatAnswer, ChatQuestion, ChatRef, Inbound, Kind, SessionEntry,
    Timestamp, header,
};

impl Desk {
    /// Tells what is known of a chat.
    pub(super) async fn chat(&self, question: ChatQuestion) -> Result<ChatAnswer, Denial> {
        let account = self.account(question.account)?;
        let ChatRef { kind, id } = question.chat;
        let mut answer = ChatAnswer {
            kind,
            conversation: None,
            title: None,
            last_message: None,
            last_at: None,
            webhook_until: None,
            session: self.session_bound_to(&account, kind, &id).await?,
            subject: self.subjects.outbound(&account, kind, &id),
            id,
            account,
        };
        self.add_session(&mut answer).await?;
        self.add_newest(&mut answer).await?;
        Ok(answer)
    }

    async fn add_session(&self, answer: &mut ChatAnswer) -> Result<(), Denial> {
        let key = SessionEntry::chat_key(&answer.account, answer.kind, &answer.id);
        if let Some(session) = self.session(&key).await? {
            let alive = session.expires_at > Timestamp::now();
            answer.webhook_until = alive.then_some(session.expires_at);
            answer.conversation = session.conversation;
        }
        Ok(())
    }

    async fn add_newest(&self, answer: &mut ChatAnswer) -> Result<(), Denial> {
        let subject = self
            .subjects
            .inbound(&answer.account, answer.kind, &answer.id);
        let Some(newest) = self.broker.newest(Shelf::Inbound, &subject).await? else {
            return Ok(());
        };
        let id = header_value(&newest.headers, header::MSG_ID);
        answer.last_message = id.map(str::to_owned);
        answer.last_at = Some(newest.stored_at);
        // A body that was too large lies in the object store; the headers say enough.
        if let Ok(inbound) = serde_json::from_slice::<Inbound<'_>>(&newest.payload) {
            answer.last_at = Some(inbound.received_at);
            if let Some(chat) = inbound.chat {
                answer.title = chat.title.map(|title| title.into_owned());
                answer.conversation = Some(chat.id.into_owned());
            }
        }
        Ok(())
    }

    async fn session_bound_to(
        &self,
        account: &AccountName,
        kind: Kind,
        id: &str,
    ) -> Result<Option<String>, Denial> {
        let entry = self
            .bindings
            .read(&Binding::chat_key(account, kind, id))
            .await?;
        let Some(session) = entry.and_then(|entry| String::from_utf8(entry.value.to_vec()).ok())
        else {
            return Ok(None);
        };
        // The session may have been bound to another chat since.
        let bound = self.bound(&session).await?.map(|(binding, _)| binding);
        let still =
            bound.is_some_and(|bound| bound.account == *account && bound.place() == (kind, id));
        Ok(still.then_some(session))
    }
}
