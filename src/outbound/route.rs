//! Which path a message takes: the Open API, or the session webhook of its chat. A table; whether a
//! webhook lives is told by the caller.

use crate::message::Via;

use super::resolve::{Audience, Job};

/// What a job asks of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// Path that was asked for.
    pub(super) asked: Option<Via>,
    /// Why a webhook is better than the Open API, if it is.
    pub(super) reason: Preference,
    /// Whether one webhook reaches everybody that is addressed.
    pub(super) one_chat: bool,
}

/// Why a webhook is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    /// It is not.
    None,
    /// It answers a message, or has to notify somebody.
    Better,
    /// Nothing else reaches an outsider.
    Only,
}

/// The webhook of a chat, as far as a route needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Webhook {
    /// It works.
    Alive,
    /// None is known, or it expired.
    Missing,
    /// It cannot carry this content.
    Unfit,
}

/// The path of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// The robot's Open API.
    OpenApi,
    /// The session webhook.
    Webhook,
    /// None, and why.
    Nowhere(&'static str),
}

impl Wish {
    /// What `job` asks.
    pub(super) fn of(job: &Job) -> Self {
        let (reason, one_chat) = match &job.audience {
            Audience::Outsider => (Preference::Only, true),
            // The webhook of the robot is no session's.
            Audience::OwnGroup => (Preference::None, true),
            Audience::Users(users) if users.len() > 1 => (Preference::None, false),
            Audience::Users(_) | Audience::Group(_) => {
                let better = job.reply_to.is_some() || !job.mention.is_empty();
                let reason = if better {
                    Preference::Better
                } else {
                    Preference::None
                };
                (reason, true)
            }
        };
        Self {
            asked: job.via,
            reason,
            one_chat,
        }
    }

    /// Whether a webhook has to be looked up at all.
    pub(super) fn wants_webhook(self) -> bool {
        let open = self.asked == Some(Via::Openapi) && self.reason != Preference::Only;
        self.one_chat && !open && (self.asked.is_some() || self.reason != Preference::None)
    }

    /// The path now.
    pub(super) fn path(self, webhook: Webhook) -> Path {
        match (self.asked, self.reason, webhook) {
            (Some(Via::Openapi), Preference::Only, _) => Path::Nowhere(
                "somebody without staffId cannot be reached by the Open API; leave `via` out and answer while the session webhook lives",
            ),
            (Some(Via::Openapi), _, _) => Path::OpenApi,
            (Some(Via::Webhook), _, _) if !self.one_chat => Path::Nowhere(
                "a session webhook reaches one chat; leave `via` out for a list of users",
            ),
            (Some(Via::Webhook), _, Webhook::Alive)
            | (_, Preference::Only | Preference::Better, Webhook::Alive) => Path::Webhook,
            (Some(Via::Webhook), _, Webhook::Missing) => Path::Nowhere(
                "no session webhook of this chat works any more; leave `via` out to take the Open API",
            ),
            (Some(Via::Webhook), _, Webhook::Unfit) => Path::Nowhere(
                "a session webhook carries text, markdown, link and action_card only; leave `via` out",
            ),
            (_, Preference::Only, Webhook::Missing) => Path::Nowhere(
                "somebody without staffId is reached by the session webhook only, and it does not work any more; wait until they write again",
            ),
            (_, Preference::Only, Webhook::Unfit) => Path::Nowhere(
                "somebody without staffId is reached by the session webhook only, and it carries text, markdown, link and action_card only",
            ),
            (Some(Via::Card) | None, Preference::Better | Preference::None, _) => Path::OpenApi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(asked: Option<Via>, reason: Preference, webhook: Webhook) -> Path {
        let one_chat = true;
        Wish {
            asked,
            reason,
            one_chat,
        }
        .path(webhook)
    }

    #[test]
    fn the_open_api_is_the_default_and_the_webhook_has_its_reasons() {
        use Preference::{Better, None as Plain, Only};
        use Webhook::{Alive, Missing, Unfit};
        let nowhere = |path| matches!(path, Path::Nowhere(_));
        let hook = Some(Via::Webhook);
        let open = Some(Via::Openapi);
        for (asked, reason, webhook, expected) in [
            (None, Plain, Alive, Path::OpenApi),
            (None, Plain, Missing, Path::OpenApi),
            (None, Plain, Unfit, Path::OpenApi),
            (None, Better, Alive, Path::Webhook),
            (None, Better, Missing, Path::OpenApi),
            (None, Better, Unfit, Path::OpenApi),
            (None, Only, Alive, Path::Webhook),
            (hook, Plain, Alive, Path::Webhook),
            (hook, Better, Alive, Path::Webhook),
            (hook, Only, Alive, Path::Webhook),
            (open, Plain, Alive, Path::OpenApi),
            (open, Better, Alive, Path::OpenApi),
        ] {
            assert_eq!(
                path(asked, reason, webhook),
                expected,
                "{asked:?} {reason:?}"
            );
        }
        for (asked, reason, webhook) in [
            (None, Only, Missing),
            (None, Only, Unfit),
            (hook, Plain, Missing),
            (hook, Plain, Unfit),
            (hook, Better, Missing),
            (hook, Only, Missing),
            (open, Only, Alive),
        ] {
            assert!(
                nowhere(path(asked, reason, webhook)),
                "{asked:?} {reason:?}"
            );
        }
    }

    #[test]
    fn a_list_of_users_never_takes_a_webhook() {
        let list = |asked| Wish {
            asked,
            reason: Preference::None,
            one_chat: false,
        };
        assert_eq!(list(None).path(Webhook::Missing), Path::OpenApi);
        assert!(matches!(
            list(Some(Via::Webhook)).path(Webhook::Missing),
            Path::Nowhere(_)
        ));
        assert!(!list(Some(Via::Webhook)).wants_webhook());
    }

    #[test]
    fn a_webhook_is_looked_up_only_where_it_can_matter() {
        let wish = |asked, reason| Wish {
            asked,
            reason,
            one_chat: true,
        };
        assert!(!wish(None, Preference::None).wants_webhook());
        assert!(!wish(Some(Via::Openapi), Preference::Better).wants_webhook());
        assert!(wish(None, Preference::Better).wants_webhook());
        assert!(wish(None, Preference::Only).wants_webhook());
        assert!(wish(Some(Via::Webhook), Preference::None).wants_webhook());
    }
}
