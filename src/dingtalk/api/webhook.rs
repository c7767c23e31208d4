//! Session webhooks: which ones may be posted to, and the post (oapi.md, section 4.1).

use std::time::Duration;

use reqwest::{RequestBuilder, Url};

use super::failure::{ApiError, ErrorClass};
use super::http::Http;
use crate::dingtalk::payload::SessionWebhook;
use crate::message::{Secret, Timestamp};

/// A webhook is not used so shortly before its end.
const MARGIN: Duration = Duration::from_secs(60);
/// DingTalk's own domains.
const DOMAINS: [&str; 2] = ["dingtalk.com", "dingtalk.io"];

/// Whether `url` leads to DingTalk, encrypted and without detours.
pub(super) fn is_dingtalk(url: &Url) -> bool {
    url.scheme() == "https"
        && url.port_or_known_default() == Some(443)
        && is_dingtalk_host(url.host_str().unwrap_or_default())
}

/// Whether the name of a host is DingTalk's.
pub(super) fn is_dingtalk_host(host: &str) -> bool {
    let own = |domain: &str| {
        let front = host.strip_suffix(domain);
        front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    DOMAINS.into_iter().any(own)
}

/// The URL, when it leads to DingTalk or to the configured `oapi_url`, without detours.
pub(super) fn allowed(url: &Secret, oapi: Option<&Url>) -> Option<Url> {
    let url = Url::parse(url.expose()).ok()?;
    let configured = oapi.is_some_and(|oapi| oapi.origin() == url.origin());
    let plain = url.username().is_empty() && url.password().is_none();
    (plain && (configured || is_dingtalk(&url))).then_some(url)
}

/// The URL of a webhook that may be posted to now.
///
/// The address came in with a message, so it is posted to only when it leads to DingTalk or to the
/// configured `oapi_url`: anything else would let a forged frame reach hosts behind the bridge.
///
/// # Errors
/// [`ErrorClass::WebhookGone`] with the reason.
pub(super) fn usable(
    webhook: &SessionWebhook,
    oapi: Option<&Url>,
    now: Timestamp,
) -> Result<Url, ApiError> {
    let gone = |code: &str, message: &str| ApiError {
        class: ErrorClass::WebhookGone,
        code: code.to_owned(),
        message: message.to_owned(),
        cure: None,
    };
    let forbidden = || {
        gone(
            "webhook-host",
            "the session webhook leads neither to DingTalk nor to dingtalk.oapi_url: not posted to",
        )
    };
    let url = allowed(&webhook.url, oapi).ok_or_else(forbidden)?;
    if webhook.expires_at <= now.after(MARGIN) {
        return Err(gone(
            "webhook-expired",
            "the session webhook is over or about to be",
        ));
    }
    Ok(url)
}

/// The post of `body`, JSON text, to `url`.
pub(super) fn post(http: &Http, url: Url, body: &str) -> RequestBuilder {
    http.client()
        .post(url)
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str, left: u64) -> Result<Url, ApiError> {
        let now = Timestamp::now();
        let webhook = SessionWebhook {
            url: Secret::new(url),
            expires_at: now.after(Duration::from_secs(left)),
        };
        let oapi = Url::parse("http://127.0.0.1:8090").unwrap();
        usable(&webhook, Some(&oapi), now)
    }

    #[test]
    fn only_dingtalk_and_the_configured_host_are_posted_to() {
        for url in [
            "https://oapi.dingtalk.com/robot/sendBySession?session=x",
            "https://OAPI.DINGTALK.COM:443/robot/sendBySession?session=x",
            "https://api.dingtalk.io/robot/sendBySession?session=x",
            "http://127.0.0.1:8090/robot/sendBySession?session=x",
        ] {
            assert!(verdict(url, 3600).is_ok(), "{url}");
        }
        for url in [
            "http://oapi.dingtalk.com/robot/sendBySession?session=CANARY",
            "https://oapi.dingtalk.com:8443/?session=CANARY",
            "https://oapi.dingtalk.com@evil.example/?session=CANARY",
            "https://user@oapi.dingtalk.com/?session=CANARY",
            "https://evildingtalk.com/?session=CANARY",
            "https://dingtalk.com.evil.example/?session=CANARY",
            "http://127.0.0.1:8091/?session=CANARY",
            "https://127.0.0.1:8090/?session=CANARY",
            "http://169.254.169.254/latest/meta-data?session=CANARY",
            "file:///etc/passwd?session=CANARY",
            "CANARY",
            "",
        ] {
            let error = verdict(url, 3600).unwrap_err();
            assert_eq!(error.class, ErrorClass::WebhookGone, "{url}");
            assert_eq!(error.code, "webhook-host", "{url}");
            assert!(!format!("{error:?}{error}").contains("CANARY"), "{url}");
        }
    }

    #[test]
    fn a_webhook_is_not_used_in_its_last_minute() {
        let url = "https://oapi.dingtalk.com/robot/sendBySession?session=x";
        assert_eq!(verdict(url, 60).unwrap_err().code, "webhook-expired");
        assert!(verdict(url, 90).is_ok());
    }
}
