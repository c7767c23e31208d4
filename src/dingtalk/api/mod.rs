//! DingTalk's Open API: token, sends, media, cards, verbs, errors, pacing. One call at a time; who
//! retries is decided by the caller from [`ApiError::class`].

mod answer;
mod call;
mod card;
mod custom;
mod departure;
mod errors;
mod failure;
mod fetch;
mod http;
mod lanes;
mod legacy;
mod meaning;
mod media;
mod minute;
mod pace;
mod render;
mod robot;
mod send;
mod served;
mod shipment;
mod split;
mod token;
mod webhook;

use reqwest::Url;

pub use card::{CardDraft, CardFrame, CardMentions, CardSpace, Created, FrameEnd};
pub use custom::CustomRobot;
pub use departure::LeaveBy;
pub use failure::{ApiError, ErrorClass};
pub use fetch::{FetchError, Fetched, Fetcher};
pub use http::{Http, HttpError};
pub use meaning::meanings;
pub use media::{Upload, check_upload};
pub use pace::{LaneKey, Learned, Paces, SharedLane, Use};
pub use render::{render_robot, render_webhook};
pub use robot::{Person, Reaction, ReadStatus, Recalled, SentTo};
pub use served::Apis;
pub use shipment::{Accepted, Recipient, Shipment, ShipmentBody};

use self::call::Errand;
use self::errors::Call;
use self::lanes::Lanes;
use self::legacy::Legacy;
use self::minute::Minute;
use self::send::{Receiver, Robot};
use self::token::{Source, Tokens};
use super::json::Members;
use super::payload::SessionWebhook;
use crate::config;
use crate::message::{AccountName, Priority, Secret, Timestamp};
use crate::telemetry::{ApiFamily, Metrics};

/// The Open API as one account.
#[derive(Debug)]
pub struct Api {
    http: Http,
    account: AccountName,
    /// Where webhooks may lead beside DingTalk.
    oapi: Option<Url>,
    speaker: Speaker,
    lanes: Lanes,
    metrics: Metrics,
}

/// Who speaks for an account.
#[derive(Debug)]
enum Speaker {
    App(Box<App>),
    CustomRobot(CustomRobot),
}

/// An app with its robot.
#[derive(Debug)]
struct App {
    client_secret: Secret,
    robot: Robot,
    tokens: Tokens,
    legacy: Legacy,
}

impl Api {
    /// The Open API as `account`, an app.
    pub fn new(
        http: Http,
        dingtalk: &config::Dingtalk,
        name: AccountName,
        account: &config::Account,
        metrics: Metrics,
    ) -> Self {
        let tokens = |source| {
            let (http, metrics) = (http.clone(), metrics.clone());
            Tokens::new(http, (source, dingtalk), name.clone(), account, metrics)
        };
        let app = App {
            client_secret: account.client_secret.clone(),
            robot: Robot {
                api_url: dingtalk.api_url.clone(),
                code: account.robot_code.clone(),
            },
            tokens: tokens(Source::Current),
            legacy: Legacy::new(&dingtalk.oapi_url, tokens(Source::Legacy)),
        };
        let rate = f64::from(account.rate.get());
        metrics.pace(&name, rate);
        let lanes = Lanes::new(http.paces(), &name, rate);
        Self {
            http,
            account: name,
            oapi: Url::parse(&dingtalk.oapi_url).ok(),
            speaker: Speaker::App(Box::new(app)),
            lanes,
            metrics,
        }
    }

    /// The webhook of a custom robot as the account `name`: it posts to one group and can do nothing
    /// else.
    pub fn custom_robot(
        http: Http,
        dingtalk: &config::Dingtalk,
        name: AccountName,
        robot: CustomRobot,
        metrics: Metrics,
    ) -> Self {
        metrics.pace(&name, Minute::rate());
        let lanes = Lanes::new(http.paces(), &name, Minute::rate());
        Self {
            http,
            account: name,
            oapi: Url::parse(&dingtalk.oapi_url).ok(),
            speaker: Speaker::CustomRobot(robot),
            lanes,
            metrics,
        }
    }

    /// Makes everything ready for a call without making it: a valid token, a free slot in the
    /// pace of the family. Waits as long as the pace demands, before those that are less urgent. Not
    /// billed.
    ///
    /// # Errors
    /// Never [`ErrorClass::Ambiguous`]: nothing that sends has left.
    pub async fn prepare(&self, recipient: &Recipient, priority: Priority) -> Result<(), ApiError> {
        let family = family(recipient);
        match recipient {
            Recipient::Webhook(webhook) => {
                self.usable(webhook)?;
                self.slot(family, priority).await;
                // The wait may have been long.
                self.usable(webhook)?;
            }
            Recipient::Users(_) | Recipient::Group(_) => {
                let tokens = &self.app()?.tokens;
                tokens.valid().await?;
                self.slot(family, priority).await;
                tokens.valid().await?;
            }
            Recipient::CustomRobot { .. } => {
                self.robot_webhook()?;
                self.slot(family, priority).await;
            }
        }
        Ok(())
    }

