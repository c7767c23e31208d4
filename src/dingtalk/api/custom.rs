//! Custom group robots: a webhook in the configuration, signed anew for each post, with an
//! idempotency key (oapi.md, section 4.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use reqwest::{RequestBuilder, Url};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::call::Errand;
use super::departure::LeaveBy;
use super::errors::{self, Call, Refusal};
use super::failure::{ApiError, ErrorClass};
use super::shipment::Accepted;
use super::{Api, Speaker, webhook};
use crate::dingtalk::json::Members;
use crate::message::{Secret, Timestamp};
use crate::telemetry::ApiFamily;

/// Code of all three security settings: keywords, signature, addresses.
const SECURITY: &str = "310000";

const POST: Errand = Errand::new(Call::CustomRobot, ApiFamily::CustomRobot);

/// The webhook of a custom robot, as its group shows it to those who manage the robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRobot {
    /// `https://oapi.dingtalk.com/robot/send?access_token=…`.
    pub url: Secret,
    /// `SEC…`, when the robot wants signed posts.
    pub sign_secret: Option<Secret>,
}

impl CustomRobot {
    /// What no error may show.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let tokens = Url::parse(self.url.expose()).ok();
        let tokens = tokens.iter().flat_map(Url::query_pairs);
        let tokens = tokens.map(|(_, value)| Secret::new(value.into_owned()));
        let whole = [Some(self.url.clone()), self.sign_secret.clone()];
        let all = whole.into_iter().flatten().chain(tokens);
        // A short value would mask innocent words.
        all.filter(|secret| secret.expose().len() >= 6).collect()
    }

    /// The address to post to at `now`.
    fn signed(&self, mut url: Url, now: Timestamp) -> Result<Url, ApiError> {
        if let Some(secret) = &self.sign_secret {
            let timestamp = now.as_millis().to_string();
            let sign = signature(secret, &timestamp).ok_or_else(errors::mismatch)?;
            url.query_pairs_mut()
                .append_pair("timestamp", &timestamp)
                .append_pair("sign", &sign);
        }
        Ok(url)
    }
}

impl Api {
    /// The address of the robot, when the account is one and its address leads to DingTalk.
    pub(super) fn robot_webhook(&self) -> Result<(&CustomRobot, Url), ApiError> {
        let Speaker::CustomRobot(robot) = &self.speaker else {
            return Err(errors::mismatch());
        };
        let url = webhook::allowed(&robot.url, self.oapi.as_ref());
        let url = url.ok_or_else(|| ApiError {
            class: ErrorClass::Permanent,
            code: "webhook-host".to_owned(),
            message: "the webhook of the robot leads neither to DingTalk nor to dingtalk.oapi_url: not posted to".to_owned(),
            cure: Some("copy the webhook from the group settings, 机器人 / Robots; it begins with https://oapi.dingtalk.com/robot/send".to_owned()),
        })?;
        Ok((robot, url))
    }

    /// One post of the custom robot. A signature that DingTalk calls out of date is made once more:
    /// the host may have slept between signing and sending.
    pub(super) async fn post_as_custom_robot(
        &self,
        msg_uuid: &str,
        body: &str,
        leave_by: LeaveBy,
    ) -> Result<Accepted, ApiError> {
        let (robot, url) = self.robot_webhook()?;
        let body = with_uuid(body, msg_uuid).ok_or_else(errors::mismatch)?;
        let post = || -> Result<RequestBuilder, ApiError> {
            let url = robot.signed(url.clone(), Timestamp::now())?;
            Ok(webhook::post(&self.http, url, &body))
        };
        let errand = POST.leaving(leave_by);
        let read = |_: &Members<'_>| Some(Accepted::default());
        let first = self.attempt(errand, post()?, &read).await;
        let judged = match first {
            Err(refusal) if robot.sign_secret.is_some() && out_of_date(&refusal) => {
                self.attempt(errand, post()?, &read).await
            }
            judged => judged,
        };
        judged.map_err(|refusal| self.cleaned(refusal, &[]))
    }
}

fn out_of_date(refusal: &Refusal) -> bool {
    refusal.error.code == SECURITY && refusal.error.message.contains("timestamp")
}

/// The body with the idempotency key; `None` for a body that is no JSON object.
fn with_uuid(body: &str, msg_uuid: &str) -> Option<String> {
    let mut members: Map<String, Value> = serde_json::from_str(body).ok()?;
    members.insert("msgUuid".to_owned(), msg_uuid.into());
    Some(Value::Object(members).to_string())
}

/// `base64(HMAC_SHA256(secret, timestamp + "\n" + secret))`.
fn signature(secret: &Secret, timestamp: &str) -> Option<String> {
    let secret = secret.expose();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{timestamp}\n{secret}").as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_signed_as_the_documented_vector() {
        let robot = CustomRobot {
            url: Secret::new("https://oapi.dingtalk.com/robot/send?access_token=CANARY"),
            sign_secret: Some(Secret::new(
                "SECexample0000000000000000000000000000000000000000000000000000000000",
            )),
        };
        let url = Url::parse(robot.url.expose()).unwrap();
        let now = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(
            robot.signed(url, now).unwrap().query().unwrap(),
            "access_token=CANARY&timestamp=1700000000000\
             &sign=HVIoyxfUnv8ndjWMmIZ7rGFJNxLlRWMVHn6rvUh7qHQ%3D"
        );
        assert!(!format!("{robot:?}").contains("CANARY"));
        let secrets = robot.secrets();
        assert!(secrets.contains(&Secret::new("CANARY")));
    }

    #[test]
    fn a_robot_without_a_secret_is_not_signed() {
        let robot = CustomRobot {
            url: Secret::new("https://oapi.dingtalk.com/robot/send?access_token=x"),
            sign_secret: None,
        };
        let url = Url::parse(robot.url.expose()).unwrap();
        assert_eq!(robot.signed(url.clone(), Timestamp::now()).unwrap(), url);
    }

    #[test]
    fn the_idempotency_key_joins_the_body() {
        let body = with_uuid(r#"{"msgtype":"text","text":{"content":"x"}}"#, "u-1").unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["msgUuid"], "u-1");
        assert_eq!(body["text"]["content"], "x");
        assert!(with_uuid("[]", "u").is_none());
    }
}
