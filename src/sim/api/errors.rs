//! How each API family says no (oapi.md, sections 0, 1.4 and 9): v1.0 with a status and a code,
//! oapi with status 200 and an errcode.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::sim::state::uuid;

/// A refusal of one API call.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) code: String,
    body: Value,
}

impl Refusal {
    /// A v1.0 refusal.
    pub(super) fn v1(status: StatusCode, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            body: json!({"code": code, "requestid": request_id(), "message": message}),
        }
    }

    /// A v1.0 refusal with status 400, which most are.
    pub(super) fn bad(code: &str, message: &str) -> Self {
        Self::v1(StatusCode::BAD_REQUEST, code, message)
    }

    /// An oapi refusal.
    pub(super) fn oapi(errcode: i64, errmsg: &str) -> Self {
        Self {
            status: StatusCode::OK,
            code: errcode.to_string(),
            body: json!({"errcode": errcode, "errmsg": errmsg}),
        }
    }

    pub(super) fn invalid_token() -> Self {
        Self::bad("InvalidAuthentication", "不合法的access_token")
    }

    pub(super) fn qps() -> Self {
        Self::v1(
            StatusCode::FORBIDDEN,
            "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi",
            "您的企业应用调用钉钉开放平台当前接口的所有请求都被暂时禁用了",
        )
    }

    pub(super) fn month_used_up() -> Self {
        Self::v1(
            StatusCode::FORBIDDEN,
            "Forbidden.AccessDenied.ApiCountLimitForOrg",
            "当月调用次数已达上限",
        )
    }

    pub(super) fn missing_body() -> Self {
        Self::bad("Missingbody", "body is mandatory for this action.")
    }

    pub(super) fn not_found() -> Self {
        Self::v1(
            StatusCode::NOT_FOUND,
            "InvalidAction.NotFound",
            "Specified api is not found, please check your url and method.",
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// A request id as v1.0 answers carry it.
pub(super) fn request_id() -> String {
    uuid().to_ascii_uppercase()
}
