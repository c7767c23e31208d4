//! What stands before every billed call: the rate of the app on this path, then its month
//! (oapi.md, sections 9.2 to 9.4). Tokens and contacts are not billed.

use std::sync::Arc;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::errors::Refusal;
use super::token::is_json;
use crate::sim::options::{SimOptions, TokenFamilies};
use crate::sim::state::{Family, Shared, World};

impl Shared {
    /// A v1.0 call with a JSON body: token, rate, month and body are looked at in the gateway's order.
    pub(super) fn v1_call(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        path: &str,
        apply: impl FnOnce(&mut World, &Arc<str>, &Value) -> Result<Value, Refusal>,
    ) -> Response {
        self.v1_query(headers, path, |world, app| {
            if !is_json(headers) || body.is_empty() {
                return Err(Refusal::missing_body());
            }
            let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
            apply(world, app, &parsed)
        })
    }

    /// As [`Self::v1_call`], without a body.
    pub(super) fn v1_query(
        &self,
        headers: &HeaderMap,
        path: &str,
        apply: impl FnOnce(&mut World, &Arc<str>) -> Result<Value, Refusal>,
    ) -> Response {
        let outcome = self.app_of_call(headers).and_then(|app| {
            let mut world = self.world();
            world.admit(&self.options, &app, path)?;
            apply(&mut world, &app)
        });
        match outcome {
            Ok(answer) => Json(answer).into_response(),
            Err(refusal) => refusal.into_response(),
        }
    }
}

impl World {
    /// Counts a v1.0 call of the app, or refuses it.
    pub(super) fn admit(
        &mut self,
        options: &SimOptions,
        app: &Arc<str>,
        path: &str,
    ) -> Result<(), Refusal> {
        if !self.within_rate(app, path, options.calls_per_second) {
            return Err(Refusal::qps());
        }
        if !self.bill(app, options.quota) {
            return Err(Refusal::month_used_up());
        }
        Ok(())
    }

    /// Finds the app of an oapi call by its token and counts the call, or refuses it.
    pub(super) fn admit_oapi(
        &mut self,
        options: &SimOptions,
        token: &str,
        path: &str,
    ) -> Result<Arc<str>, Refusal> {
        let app = self.known_oapi(options, token, path)?;
        if !self.bill(&app, options.quota) {
            return Err(Refusal::oapi(90020, "当月API调用次数已达上限"));
        }
        Ok(app)
    }

    /// As [`Self::admit_oapi`], for calls that are not billed.
    pub(super) fn known_oapi(
        &mut self,
        options: &SimOptions,
        token: &str,
        path: &str,
    ) -> Result<Arc<str>, Refusal> {
        if token.is_empty() {
            return Err(Refusal::oapi(41001, "缺少access_token参数"));
        }
        let family = match options.token_families {
            TokenFamilies::Shared => None,
            TokenFamilies::Strict => Some(Family::Oapi),
        };
        let app = self
            .app_of_token(token, family)
            .ok_or_else(|| Refusal::oapi(40014, "不合法的access_token"))?;
        if !self.within_rate(&app, path, options.calls_per_second) {
            return Err(Refusal::oapi(
                90018,
                "您的企业应用调用钉钉开放平台当前接口的所有请求都被暂时禁用了",
            ));
        }
        Ok(app)
    }

    /// Counts one billed call of the app; false when its month is used up.
    fn bill(&mut self, app: &Arc<str>, quota: Option<u32>) -> bool {
        let app = self.apps.get_mut(app);
        app.is_none_or(|app| count(&mut app.billed, quota))
    }

    /// Counts one webhook post of the app; false when its month is used up.
    pub(super) fn bill_webhook(&mut self, app: &Arc<str>, quota: Option<u32>) -> bool {
        let app = self.apps.get_mut(app);
        app.is_none_or(|app| count(&mut app.webhook_billed, quota))
    }
}

/// Counts one more, up to the quota.
fn count(billed: &mut u32, quota: Option<u32>) -> bool {
    let left = quota.is_none_or(|quota| *billed < quota);
    *billed += u32::from(left);
    left
}
