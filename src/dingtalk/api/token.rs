//! An access token of one account: fetched once for all who wait, renewed early, renewed by force
//! when DingTalk refuses it (oapi.md, sections 1.1, 1.3 and 1.4).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::errors::{self, Call, Lesson, Refusal};
use super::failure::ApiError;
use super::http::Http;
use crate::config;
use crate::message::{AccountName, Priority, Secret, Timestamp};
use crate::telemetry::{ApiFamily, ApiOutcome, Metrics};

/// How long before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(300);
/// Life of a token when DingTalk does not say (oapi.md, section 1.1).
const LIFE: Duration = Duration::from_secs(7200);
/// Pause after a renewal that failed while the old token still works.
const AGAIN: Duration = Duration::from_secs(20);

/// Where a token comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// `/v1.0/oauth2/accessToken` of the v1.0 API, whose token both families take.
    Current,
    /// `/gettoken` of the legacy API.
    Legacy,
}

/// One access token of one account.
#[derive(Debug)]
pub(super) struct Tokens {
    http: Http,
    source: Source,
    url: String,
    account: AccountName,
    client_id: String,
    client_secret: Secret,
    metrics: Metrics,
    /// One fetch at a time.
    turn: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// Fetches that ended, and how the last one failed: those who waited for it share its end.
    fetches: u64,
    failure: Option<ApiError>,
}

#[derive(Debug, Clone)]
struct Token {
    value: Secret,
    renew_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    pub(super) fn new(
        http: Http,
        (source, dingtalk): (Source, &config::Dingtalk),
        name: AccountName,
        account: &config::Account,
        metrics: Metrics,
    ) -> Self {
        Self {
            http,
            source,
            url: match source {
                Source::Current => format!("{}/v1.0/oauth2/accessToken", dingtalk.api_url),
                Source::Legacy => format!("{}/gettoken", dingtalk.oapi_url),
            },
            account: name,
            client_id: account.client_id.clone(),
            client_secret: account.client_secret.clone(),
            metrics,
            turn: Semaphore::new(1),
            state: Mutex::default(),
        }
    }

    /// A token that is valid as far as the bridge knows.
    ///
    /// # Errors
    /// Never [`super::ErrorClass::Ambiguous`]: nothing that sends has left.
    pub(super) async fn valid(&self) -> Result<Secret, ApiError> {
        self.obtain(|token| Instant::now() < token.renew_at).await
    }

    /// A token other than `refused`, fetched unless somebody else has done so.
    ///
    /// # Errors
    /// As for [`Tokens::valid`].
    pub(super) async fn after(&self, refused: &Secret) -> Result<Secret, ApiError> {
        {
            let mut state = self.state();
            // DingTalk may give the same token again; it is asked all the same, once for all.
            if state
                .token
                .as_ref()
                .is_some_and(|token| token.value == *refused)
            {
                state.token = None;
            }
        }
        self.valid().await
    }

    /// The token that is kept now, valid or not.
    pub(super) fn kept(&self) -> Option<Secret> {
        self.state().token.as_ref().map(|token| token.value.clone())
    }

    async fn obtain(&self, fresh: impl Fn(&Token) -> bool) -> Result<Secret, ApiError> {
        let fetches = {
            let state = self.state();
            if let Some(token) = state.token.as_ref().filter(|token| fresh(token)) {
                return Ok(token.value.clone());
            }
            state.fetches
        };
        // The semaphore is never closed; were it, every caller would fetch for itself.
        let _turn = self.turn.acquire().await;
        {
            let state = self.state();
            if let Some(token) = state.token.as_ref().filter(|token| fresh(token)) {
                return Ok(token.value.clone());
            }
            if let Some(failure) = state.failure.clone().filter(|_| state.fetches != fetches) {
                return Err(failure);
            }
        }
        let fetched = self.fetch().await;
        let mut state = self.state();
        state.fetches += 1;
        state.failure = None;
        match fetched {
            Ok(token) => {
                let value = token.value.clone();
                state.token = Some(token);
                Ok(value)
            }
            Err(error) => match state.token.as_mut() {
                Some(old) if Instant::now() < old.ends_at => {
                    tracing::warn!(
                        dingtalk.account = %self.account,
                        error = %error,
                        "token renewal failed, the old token is used on"
                    );
                    old.renew_at = Instant::now() + AGAIN;
                    Ok(old.value.clone())
                }
                _ => {
                    state.failure = Some(error.clone());
                    Err(error)
                }
            },
        }
    }

    async fn fetch(&self) -> Result<Token, ApiError> {
        self.http.address().slot(Priority::High).await;
        let secret = self.client_secret.expose();
        let asked_at = Instant::now();
        let fetched = match self.http.call(self.request(), None).await {
            Ok(answer) => {
                let judged = errors::judge(Call::Token, &answer, Timestamp::now());
                judged.map(|members| {
                    let (value, life) = match self.source {
                        Source::Current => ("accessToken", "expireIn"),
                        Source::Legacy => ("access_token", "expires_in"),
                    };
                    let value = members.filled(value);
                    let life = members.integer(life);
                    let life = life.and_then(|seconds| u64::try_from(seconds).ok());
                    let life = life.map_or(LIFE, Duration::from_secs).min(LIFE * 12);
                    (value.map(|value| Secret::new(value.into_owned())), life)
                })
            }
            Err(lost) => Err(errors::lost(Call::Token, &lost)),
        };
        let refusal = match fetched {
            Ok((Some(value), life)) => {
                self.count(ApiOutcome::Accepted);
                return Ok(Token {
                    value,
                    // A short life is halved rather than eaten up by the margin.
                    renew_at: asked_at + life.saturating_sub(EARLY).max(life / 2),
                    ends_at: asked_at + life,
                });
            }
            Ok((None, _)) => errors::without_result(Call::Token, "access token"),
            Err(refusal) => refusal,
        };
        self.learn(&refusal);
        Err(refusal.error.scrubbed(&[secret]))
    }

    fn request(&self) -> RequestBuilder {
        let (id, secret) = (self.client_id.as_str(), self.client_secret.expose());
        let client = self.http.client();
        match self.source {
            Source::Current => client
                .post(&self.url)
                .json(&json!({ "appKey": id, "appSecret": secret })),
            // The legacy API knows no other place for the secret than the address.
            Source::Legacy => client
                .get(&self.url)
                .query(&[("appkey", id), ("appsecret", secret)]),
        }
    }

    fn learn(&self, refusal: &Refusal) {
        if let Lesson::Banned(_) = refusal.lesson {
            self.http.address().learn(refusal.lesson);
        }
        self.count(refusal.outcome());
    }

    fn count(&self, outcome: ApiOutcome) {
        self.metrics
            .api_call(&self.account, ApiFamily::Token, outcome);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
