//! Which token the legacy host takes: the v1.0 one as a rule, its own when it refuses that (oapi.md,
//! section 1.3). The token stands in the address there.

use std::sync::{Mutex, PoisonError};

use super::failure::ApiError;
use super::token::Tokens;
use crate::message::Secret;

/// The legacy host of one account.
#[derive(Debug)]
pub(super) struct Legacy {
    /// Base URL.
    pub(super) url: String,
    /// Its own token.
    tokens: Tokens,
    way: Mutex<Way>,
}

/// Which token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The v1.0 token.
    Current,
    /// The v1.0 token, fetched anew after a refusal.
    Renewed,
    /// The legacy token.
    Legacy,
    /// The legacy token, fetched anew after a refusal.
    LegacyRenewed,
}

/// A token as it was shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// The token.
    pub(super) token: Secret,
    way: Way,
}

impl Legacy {
    pub(super) fn new(url: &str, tokens: Tokens) -> Self {
        Self {
            url: url.to_owned(),
            tokens,
            way: Mutex::new(Way::Current),
        }
    }

    /// The token to show now.
    ///
    /// # Errors
    /// Never [`super::ErrorClass::Ambiguous`]: nothing that sends has left.
    pub(super) async fn token(&self, current: &Tokens) -> Result<Shown, ApiError> {
        let way = self.way();
        let token = match way {
            Way::Current | Way::Renewed => current.valid().await?,
            Way::Legacy | Way::LegacyRenewed => self.tokens.valid().await?,
        };
        Ok(Shown { token, way })
    }

    /// The token was taken.
    pub(super) fn accepted(&self, shown: &Shown) {
        let next = match shown.way {
            Way::Current | Way::Renewed => Way::Current,
            Way::Legacy | Way::LegacyRenewed => Way::Legacy,
        };
        self.turn(shown.way, next);
    }

    /// The token was refused: fetches the next one. Whether there is one that was not tried yet.
    ///
    /// # Errors
    /// As for [`Legacy::token`].
    pub(super) async fn refused(&self, shown: &Shown, current: &Tokens) -> Result<bool, ApiError> {
        let next = match shown.way {
            Way::Current => Way::Renewed,
            Way::Renewed => Way::Legacy,
            Way::Legacy => Way::LegacyRenewed,
            Way::LegacyRenewed => Way::Current,
        };
        if !self.turn(shown.way, next) {
            // Another call was refused before and has chosen already.
            return Ok(true);
        }
        match next {
            Way::Renewed => current.after(&shown.token).await?,
            Way::Legacy => self.tokens.valid().await?,
            Way::LegacyRenewed => self.tokens.after(&shown.token).await?,
            Way::Current => return Ok(false),
        };
        Ok(true)
    }

    /// The legacy token that is kept now, valid or not.
    pub(super) fn kept(&self) -> Option<Secret> {
        self.tokens.kept()
    }

    fn way(&self) -> Way {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes from one way to the next, unless somebody else has left the first.
    fn turn(&self, from: Way, to: Way) -> bool {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let here = *way == from;
        if here {
            *way = to;
        }
        here
    }
}
