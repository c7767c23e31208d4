//! DingTalk's Open API: token, sends, errors, pacing. One call at a time; who retries is decided
//! by the caller from [`ApiError::class`].

mod answer;
mod card;
mod errors;
mod failure;
mod fetch;
mod http;
mod media;
mod pace;
mod render;
mod robot;
mod send;
mod served;
mod shipment;
mod split;
mod token;
mod webhook;

use reqwest::{RequestBuilder, Url};

pub use card::{CardDraft, CardFrame, CardMentions, CardSpace, Created, FrameEnd};
pub use failure::{ApiError, ErrorClass};
pub use fetch::{FetchError, Fetched, Fetcher};
pub use http::{Http, HttpError};
pub use media::Upload;
pub use render::{render_robot, render_webhook};
pub use robot::{Person, Reaction, ReadStatus, Recalled, SentTo};
pub use served::Apis;
pub use shipment::{Accepted, Recipient, Shipment, ShipmentBody};

use self::errors::{Call, Lesson, Refusal};
use self::pace::Lane;
use self::send::{Receiver, Robot};
use self::token::Tokens;
use super::payload::SessionWebhook;
use crate::config;
use crate::message::{AccountName, Secret, Timestamp};
use crate::telemetry::{ApiFamily, ApiOutcome, Metrics};

/// The Open API as one account.
#[derive(Debug)]
pub struct Api {
    http: Http,
    account: AccountName,
    client_secret: Secret,
    robot: Robot,
    /// Where webhooks may lead beside DingTalk.
    oapi: Option<Url>,
    tokens: Tokens,
    to_users: Lane,
    to_groups: Lane,
    to_webhooks: Lane,
    metrics: Metrics,
}

impl Api {
    /// The Open API as `account`.
    pub fn new(
        http: Http,
        dingtalk: &config::Dingtalk,
        name: AccountName,
        account: &config::Account,
        metrics: Metrics,
    ) -> Self {
        let rate = f64::from(account.rate.get());
        let tokens = Tokens::new(
            http.clone(),
            dingtalk,
            name.clone(),
            account,
            metrics.clone(),
        );
        metrics.pace(&name, rate);
        Self {
            http,
            account: name,
            client_secret: account.client_secret.clone(),
            robot: Robot {
                api_url: dingtalk.api_url.clone(),
                code: account.robot_code.clone(),
            },
            oapi: Url::parse(&dingtalk.oapi_url).ok(),
            tokens,
            to_users: Lane::new(rate),
            to_groups: Lane::new(rate),
            to_webhooks: Lane::new(rate),
            metrics,
        }
    }

    /// Makes everything ready for a call without making it: a valid token, a free slot in the
    /// pace of the family. Waits as long as the pace demands. Not billed.
    ///
    /// # Errors
    /// Never [`ErrorClass::Ambiguous`]: nothing that sends has left.
    pub async fn prepare(&self, recipient: &Recipient) -> Result<(), ApiError> {
        let lane = self.lane(recipient);
        match recipient {
            Recipient::Webhook(webhook) => {
                self.usable(webhook)?;
                lane.slot().await;
                self.http.address().slot().await;
                // The wait may have been long.
                self.usable(webhook)?;
            }
            Recipient::Users(_) | Recipient::Group(_) => {
                self.tokens.valid().await?;
                lane.slot().await;
                self.http.address().slot().await;
                self.tokens.valid().await?;
            }
        }
        self.report_pace();
        Ok(())
    }

    /// Makes the call once; on an invalid-token answer (not processed) refreshes the token and
    /// makes it once more. Cancelling it leaves the outcome unknown.
    ///
    /// # Errors
    /// By [`ErrorClass`].
    pub async fn send(&self, shipment: &Shipment) -> Result<Accepted, ApiError> {
        let (receiver, (msg_key, msg_param)) = match (&shipment.recipient, &shipment.body) {
            (Recipient::Webhook(webhook), ShipmentBody::Webhook(body)) => {
                return self.post(webhook, body).await;
            }
            (Recipient::Users(users), ShipmentBody::Robot { msg_key, msg_param }) => {
                (Receiver::Users(users), (msg_key, msg_param))
            }
            (Recipient::Group(id), ShipmentBody::Robot { msg_key, msg_param }) => {
                (Receiver::Group(id), (msg_key, msg_param))
            }
            (Recipient::Webhook(_), ShipmentBody::Robot { .. })
            | (Recipient::Users(_) | Recipient::Group(_), ShipmentBody::Webhook(_)) => {
                return Err(errors::mismatch());
            }
        };
        let request = || self.robot.request(&self.http, receiver, msg_key, msg_param);
        let token = self.tokens.valid().await?;
        let first = self.attempt(shipment, request(), &token).await;
        let refusal = match first {
            Ok(accepted) => return Ok(accepted),
            Err(refusal) if refusal.lesson == Lesson::Token => refusal,
            Err(refusal) => return Err(self.cleaned(refusal, &[token.expose()])),
        };
        tracing::info!(
            dingtalk.account = %self.account,
            error = %refusal.error.code,
            "access token refused, a new one is fetched"
        );
        let fresh = self.tokens.after(&token).await?;
        let second = self.attempt(shipment, request(), &fresh).await;
        second.map_err(|refusal| self.cleaned(refusal, &[token.expose(), fresh.expose()]))
    }

