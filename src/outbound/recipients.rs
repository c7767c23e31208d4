//! The users of a canonical subject: listed in its id, or in `to` of the payload where the id is the
//! digest of a long list. Pure.

use serde::Deserialize;

use crate::message::{DeadReason, Kind, SUBJECT_USERS, Target, USER_SEPARATOR, distinct};

use super::resolve::Refusal;

/// The list that a canonical id of kind `user` stands for.
pub(super) fn list(id: &str, to: Option<&Target>) -> Result<Target, Refusal> {
    if is_digest(id) {
        return match to {
            Some(list) if list.address() == Some((Kind::User, id.into())) => Ok(list.clone()),
            _ => Err(Refusal::new(
                DeadReason::Mismatch,
                "the subject holds the digest of a list, and `to` is not the list that gives it; publish the request to <prefix>.outbound.<account>, and the bridge makes the subject",
            )),
        };
    }
    let users = owned(listed(id));
    if users.len() > SUBJECT_USERS {
        return Err(Refusal::new(
            DeadReason::Target,
            format!(
                "{} users in the subject; list more than {SUBJECT_USERS} in `to` and publish to <prefix>.outbound.<account>",
                users.len()
            ),
        ));
    }
    Ok(Target::Users(users))
}

/// The users whom a request on a canonical id of kind `user` is for. One that is no legal request has
/// the id itself.
pub(super) fn addressees(id: &str, payload: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Addressed {
        to: Target,
    }
    if !is_digest(id) {
        return owned(listed(id));
    }
    match serde_json::from_slice(payload) {
        Ok(Addressed {
            to: Target::Users(users),
        }) => once(&users),
        _ => vec![id.to_owned()],
    }
}

/// The users of a list in their order, each once.
pub(super) fn once(users: &[String]) -> Vec<String> {
    owned(distinct(users).into_iter())
}

/// Whether an id of kind `user` is the digest of a long list.
pub(super) fn is_digest(id: &str) -> bool {
    id.starts_with(USER_SEPARATOR)
}

fn listed(id: &str) -> impl Iterator<Item = &str> {
    id.split(USER_SEPARATOR)
}

fn owned<'a>(users: impl Iterator<Item = &'a str>) -> Vec<String> {
    users.map(str::to_owned).collect()
}