    /// Makes the call once; on an invalid-token answer (not processed) refreshes the token and
    /// makes it once more. What has not left by `leave_by` does not leave. Cancelling it leaves the outcome
    /// unknown.
    ///
    /// # Errors
    /// By [`ErrorClass`]: a call that did not leave in time may be made again. After an ambiguous post of a custom robot the same shipment may be sent
    /// again: DingTalk shows a `msgUuid` once (oapi.md, section 9.5).
    pub async fn send(&self, shipment: &Shipment, leave_by: LeaveBy) -> Result<Accepted, ApiError> {
        let (receiver, (msg_key, msg_param)) = match (&shipment.recipient, &shipment.body) {
            (Recipient::Webhook(webhook), ShipmentBody::Webhook(body)) => {
                return self.post(webhook, body, leave_by).await;
            }
            (Recipient::CustomRobot { msg_uuid }, ShipmentBody::Webhook(body)) => {
                return self.post_as_custom_robot(msg_uuid, body, leave_by).await;
            }
            (Recipient::Users(users), ShipmentBody::Robot { msg_key, msg_param }) => {
                (Receiver::Users(users), (msg_key, msg_param))
            }
            (Recipient::Group(id), ShipmentBody::Robot { msg_key, msg_param }) => {
                (Receiver::Group(id), (msg_key, msg_param))
            }
            (Recipient::Webhook(_) | Recipient::CustomRobot { .. }, ShipmentBody::Robot { .. })
            | (Recipient::Users(_) | Recipient::Group(_), ShipmentBody::Webhook(_)) => {
                return Err(errors::mismatch());
            }
        };
        let robot = &self.app()?.robot;
        let errand = Errand::new(Call::Robot, family(&shipment.recipient)).leaving(leave_by);
        let request = || robot.send(&self.http, receiver, msg_key, msg_param);
        let read = |answer: &Members<'_>| Some(send::accepted(answer));
        self.authorised(errand, &request, &read).await
    }

    /// One post to a session webhook.
    async fn post(
        &self,
        webhook: &SessionWebhook,
        body: &str,
        leave_by: LeaveBy,
    ) -> Result<Accepted, ApiError> {
        let errand = Errand::new(Call::Webhook, ApiFamily::Webhook).leaving(leave_by);
        let url = self.usable(webhook)?;
        let session = url
            .query_pairs()
            .find(|(name, _)| name == "session")
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default();
        let request = webhook::post(&self.http, url, body);
        self.attempt(errand, request, &|_| Some(Accepted::default()))
            .await
            .map_err(|refusal| self.cleaned(refusal, &[webhook.url.expose(), &session]))
    }

    fn usable(&self, webhook: &SessionWebhook) -> Result<Url, ApiError> {
        webhook::usable(webhook, self.oapi.as_ref(), Timestamp::now())
    }

    /// The app that speaks for the account.
    fn app(&self) -> Result<&App, ApiError> {
        match &self.speaker {
            Speaker::App(app) => Ok(app),
            Speaker::CustomRobot(_) => Err(errors::no_app()),
        }
    }

    /// What no error of this account may show.
    fn secrets(&self) -> Vec<Secret> {
        match &self.speaker {
            Speaker::App(app) => {
                let own = Some(app.client_secret.clone());
                let all = [own, app.tokens.kept(), app.legacy.kept()];
                all.into_iter().flatten().collect()
            }
            Speaker::CustomRobot(robot) => robot.secrets(),
        }
    }

    /// Sends a second that may be made now, in the slowest family.
    fn pace(&self) -> f64 {
        match &self.speaker {
            Speaker::App(_) => self.lanes.slowest_send(),
            Speaker::CustomRobot(_) => Minute::rate(),
        }
    }
}

fn family(recipient: &Recipient) -> ApiFamily {
    match recipient {
        Recipient::Users(_) => ApiFamily::SendUser,
        Recipient::Group(_) => ApiFamily::SendGroup,
        Recipient::Webhook(_) => ApiFamily::Webhook,
        Recipient::CustomRobot { .. } => ApiFamily::CustomRobot,
    }
}

#[cfg(test)]
mod tests;