    /// One call to the robot API.
    async fn attempt(
        &self,
        shipment: &Shipment,
        request: RequestBuilder,
        token: &Secret,
    ) -> Result<Accepted, Refusal> {
        let request = send::authorised(request, token);
        let judged = match self.http.call(request).await {
            Ok(answer) => {
                let judged = errors::judge(Call::Robot, &answer, Timestamp::now());
                judged.map(|members| send::accepted(&members))
            }
            Err(lost) => Err(errors::lost(Call::Robot, &lost)),
        };
        self.settle(&shipment.recipient, judged)
    }

    /// One post to a session webhook.
    async fn post(&self, webhook: &SessionWebhook, body: &str) -> Result<Accepted, ApiError> {
        let url = self.usable(webhook)?;
        let session = url
            .query_pairs()
            .find(|(name, _)| name == "session")
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default();
        let judged = match self.http.call(webhook::post(&self.http, url, body)).await {
            Ok(answer) => {
                errors::judge(Call::Webhook, &answer, Timestamp::now()).map(|_| Accepted::default())
            }
            Err(lost) => Err(errors::lost(Call::Webhook, &lost)),
        };
        let recipient = Recipient::Webhook(webhook.clone());
        self.settle(&recipient, judged)
            .map_err(|refusal| self.cleaned(refusal, &[webhook.url.expose(), &session]))
    }

    /// Counts a call and lets the pace learn from it.
    fn settle(
        &self,
        recipient: &Recipient,
        judged: Result<Accepted, Refusal>,
    ) -> Result<Accepted, Refusal> {
        let (family, lane) = (family(recipient), self.lane(recipient));
        let outcome = judged
            .as_ref()
            .map_or_else(Refusal::outcome, |_| ApiOutcome::Accepted);
        self.metrics.api_call(&self.account, family, outcome);
        if judged
            .as_ref()
            .map_or_else(|refusal| refusal.error.class.billed(), |_| true)
        {
            self.metrics.billed(&self.account, family);
        }
        judged.map_err(|mut refusal| {
            let lane = match refusal.lesson {
                Lesson::Banned(_) => self.http.address(),
                _ => lane,
            };
            if let Some(wait) = lane.learn(refusal.lesson) {
                refusal.error.class = ErrorClass::RetryAfter(wait);
                self.report_pace();
            }
            refusal
        })
    }

    /// The error without the secrets of the call and of the account.
    fn cleaned(&self, refusal: Refusal, secrets: &[&str]) -> ApiError {
        let kept = self.tokens.kept();
        let own = [Some(&self.client_secret), kept.as_ref()];
        let own = own.into_iter().flatten().map(Secret::expose);
        let secrets: Vec<&str> = secrets.iter().copied().chain(own).collect();
        refusal.error.scrubbed(&secrets)
    }

    fn usable(&self, webhook: &SessionWebhook) -> Result<Url, ApiError> {
        webhook::usable(webhook, self.oapi.as_ref(), Timestamp::now())
    }

    fn lane(&self, recipient: &Recipient) -> &Lane {
        match recipient {
            Recipient::Users(_) => &self.to_users,
            Recipient::Group(_) => &self.to_groups,
            Recipient::Webhook(_) => &self.to_webhooks,
        }
    }

    fn report_pace(&self) {
        let lanes = [&self.to_users, &self.to_groups, &self.to_webhooks];
        let slowest = lanes
            .iter()
            .map(|lane| lane.rate())
            .fold(f64::MAX, f64::min);
        self.metrics.pace(&self.account, slowest);
    }
}

fn family(recipient: &Recipient) -> ApiFamily {
    match recipient {
        Recipient::Users(_) => ApiFamily::SendUser,
        Recipient::Group(_) => ApiFamily::SendGroup,
        Recipient::Webhook(_) => ApiFamily::Webhook,
    }
}

#[cfg(test)]
mod tests;
