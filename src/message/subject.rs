//! Subjects of the bridge: how ids become tokens, and which subject means what.

use std::borrow::Cow;
use std::fmt::{self, Write};

use thiserror::Error;

use super::ids::{AccountName, RequestId};

/// What a chat, card, event or unknown frame is called in a subject.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A group chat, by openConversationId.
    Group,
    /// A 1:1 chat, by staffId (an outsider: by conversationId).
    User,
    /// A card, by outTrackId.
    Card,
    /// An EVENT, by eventType.
    Event,
    /// Any other frame, by topic.
    Other,
}

impl Kind {
    /// The token in a subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::User => "user",
            Self::Card => "card",
            Self::Event => "event",
            Self::Other => "other",
        }
    }

    fn parse(token: &str) -> Option<Self> {
        Some(match token {
            "group" => Self::Group,
            "user" => Self::User,
            "card" => Self::Card,
            "event" => Self::Event,
            "other" => Self::Other,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Side of the bridge that a dead letter comes from.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From DingTalk to NATS.
    Inbound,
    /// From NATS to DingTalk.
    Outbound,
}

impl Direction {
    /// The token in a subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Why a subject or token was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// A percent sign that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("`{0}` is not a percent-encoded token")]
    Token(String),
    /// A subject that names no account and chat in the form the bridge serves.
    #[error(
        "subject `{0}` is none of <prefix>.outbound, <prefix>.outbound.<account> and <prefix>.outbound.<account>.<group|user|card>.<id>"
    )]
    Outbound(String),
    /// A subject prefix with empty or illegal tokens.
    #[error("subject prefix `{0}` must be tokens of a-z, A-Z, 0-9, `_` and `-` joined by dots")]
    Prefix(String),
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'=' | b'+' | b'/' | b'@' | b':' | b'$' | b'-')
}

/// Makes one legal subject token of any id: bytes outside `[A-Za-z0-9_=+/@:$-]` and a leading `$`
/// are percent-encoded; an empty id becomes `%`, which decodes to the empty id again.
pub fn encode_token(id: &str) -> Cow<'_, str> {
    if id.is_empty() {
        return Cow::Borrowed("%");
    }
    if !id.starts_with('$') && id.bytes().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let mut token = String::with_capacity(id.len() + 8);
    for (at, byte) in id.bytes().enumerate() {
        if is_plain(byte) && !(at == 0 && byte == b'$') {
            token.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(token, "%{byte:02X}");
        }
    }
    Cow::Owned(token)
}

/// Turns a token back into the exact id.
///
/// # Errors
/// [`SubjectError::Token`] for a broken percent sequence or bytes that are not UTF-8.
pub fn decode_token(token: &str) -> Result<Cow<'_, str>, SubjectError> {
    if token == "%" {
        return Ok(Cow::Borrowed(""));
    }
    if !token.contains('%') {
        return Ok(Cow::Borrowed(token));
    }
    let broken = || SubjectError::Token(token.to_owned());
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = rest.next().map(char::from)?.to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let high = digit().ok_or_else(broken)?;
        let low = digit().ok_or_else(broken)?;
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| broken())
}

/// Where an outbound request was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundAddress {
    /// `<prefix>.outbound`: account and target stand in the payload.
    Bare,
    /// `<prefix>.outbound.<account>`: the target stands in the payload.
    Account(AccountName),
    /// `<prefix>.outbound.<account>.<kind>.<id>`: the subject says it all.
    Canonical {
        /// Account that sends.
        account: AccountName,
        /// Group, user or card.
        kind: Kind,
        /// Exact id, decoded.
        id: String,
    },
}

