//! Where a request on a bare subject belongs: account and chat, from the payload and from what has to
//! be looked up. It moves nothing.

use tokio_util::sync::CancellationToken;

use crate::message::{AccountName, DeadReason, Kind, OutboundAddress, Request, Target};

use super::bound;
use super::desk::{LetGo, Patience};
use super::mover::Mover;
use super::receipt::Published;
use super::resolve::{self, Refusal};
use super::robot;

/// Where a bare request belongs.
pub(super) struct Destination {
    pub(super) account: AccountName,
    pub(super) kind: Kind,
    pub(super) chat: String,
}

/// A refusal, and the account that it is told to when one can be told.
pub(super) struct Astray {
    pub(super) account: Option<AccountName>,
    pub(super) refusal: Refusal,
}

impl Mover {
    pub(super) async fn destination(
        &self,
        published: &Published,
        request: Result<Request, Refusal>,
        stop: &CancellationToken,
    ) -> Result<Result<Destination, Astray>, LetGo> {
        let named = match self.desk.subjects.parse_outbound(&published.subject) {
            Ok(OutboundAddress::Account(account)) => Some(account),
            Ok(OutboundAddress::Bare | OutboundAddress::Canonical { .. }) | Err(_) => None,
        };
        let astray = |account: Option<&AccountName>, refusal| {
            Ok(Err(Astray {
                account: account.cloned(),
                refusal,
            }))
        };
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return astray(named.as_ref(), refusal),
        };
        if let (Some(named), Some(other)) = (&named, &request.account)
            && named != other
        {
            let detail = format!("the payload names account `{other}`, the subject `{named}`");
            let refusal = Refusal::new(DeadReason::Mismatch, detail);
            return astray(Some(named), refusal);
        }
        let account = named.or_else(|| request.account.clone());
        let robot = account.clone().or_else(|| self.served.only());
        if let Some(robot) = robot.filter(|account| self.served.is_robot(account)) {
            return Ok(match &request.to {
                None => Ok(Destination {
                    account: robot,
                    kind: Kind::Group,
                    chat: robot::CHAT.to_owned(),
                }),
                Some(to) if *to == robot::target() => Ok(Destination {
                    account: robot,
                    kind: Kind::Group,
                    chat: robot::CHAT.to_owned(),
                }),
                Some(_) => Err(Astray {
                    refusal: Refusal::new(
                        DeadReason::Target,
                        format!(
                            "account `{robot}` is a custom robot, which speaks in its own group only; leave `to` out"
                        ),
                    ),
                    account: Some(robot),
                }),
            });
        }
        let Some(target) = &request.to else {
            let detail = "a bare subject says nothing about the chat; add `to`, or publish to <prefix>.outbound.<account>.<group|user>.<id>";
            let refusal = Refusal::new(DeadReason::Target, detail);
            return astray(account.as_ref(), refusal);
        };
        let found = match target {
            Target::ReplyTo(inbound) => self.of_reply(inbound, account.clone(), stop).await?,
            Target::Session(session) => self.of_session(session, account.clone(), stop).await?,
            Target::Group(_) | Target::User(_) | Target::Users(_) => {
                self.of_target(target, account.clone(), stop).await?
            }
        };
        match found {
            Ok(destination) => Ok(Ok(destination)),
            Err(refusal) => {
                let told = account.or_else(|| match target {
                    Target::ReplyTo(inbound) => self.served.receiver(inbound),
                    Target::Group(_) | Target::User(_) | Target::Users(_) | Target::Session(_) => {
                        None
                    }
                });
                astray(told.as_ref(), refusal)
            }
        }
    }

    async fn of_reply(
        &self,
        inbound: &str,
        account: Option<AccountName>,
        stop: &CancellationToken,
    ) -> Result<Result<Destination, Refusal>, LetGo> {
        let step = || self.desk.webhooks.of_message(inbound);
        let patience = Patience::Until(stop);
        let session = self.desk.insist(patience, "session lookup", step).await?;
        let Some(session) = session else {
            return Ok(Err(Refusal::new(
                DeadReason::Target,
                "the session of the message in `reply_to` is unknown or expired, and a bare subject does not tell its chat; publish to the `reply.subject` of the message",
            )));
        };
        if let Some(account) = account.or_else(|| self.served.receiver(inbound))
            && account != session.account
        {
            return Ok(Err(Refusal::new(
                DeadReason::Mismatch,
                format!(
                    "the message in `reply_to` came to account `{}`, the request names `{account}`",
                    session.account
                ),
            )));
        }
        Ok(Ok(Destination {
            account: session.account,
            kind: session.kind,
            chat: session.chat,
        }))
    }

    async fn of_session(
        &self,
        session: &str,
        account: Option<AccountName>,
        stop: &CancellationToken,
    ) -> Result<Result<Destination, Refusal>, LetGo> {
        let binding = match bound::find(&self.desk, session, stop).await? {
            Ok(binding) => binding,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(account) = account
            && account != binding.account
        {
            return Ok(Err(bound::other_account(&binding, &account)));
        }
        let (kind, chat) = binding.place();
        Ok(Ok(Destination {
            kind,
            chat: chat.to_owned(),
            account: binding.account,
        }))
    }

    async fn of_target(
        &self,
        target: &Target,
        account: Option<AccountName>,
        stop: &CancellationToken,
    ) -> Result<Result<Destination, Refusal>, LetGo> {
        let (Some(account), Some((kind, chat))) =
            (account.or_else(|| self.served.only()), target.address())
        else {
            return Ok(Err(Refusal::new(
                DeadReason::Target,
                "several accounts are served; add `account`, or publish to <prefix>.outbound.<account>",
            )));
        };
        let known = if resolve::is_conversation(target) {
            let step = || self.desk.webhooks.of_chat(&account, kind, &chat);
            let patience = Patience::Until(stop);
            let session = self.desk.insist(patience, "session lookup", step).await?;
            session.is_some()
        } else {
            false
        };
        if !known && let Err(error) = target.check() {
            return Ok(Err(error.into()));
        }
        Ok(Ok(Destination {
            account,
            kind,
            chat: chat.into_owned(),
        }))
    }
}
