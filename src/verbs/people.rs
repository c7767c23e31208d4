//! `user.by_unionid` (oapi.md, section 10): asked once a day, and about nobody once in five minutes.

use std::time::Duration;

use tracing::debug;

use super::denial::Denial;
use super::desk::Desk;
use crate::message::{PersonAnswer, PersonQuestion, Timestamp};

/// How long a person is known.
const KNOWN: Duration = Duration::from_secs(24 * 3600);
/// How long it is known that there is nobody.
const UNKNOWN: Duration = Duration::from_secs(300);

impl Desk {
    /// Tells who has a unionId.
    pub(super) async fn user_by_union_id(
        &self,
        question: PersonQuestion,
    ) -> Result<PersonAnswer, Denial> {
        let account = self.account(question.account)?;
        let api = self.api(&account)?;
        if question.union_id.is_empty() {
            return Err(Denial::malformed("`union_id` is empty"));
        }
        let key = format!("unionid:{account}:{}", question.union_id);
        let kept = self.cache.read(&key).await?;
        let kept = kept.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        if let Some(answer) = kept {
            return Ok(answer);
        }
        let person = api.user_by_union_id(&question.union_id).await?;
        let answer = PersonAnswer {
            found: person.is_some(),
            external: person.as_ref().map(|person| person.external),
            staff_id: person.map(|person| person.staff_id),
        };
        let life = if answer.found { KNOWN } else { UNKNOWN };
        if let Ok(value) = serde_json::to_vec(&answer) {
            let until = Timestamp::now().after(life);
            if let Err(error) = self.cache.put_until(&key, value.into(), until).await {
                debug!(%error, "a person is not kept, DingTalk is asked again");
            }
        }
        Ok(answer)
    }
}
