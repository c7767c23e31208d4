//! Requests to a session: the chat that somebody bound to it (`<prefix>.api.bind`).

use tokio_util::sync::CancellationToken;

use crate::message::{AccountName, Binding, DeadReason, Request, Target};

use super::desk::{Desk, LetGo, Patience};
use super::resolve::{Job, Refusal};

/// The chat that is bound to `session`.
pub(super) async fn find(
    desk: &Desk,
    session: &str,
    stop: &CancellationToken,
) -> Result<Result<Binding, Refusal>, LetGo> {
    let key = Binding::session_key(session);
    let step = || desk.bindings.read(&key);
    let patience = Patience::Until(stop);
    let entry = desk.insist(patience, "binding lookup", step).await?;
    let binding = entry.and_then(|entry| Binding::decode(&entry.value));
    Ok(binding.ok_or_else(|| {
        Refusal::new(
            DeadReason::Target,
            "no chat is bound to this session; bind one with the verb `bind`",
        )
    }))
}

/// Refuses a request whose session is bound to another account or chat than the subject names.
pub(super) async fn same(
    desk: &Desk,
    account: &AccountName,
    (job, request): (&Job, &Request),
    stop: &CancellationToken,
) -> Result<Result<(), Refusal>, LetGo> {
    let Some(Target::Session(session)) = &request.to else {
        return Ok(Ok(()));
    };
    let binding = match find(desk, session, stop).await? {
        Ok(binding) => binding,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if binding.account != *account {
        return Ok(Err(other_account(&binding, account)));
    }
    if binding.place() != (job.kind, job.chat.as_str()) {
        return Ok(Err(Refusal::new(
            DeadReason::Mismatch,
            "the session is bound to another chat than the subject names; leave `to` out, or publish to a bare subject",
        )));
    }
    Ok(Ok(()))
}

/// The refusal of a session that belongs to another account than the request names.
pub(super) fn other_account(binding: &Binding, named: &AccountName) -> Refusal {
    Refusal::new(
        DeadReason::Mismatch,
        format!(
            "the session is bound to a chat of account `{}`, the request names `{named}`",
            binding.account
        ),
    )
}
