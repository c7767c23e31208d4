//! Who is let in: decided from the policy of the account before anything visible or billed.

use crate::config::{DirectMessages, Policy};
use crate::dingtalk::payload::Reading;
use crate::message::Kind;

/// Why a message was kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The sender is not among `allowed_users`.
    Sender,
    /// The group is not among `allowed_chats`.
    Chat,
    /// `direct_messages` says no.
    Direct,
    /// The robot was not mentioned where that is required.
    Mention,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Chat => "chat",
            Self::Direct => "direct",
            Self::Mention => "mention",
        }
    }
}

/// Whether `policy` keeps the message out, and why. Events and unknown frames have no sender to
/// judge and always pass.
pub(super) fn keeps_out(policy: &Policy, reading: &Reading<'_>) -> Option<Reason> {
    match reading.kind {
        Kind::Group => group(policy, reading),
        Kind::User => direct(policy, reading),
        Kind::Card => (!sender_allowed(policy, reading)).then_some(Reason::Sender),
        Kind::Event | Kind::Other => None,
    }
}

fn group(policy: &Policy, reading: &Reading<'_>) -> Option<Reason> {
    let among = |chats: &[String]| chats.iter().any(|chat| *chat == reading.chat_key);
    if !policy.allowed_chats.is_empty() && !among(&policy.allowed_chats) {
        return Some(Reason::Chat);
    }
    if !sender_allowed(policy, reading) {
        return Some(Reason::Sender);
    }
    let text = reading
        .message
        .as_ref()
        .map_or("", |message| message.text.as_ref());
    let called = reading.mentioned == Some(true)
        || among(&policy.free_response_chats)
        || policy
            .mention_patterns
            .iter()
            .any(|pattern| pattern.is_match(text));
    (policy.require_mention && !called).then_some(Reason::Mention)
}

fn direct(policy: &Policy, reading: &Reading<'_>) -> Option<Reason> {
    match policy.direct_messages {
        DirectMessages::None => Some(Reason::Direct),
        DirectMessages::All => (!sender_allowed(policy, reading)).then_some(Reason::Sender),
        DirectMessages::Allowed => (!sender_named(policy, reading)).then_some(Reason::Direct),
    }
}

fn sender_allowed(policy: &Policy, reading: &Reading<'_>) -> bool {
    policy.allowed_users.is_empty() || sender_named(policy, reading)
}

/// Whether `allowed_users` names the sender, by staffId or, for outsiders, by any id that
/// DingTalk gives.
fn sender_named(policy: &Policy, reading: &Reading<'_>) -> bool {
    let Some(sender) = &reading.sender else {
        return false;
    };
    [&sender.staff_id, &sender.union_id, &sender.id]
        .into_iter()
        .flatten()
        .any(|id| policy.allowed_users.iter().any(|allowed| allowed == id))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use regex::Regex;

    use super::*;
    use crate::message::{MessageBody, Sender};

    fn said(kind: Kind, chat: &'static str, mentioned: bool) -> Reading<'static> {
        Reading {
            kind,
            chat_key: Cow::Borrowed(chat),
            dedup_id: None,
            chat: None,
            sender: Some(Sender {
                staff_id: Some("ann".into()),
                ..Sender::default()
            }),
            mentioned: Some(mentioned),
            mentions: Vec::new(),
            message: Some(MessageBody {
                message_type: "text".into(),
                text: "hey bot, deploy".into(),
                media: Vec::new(),
                quoted: None,
            }),
            card: None,
            topic: None,
            notice: None,
            sent_at: None,
            webhook: None,
            raw: Cow::Borrowed("{}"),
            readable: true,
        }
    }

    fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
        let mut policy = Policy::default();
        change(&mut policy);
        policy
    }

    #[test]
    fn everybody_is_let_in_by_default() {
        for kind in [
            Kind::Group,
            Kind::User,
            Kind::Card,
            Kind::Event,
            Kind::Other,
        ] {
            assert_eq!(keeps_out(&Policy::default(), &said(kind, "c", false)), None);
        }
    }

    #[test]
    fn a_group_needs_a_mention_a_pattern_or_a_free_chat() {
        let mut strict = policy(|policy| policy.require_mention = true);
        let unmentioned = said(Kind::Group, "c", false);
        assert_eq!(keeps_out(&strict, &unmentioned), Some(Reason::Mention));
        assert_eq!(keeps_out(&strict, &said(Kind::Group, "c", true)), None);
        strict.mention_patterns = vec![Regex::new("^hey bot").unwrap()];
        assert_eq!(keeps_out(&strict, &unmentioned), None);
        strict.mention_patterns.clear();
        strict.free_response_chats = vec!["c".into()];
        assert_eq!(keeps_out(&strict, &unmentioned), None);
    }

    #[test]
    fn lists_name_who_may_speak_and_where() {
        let users = policy(|policy| policy.allowed_users = vec!["bob".into()]);
        for kind in [Kind::Group, Kind::User, Kind::Card] {
            assert_eq!(
                keeps_out(&users, &said(kind, "c", true)),
                Some(Reason::Sender)
            );
        }
        let chats = policy(|policy| policy.allowed_chats = vec!["d".into()]);
        assert_eq!(
            keeps_out(&chats, &said(Kind::Group, "c", true)),
            Some(Reason::Chat)
        );
        assert_eq!(keeps_out(&chats, &said(Kind::Group, "d", true)), None);
    }

    #[test]
    fn direct_messages_follow_their_own_rule() {
        let none = policy(|policy| policy.direct_messages = DirectMessages::None);
        assert_eq!(
            keeps_out(&none, &said(Kind::User, "ann", true)),
            Some(Reason::Direct)
        );
        let mut named = policy(|policy| policy.direct_messages = DirectMessages::Allowed);
        assert_eq!(
            keeps_out(&named, &said(Kind::User, "ann", true)),
            Some(Reason::Direct)
        );
        named.allowed_users = vec!["ann".into()];
        assert_eq!(keeps_out(&named, &said(Kind::User, "ann", true)), None);
    }
}