/// The subjects of one installation: everything stands under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// Takes `prefix` (default `dingtalk`) when every token of it is plain.
    ///
    /// # Errors
    /// [`SubjectError::Prefix`] otherwise.
    pub fn new(prefix: &str) -> Result<Self, SubjectError> {
        let legal = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !prefix.split('.').all(legal) {
            return Err(SubjectError::Prefix(prefix.to_owned()));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `<prefix>.inbound.<account>.<kind>.<id>`.
    pub fn inbound(&self, account: &AccountName, kind: Kind, id: &str) -> String {
        self.chat("inbound", account, kind, id)
    }

    /// `<prefix>.gated.<account>.<kind>.<id>`: what the policy of the account kept out.
    pub fn gated(&self, account: &AccountName, kind: Kind, id: &str) -> String {
        self.chat("gated", account, kind, id)
    }

    /// `<prefix>.outbound.<account>.<kind>.<id>`, canonical.
    pub fn outbound(&self, account: &AccountName, kind: Kind, id: &str) -> String {
        self.chat("outbound", account, kind, id)
    }

    /// `<prefix>.receipt.<account>.<request id>`.
    pub fn receipt(&self, account: &AccountName, request: &RequestId) -> String {
        format!(
            "{}.receipt.{account}.{}",
            self.prefix,
            encode_token(request.as_str())
        )
    }

    /// `<prefix>.dead.<inbound|outbound>.<account>`.
    pub fn dead(&self, direction: Direction, account: &str) -> String {
        format!(
            "{}.dead.{}.{}",
            self.prefix,
            direction.as_str(),
            encode_token(account)
        )
    }

    /// `<prefix>.status.<account>`.
    pub fn status(&self, account: &AccountName) -> String {
        format!("{}.status.{account}", self.prefix)
    }

    /// `<prefix>.<branch>`: the root of one of the branches, such as `outbound`.
    pub fn branch(&self, branch: &str) -> String {
        format!("{}.{branch}", self.prefix)
    }

    /// `<prefix>.<branch>.>`: everything below a branch.
    pub fn all(&self, branch: &str) -> String {
        format!("{}.{branch}.>", self.prefix)
    }

    /// Reads an outbound subject.
    ///
    /// # Errors
    /// [`SubjectError`] when the subject is none of the three outbound forms.
    pub fn parse_outbound(&self, subject: &str) -> Result<OutboundAddress, SubjectError> {
        let refused = || SubjectError::Outbound(subject.to_owned());
        let rest = subject
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_prefix(".outbound"))
            .ok_or_else(refused)?;
        let mut tokens = rest.split('.');
        if tokens.next() != Some("") {
            return Err(refused());
        }
        let Some(account) = tokens.next() else {
            return Ok(OutboundAddress::Bare);
        };
        let account = AccountName::parse(account).map_err(|_| refused())?;
        let Some(kind) = tokens.next() else {
            return Ok(OutboundAddress::Account(account));
        };
        let (Some(kind), Some(id), None) = (Kind::parse(kind), tokens.next(), tokens.next()) else {
            return Err(refused());
        };
        let id = decode_token(id)?.into_owned();
        Ok(OutboundAddress::Canonical { account, kind, id })
    }

    fn chat(&self, branch: &str, account: &AccountName, kind: Kind, id: &str) -> String {
        let token = encode_token(id);
        let length = self.prefix.len() + branch.len() + account.as_str().len() + token.len() + 10;
        let mut subject = String::with_capacity(length);
        for part in [&self.prefix, branch, account.as_str(), kind.as_str()] {
            subject.push_str(part);
            subject.push('.');
        }
        subject.push_str(&token);
        subject
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(name: &str) -> AccountName {
        AccountName::parse(name).unwrap()
    }

    #[test]
    fn a_base64_conversation_id_stays_as_it_is() {
        let subjects = Subjects::new("dingtalk").unwrap();
        assert_eq!(
            subjects.inbound(&account("sales"), Kind::Group, "cid6KeB+/oA=="),
            "dingtalk.inbound.sales.group.cid6KeB+/oA=="
        );
    }

    #[test]
    fn dots_wildcards_spaces_and_a_leading_dollar_are_encoded() {
        assert_eq!(encode_token("a.b*c>d e%f"), "a%2Eb%2Ac%3Ed%20e%25f");
        assert_eq!(encode_token("$:LWCP_v1:$x"), "%24:LWCP_v1:$x");
        assert_eq!(encode_token("/v1.0/im/bot"), "/v1%2E0/im/bot");
    }

    #[test]
    fn an_outbound_subject_says_who_it_is_for() {
        let subjects = Subjects::new("dingtalk").unwrap();
        assert_eq!(
            subjects.parse_outbound("dingtalk.outbound"),
            Ok(OutboundAddress::Bare)
        );
        assert_eq!(
            subjects.parse_outbound("dingtalk.outbound.sales"),
            Ok(OutboundAddress::Account(account("sales")))
        );
        assert_eq!(
            subjects.parse_outbound("dingtalk.outbound.sales.user.a%2Eb"),
            Ok(OutboundAddress::Canonical {
                account: account("sales"),
                kind: Kind::User,
                id: "a.b".into()
            })
        );
        for wrong in [
            "dingtalk.outboundx",
            "dingtalk.outbound.sales.user",
            "dingtalk.outbound.sales.robot.x",
            "dingtalk.outbound.sales.user.a.b",
            "dingtalk.inbound.sales.user.a",
        ] {
            assert!(subjects.parse_outbound(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_id_becomes_one_legal_token_and_comes_back(id in any::<String>()) {
            let token = encode_token(&id);
            prop_assert!(!token.is_empty());
            prop_assert!(!token.starts_with('$'));
            prop_assert!(token.bytes().all(|b| is_plain(b) || b == b'%'));
            prop_assert_eq!(decode_token(&token).unwrap(), id.as_str());
        }

        #[test]
        fn a_canonical_subject_is_read_back_as_it_was_written(id in ".+") {
            let subjects = Subjects::new("dingtalk").unwrap();
            let subject = subjects.outbound(&account("a-1"), Kind::Group, &id);
            let expected = OutboundAddress::Canonical { account: account("a-1"), kind: Kind::Group, id };
            prop_assert_eq!(subjects.parse_outbound(&subject), Ok(expected));
        }
    }
}
