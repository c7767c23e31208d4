//! The one path of every call: its pace, its token, its judgement, its count, and an error without
//! secrets.

use reqwest::RequestBuilder;

use super::departure::LeaveBy;
use super::errors::{self, Call, Lesson, Refusal};
use super::failure::{ApiError, ErrorClass};
use super::token::Tokens;
use super::{Api, send};
use crate::dingtalk::json::Members;
use crate::message::{Priority, Secret, Timestamp};
use crate::telemetry::{ApiFamily, ApiOutcome};

/// New tokens for one call, each after DingTalk refused the one before.
const RENEWALS: usize = 3;

/// A kind of call: how its answer is judged, as what it is paced and counted, and until when it may leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    /// How its answer is judged.
    pub(super) call: Call,
    /// As what it is paced and counted.
    pub(super) family: ApiFamily,
    /// Until when it may leave, where that matters.
    leave_by: Option<LeaveBy>,
}

impl Errand {
    /// One that may leave at any time.
    pub(super) const fn new(call: Call, family: ApiFamily) -> Self {
        Self {
            call,
            family,
            leave_by: None,
        }
    }

    /// The same, which may leave until then.
    pub(super) const fn leaving(mut self, by: LeaveBy) -> Self {
        self.leave_by = Some(by);
        self
    }
}

/// What a success must hold, and how a caller reads it.
pub(super) type Reader<'r, T> = &'r (dyn Fn(&Members<'_>) -> Option<T> + Sync);
/// Writes the request; called once more whenever one was not processed.
pub(super) type Writer<'w> = &'w (dyn Fn() -> RequestBuilder + Sync);

impl Api {
    /// Waits for a slot in the pace of the family and of the address.
    pub(super) async fn slot(&self, family: ApiFamily, priority: Priority) {
        self.lanes.slot(family, priority).await;
        self.http.address().slot(priority).await;
        self.report_pace();
    }

    /// Makes a call with a token in the header as soon as the pace allows it; see [`Api::authorised`].
    pub(super) async fn ask<T>(
        &self,
        errand: Errand,
        request: Writer<'_>,
        read: Reader<'_, T>,
    ) -> Result<T, ApiError> {
        // No slot is spent on a call that cannot be made.
        self.app()?.tokens.valid().await?;
        self.slot(errand.family, Priority::Normal).await;
        self.authorised(errand, request, read).await
    }

    /// Makes a call once; on an invalid-token answer (not processed) refreshes the token and makes
    /// it once more, and again where the refused token was a new one: the credentials are right then, and
    /// somebody revokes. The pace is the caller's matter. Cancelling it leaves the outcome unknown.
    pub(super) async fn authorised<T>(
        &self,
        errand: Errand,
        request: Writer<'_>,
        read: Reader<'_, T>,
    ) -> Result<T, ApiError> {
        let tokens: &Tokens = &self.app()?.tokens;
        let mut token = tokens.valid().await?;
        let mut refused: Vec<Secret> = Vec::new();
        loop {
            let sent = send::authorised(request(), &token);
            let refusal = match self.attempt(errand, sent, read).await {
                Ok(read) => return Ok(read),
                Err(refusal) => refusal,
            };
            let renewable = refusal.lesson == Lesson::Token
                && refused.len() < RENEWALS
                && !refused.contains(&token);
            if !renewable {
                refused.push(token);
                let refused: Vec<&str> = refused.iter().map(Secret::expose).collect();
                return Err(self.cleaned(refusal, &refused));
            }
            tracing::info!(
                dingtalk.account = %self.account,
                error = %refusal.error.code,
                "access token refused, a new one is fetched"
            );
            let fresh = tokens.after(&token).await?;
            refused.push(std::mem::replace(&mut token, fresh));
        }
    }

    /// Makes one call, judges it, counts it, and lets the pace learn from it.
    pub(super) async fn attempt<T>(
        &self,
        errand: Errand,
        request: RequestBuilder,
        read: Reader<'_, T>,
    ) -> Result<T, Refusal> {
        let call = errand.call;
        let judged = match self.http.call(request, errand.leave_by).await {
            Ok(answer) => {
                let judged = errors::judge(call, &answer, Timestamp::now());
                judged.and_then(|members| {
                    read(&members).ok_or_else(|| errors::without_result(call, "result"))
                })
            }
            Err(lost) => Err(errors::lost(call, &lost)),
        };
        self.settle(errand.family, judged)
    }

    /// Counts a call and lets the pace learn from it.
    fn settle<T>(&self, family: ApiFamily, judged: Result<T, Refusal>) -> Result<T, Refusal> {
        let outcome = judged
            .as_ref()
            .map_or_else(Refusal::outcome, |_| ApiOutcome::Accepted);
        self.metrics.api_call(&self.account, family, outcome);
        // Contacts and tokens are exempt from the quota (oapi.md, section 9.4).
        let exempt = matches!(
            family,
            ApiFamily::Contact | ApiFamily::Token | ApiFamily::Gateway
        );
        if !exempt
            && judged
                .as_ref()
                .map_or_else(|refusal| refusal.billed, |_| true)
        {
            self.metrics.billed(&self.account, family);
        }
        judged.map_err(|mut refusal| {
            if let ErrorClass::Quota(_) = refusal.error.class {
                self.metrics.meter().refuse(&self.account);
            }
            let wait = match refusal.lesson {
                Lesson::Banned(_) => self.http.address().learn(refusal.lesson),
                lesson => self.lanes.learn(family, lesson),
            };
            if let Some(wait) = wait {
                refusal.error.class = ErrorClass::RetryAfter(wait);
                self.report_pace();
            }
            refusal
        })
    }

    /// The error without the secrets of the call and of the account.
    pub(super) fn cleaned(&self, refusal: Refusal, secrets: &[&str]) -> ApiError {
        let own = self.secrets();
        let own = own.iter().map(Secret::expose);
        let secrets: Vec<&str> = secrets.iter().copied().chain(own).collect();
        refusal.error.scrubbed(&secrets)
    }

    /// Shows the pace of the slowest family of sends.
    fn report_pace(&self) {
        self.metrics.pace(&self.account, self.pace());
    }
}
