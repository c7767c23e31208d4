//! Names that cross modules. Constructors parse; a value that exists is valid.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Longest account name, in bytes.
const MAX_ACCOUNT: usize = 64;
/// Longest idempotency key, in bytes.
const MAX_REQUEST_ID: usize = 256;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// An account name that cannot be one subject token as it stands.
    #[error(
        "account name `{0}` must be 1 to {MAX_ACCOUNT} characters of a-z, A-Z, 0-9, `_` and `-`"
    )]
    Account(String),
    /// An idempotency key that is empty, too long or holds control characters.
    #[error("request id must be 1 to {MAX_REQUEST_ID} bytes without control characters")]
    Request,
}

/// The name of an account in the configuration, and its token in every subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(transparent)]
pub struct AccountName(
    #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9_-]{1,64}$"))] Arc<str>,
);

impl AccountName {
    /// Takes `name` when it is a legal subject token of at most 64 letters, digits, `_` and `-`.
    ///
    /// # Errors
    /// [`IdError::Account`] otherwise.
    pub fn parse(name: &str) -> Result<Self, IdError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > MAX_ACCOUNT || !name.bytes().all(legal) {
            return Err(IdError::Account(name.chars().take(MAX_ACCOUNT).collect()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AccountName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Borrow<str> for AccountName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(serde::de::Error::custom)
    }
}

/// The idempotency key of an outbound request: one key, one visible message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// Takes `id` when it is 1 to 256 bytes without control characters.
    ///
    /// # Errors
    /// [`IdError::Request`] otherwise.
    pub fn parse(id: &str) -> Result<Self, IdError> {
        if id.is_empty() || id.len() > MAX_REQUEST_ID || id.chars().any(char::is_control) {
            return Err(IdError::Request);
        }
        Ok(Self(id.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::parse(&id).map_err(serde::de::Error::custom)
    }
}
