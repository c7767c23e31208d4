//! The ways in which DingTalk says no, as one names them in a test; bodies as captured or documented
//! (stream-protocol.md, section 1.3; oapi.md, section 9).

use serde::{Deserialize, Serialize};

/// How `connections/open` refuses (stream-protocol.md, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenRefusal {
    /// 401 `authFailed`.
    AuthFailed,
    /// 400 `invalidParameter`.
    InvalidParameter,
    /// 403 `QpsLimitForAppkeyAndApi`.
    Qps,
    /// 429 `Throttling`.
    Throttling,
    /// 503 without a body.
    Unavailable,
    /// 400 with the HTML page of a proxy that spoke http to an https port.
    Html,
    /// The ban of an IP: status 1111 in the body.
    IpBan,
    /// 403 `IpNotInWhiteList`.
    IpNotInWhitelist,
}

impl OpenRefusal {
    pub(super) fn answer(self) -> (u16, &'static str) {
        match self {
            Self::AuthFailed => (
                401,
                r#"{"requestid":"ED203550-DBBC-7C58-9504-9FA6D4444F17","code":"authFailed","message":"鉴权失败"}"#,
            ),
            Self::InvalidParameter => (
                400,
                r#"{"code":"invalidParameter","message":"ua invalid","requestId":"abc123"}"#,
            ),
            Self::Qps => (
                403,
                r#"{"code":"Forbidden.AccessDenied.QpsLimitForAppkeyAndApi","message":"您的企业应用调用钉钉开放平台当前接口的所有请求都被暂时禁用了","requestid":"ED203550-DBBC-7C58-9504-9FA6D4444F18"}"#,
            ),
            Self::Throttling => (429, r#"{"code":"Throttling","message":"busy"}"#),
            Self::Unavailable => (503, ""),
            Self::Html => (
                400,
                "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
            ),
            Self::IpBan => (
                403,
                r#"{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"xxx"}"#,
            ),
            Self::IpNotInWhitelist => (
                403,
                r#"{"code":"Forbidden.AccessDenied.IpNotInWhiteList","requestid":"ED203550-DBBC-7C58-9504-9FA6D4444F19","message":"访问ip不在白名单之中"}"#,
            ),
        }
    }
}

/// How an API call is refused before anything is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallRefusal {
    /// 400 `InvalidAuthentication`: the token is not taken, although it lives.
    InvalidToken,
    /// 200 with errcode 40014, the oapi form of the same.
    InvalidTokenOapi,
    /// 403 `AccessTokenPermissionDenied` with the scope that is missing.
    Permission,
    /// 403 `IpNotInWhiteList`.
    IpNotInWhitelist,
    /// 403 `QpsLimitForAppkeyAndApi`.
    Qps,
    /// 403 `QpmLimitForAppkeyAndApi`.
    Qpm,
    /// 403 `QpsLimitForApi`.
    QpsOfApi,
    /// 403 `ApiCountLimitForOrg`: the month is used up.
    MonthlyQuota,
    /// 403 without a body.
    EmptyForbidden,
    /// 429 `system.busy`.
    Busy,
    /// 500 `system.error`: nobody knows whether it was sent.
    SystemError,
    /// 400 `unknown.send.result`: nobody knows whether it was sent.
    UnknownSendResult,
    /// 400 `system.err`: the message is too new for a reaction.
    TooNew,
    /// 503 `serviceBusy`.
    ServiceBusy,
    /// 504 `service.timeout`.
    GatewayTimeout,
    /// The ban of an IP: status 1111 in the body.
    IpBan,
    /// 502 with an HTML page.
    Html,
    /// 400 `chatbotId.notAllow.sendOTO`: a permission of the app.
    NotAllowedToSend,
}

impl CallRefusal {
    pub(super) fn answer(self) -> (u16, String) {
        let forbidden = |what: &str, message: &str| {
            let code = format!("Forbidden.AccessDenied.{what}");
            (403, body(&code, message))
        };
        let blocked = "您的企业应用调用钉钉开放平台当前接口的所有请求都被暂时禁用了";
        match self {
            Self::InvalidToken => (400, body("InvalidAuthentication", "不合法的access_token")),
            Self::InvalidTokenOapi => (
                200,
                r#"{"errcode":40014,"errmsg":"不合法的access_token"}"#.to_owned(),
            ),
            Self::Permission => (
                403,
                concat!(
                    r#"{"code":"Forbidden.AccessDenied.AccessTokenPermissionDenied","#,
                    r#""requestid":"ED203550-DBBC-7C58-9504-9FA6D4444F20","#,
                    r#""message":"应用尚未开通所需的权限：[qyapi_robot_sendmsg]，点击链接申请并开通即可：https://open.dingtalk.com/document/orgapp-server/add-api-permission","#,
                    r#""accessdenieddetail":{"requiredScopes":["qyapi_robot_sendmsg"]}}"#
                )
                .to_owned(),
            ),
            Self::IpNotInWhitelist => forbidden("IpNotInWhiteList", "访问ip不在白名单之中"),
            Self::Qps => forbidden("QpsLimitForAppkeyAndApi", blocked),
            Self::Qpm => forbidden("QpmLimitForAppkeyAndApi", blocked),
            Self::QpsOfApi => forbidden(
                "QpsLimitForApi",
                "您的服务器调用钉钉开放平台当前接口的所有请求都被暂时禁用了",
            ),
            Self::MonthlyQuota => forbidden("ApiCountLimitForOrg", "当月调用次数已达上限"),
            Self::EmptyForbidden => (403, String::new()),
            Self::Busy => (429, body("system.busy", "请求太频繁")),
            Self::SystemError => (500, body("system.error", "未知的系统错误")),
            Self::UnknownSendResult => (400, body("unknown.send.result", "未知的发送结果")),
            Self::TooNew => (400, body("system.err", "系统错误")),
            Self::ServiceBusy => (503, body("serviceBusy", "服务繁忙")),
            Self::GatewayTimeout => (504, body("service.timeout", "服务超时")),
            Self::IpBan => (
                403,
                r#"{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"xxx"}"#.to_owned(),
            ),
            Self::Html => (502, "<html><head><title>502 Bad Gateway</title></head></html>".to_owned()),
            Self::NotAllowedToSend => (400, body("chatbotId.notAllow.sendOTO", "不允许主动发单聊")),
        }
    }
}

fn body(code: &str, message: &str) -> String {
    format!(
        r#"{{"code":"{code}","requestid":"ED203550-DBBC-7C58-9504-9FA6D4444F21","message":"{message}"}}"#
    )
}
