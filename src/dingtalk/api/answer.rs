//! An HTTP answer as it came: status, a bounded body, and how much of it can be read.

use std::borrow::Cow;
use std::time::Duration;

use crate::dingtalk::json::Members;

/// An answer of one of DingTalk's hosts, or of whatever answered in their place.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// The wait that the `Retry-After` header asks for.
    pub(super) retry_after: Option<Duration>,
    /// The body; empty when it broke off.
    pub(super) body: String,
}

/// What a body is.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// A JSON object.
    Object(Members<'a>),
    /// The answer of the firewall to a banned address (oapi.md, section 9.2).
    Banned,
    /// A page for people: a firewall, a proxy, a gateway.
    Html,
    /// Nothing.
    Empty,
    /// Something else.
    Unreadable,
}

impl Answer {
    /// Reads the body. Any `Server` may have written it, so nothing is taken for granted.
    pub(super) fn read(&self) -> Body<'_> {
        let text = self.body.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Body::Empty;
        }
        if text.starts_with('<') {
            return Body::Html;
        }
        match Members::read(text) {
            Some(members) if members.integer("status") == Some(1111) => Body::Banned,
            Some(members) => Body::Object(members),
            None => Body::Unreadable,
        }
    }

    /// Whether the status is a success.
    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The code and words of a refusal inside a JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// DingTalk's code; empty when there is none.
    pub(super) code: String,
    /// DingTalk's words; empty when there are none.
    pub(super) message: String,
    /// Permissions that are missing (`accessdenieddetail.requiredScopes`).
    pub(super) scopes: Vec<String>,
}

impl Words {
    /// Collects what an object says about a failure, in either family's spelling.
    pub(super) fn of(members: &Members<'_>) -> Self {
        let first = |names: &[&str]| {
            let found = names.iter().find_map(|name| members.filled(name));
            found.map(Cow::into_owned).unwrap_or_default()
        };
        let mut code = first(&["code", "errcode", "errorCode", "error"]);
        let mut message = first(&["message", "errmsg", "errorMsg", "error_description", "msg"]);
        // The general authorisation failure says what it is in its sub fields (oapi.md, 9.3).
        if code == "88" {
            code = first(&["sub_code", "subcode"]);
            message = first(&["sub_msg", "submsg", "errmsg"]);
            if code.is_empty() {
                code = "88".to_owned();
            }
        }
        let detail = members
            .value_loose("accessDeniedDetail")
            .and_then(|detail| Members::read(detail.get()));
        let scopes = detail.and_then(|detail| detail.array("requiredScopes"));
        Self {
            code,
            message,
            scopes: scopes
                .unwrap_or_default()
                .into_iter()
                .filter_map(crate::dingtalk::json::text)
                .map(Cow::into_owned)
                .collect(),
        }
    }
}
