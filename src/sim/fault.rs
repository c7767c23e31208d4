//! The fault vocabulary: what can go wrong with DingTalk, as values that tests and `POST /sim/faults`
//! arm. Faults of the API stay armed until they are used up; faults of connections happen at once.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::World;

/// Path of the request that opens a connection.
pub const OPEN_PATH: &str = "/v1.0/gateway/connections/open";

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
    fn answer(self) -> (u16, &'static str) {
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

/// One thing that goes wrong. In JSON it is `{"fault":"reject","path":"/v1.0/…","status":500}`.
///
/// A `path` is exact, or a prefix when it ends in `*`. `times` is how many requests it hits; absent, it
/// stays until the faults are cleared. `link` names one connection by number; absent, the fault hits
/// every live connection of `app`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Answers instead of doing anything.
    Reject {
        /// Path of the API, or `/connect` for the upgrade (there only the status counts).
        path: String,
        /// HTTP status.
        status: u16,
        /// Body as it is: JSON, HTML or nothing.
        #[serde(default)]
        body: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Does it, then answers with an error: the lost-response ambiguity.
    ApplyThenFail {
        /// Path of the API.
        path: String,
        /// HTTP status.
        status: u16,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Does nothing and never answers.
    Hold {
        /// Path of the API.
        path: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Does it and never answers.
    ApplyThenHold {
        /// Path of the API.
        path: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Resets the HTTP connection instead of doing anything.
    CutCall {
        /// Path of the API.
        path: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Does it, then resets the HTTP connection.
    ApplyThenCut {
        /// Path of the API.
        path: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Waits before doing it.
    Delay {
        /// Path of the API.
        path: String,
        /// The wait in milliseconds.
        ms: u64,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Refuses `connections/open`.
    RefuseOpen {
        /// In which way.
        how: OpenRefusal,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Upgrades the next connections and closes them at once: a stall.
    AcceptAndClose {
        /// The app.
        app: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Sends half a frame, then RST.
    Cut {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
    },
    /// Stops reading and writing without FIN; the gateway goes on pushing into it.
    HalfOpen {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
        /// When the gateway notices and drops it, in milliseconds; absent: never.
        #[serde(default)]
        noticed_after_ms: Option<u64>,
    },
    /// Pongs come, pushes do not.
    SilentStall {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
    },
    /// Closes with this code; 1006 closes without a close frame.
    Close {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
        /// Close code.
        code: u16,
    },
    /// Sends a disconnect frame, pushes nothing more, closes after the configured silence.
    Disconnect {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
        /// Whether the frame has no messageId, as the doc form.
        #[serde(default)]
        without_message_id: bool,
        /// `reason`; `persistent connection is timeout` when absent.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Writes a text that is no JSON.
    Garbage {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
    },
    /// Writes a frame of this many bytes.
    Oversize {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
        /// Size of its data.
        bytes: usize,
    },
    /// Writes a text in several WebSocket fragments.
    Fragmented {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
        /// The text of the frame.
        text: String,
        /// How many fragments.
        parts: usize,
    },
    /// Writes a binary frame.
    Binary {
        /// The app.
        app: String,
        /// The connection.
        #[serde(default)]
        link: Option<u64>,
    },
    /// Mutes the robot and its webhooks (errcode 130101).
    Mute {
        /// The app.
        app: String,
        /// For how long in milliseconds; absent: the configured mute.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Lifts a mute.
    Unmute {
        /// The app.
        app: String,
    },
    /// Ends every session webhook of the app.
    ExpireWebhook {
        /// The app.
        app: String,
    },
    /// Ends every token of the app.
    ExpireToken {
        /// The app.
        app: String,
    },
    /// Lists this user as flow-controlled from now on.
    FlowControlUser {
        /// Staff id.
        user: String,
    },
    /// Forgets this user: sends list it as invalid.
    UnknownUser {
        /// Staff id.
        user: String,
    },
}

/// What a fault does to one API call.
#[derive(Debug, Clone)]
pub(super) enum CallFault {
    Reject(u16, String),
    ApplyThenFail(u16),
    Hold,
    ApplyThenHold,
    CutCall,
    ApplyThenCut,
    Delay(Duration),
}

impl CallFault {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reject(..) => "reject",
            Self::ApplyThenFail(_) => "apply_then_fail",
            Self::Hold => "hold",
            Self::ApplyThenHold => "apply_then_hold",
            Self::CutCall => "cut_call",
            Self::ApplyThenCut => "apply_then_cut",
            Self::Delay(_) => "delay",
        }
    }
}

/// What a fault does to the next connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkFault {
    AcceptAndClose,
}

/// A fault that waits for something to hit.
#[derive(Debug)]
pub(super) struct ArmedFault {
    target: Target,
    times: Option<u32>,
}

#[derive(Debug)]
enum Target {
    Call(String, CallFault),
    Upgrade(u16),
    Link(Arc<str>, LinkFault),
}

impl Fault {
    /// The fault as something to arm; `None` when it happens at once.
    pub(super) fn armed(&self) -> Option<ArmedFault> {
        let (path, fault, times) = match self {
            Self::Reject {
                path,
                status,
                times,
                ..
            } if path == "/connect" => {
                return Some(ArmedFault {
                    target: Target::Upgrade(*status),
                    times: *times,
                });
            }
            Self::AcceptAndClose { app, times } => {
                return Some(ArmedFault {
                    target: Target::Link(Arc::from(app.as_str()), LinkFault::AcceptAndClose),
                    times: *times,
                });
            }
            Self::RefuseOpen { how, times } => {
                let (status, body) = how.answer();
                let fault = CallFault::Reject(status, body.to_owned());
                (OPEN_PATH, fault, times)
            }
            Self::Reject {
                path,
                status,
                body,
                times,
            } => (
                path.as_str(),
                CallFault::Reject(*status, body.clone()),
                times,
            ),
            Self::ApplyThenFail {
                path,
                status,
                times,
            } => (path.as_str(), CallFault::ApplyThenFail(*status), times),
            Self::Hold { path, times } => (path.as_str(), CallFault::Hold, times),
            Self::ApplyThenHold { path, times } => (path.as_str(), CallFault::ApplyThenHold, times),
            Self::CutCall { path, times } => (path.as_str(), CallFault::CutCall, times),
            Self::ApplyThenCut { path, times } => (path.as_str(), CallFault::ApplyThenCut, times),
            Self::Delay { path, ms, times } => (
                path.as_str(),
                CallFault::Delay(Duration::from_millis(*ms)),
                times,
            ),
            _ => return None,
        };
        Some(ArmedFault {
            target: Target::Call(path.to_owned(), fault),
            times: *times,
        })
    }
}

impl World {
    /// The first armed fault that hits this path, used once.
    pub(super) fn take_call_fault(&mut self, path: &str) -> Option<CallFault> {
        self.take_fault(|target| match target {
            Target::Call(pattern, fault) if matches(pattern, path) => Some(fault.clone()),
            _ => None,
        })
    }

    pub(super) fn take_upgrade_refusal(&mut self) -> Option<u16> {
        self.take_fault(|target| match target {
            Target::Upgrade(status) => Some(*status),
            _ => None,
        })
    }

    pub(super) fn take_link_fault(&mut self, app: &str, wanted: LinkFault) -> bool {
        self.take_fault(|target| match target {
            Target::Link(for_app, fault) if **for_app == *app && *fault == wanted => Some(()),
            _ => None,
        })
        .is_some()
    }

    fn take_fault<T>(&mut self, pick: impl Fn(&Target) -> Option<T>) -> Option<T> {
        let (at, found) = self
            .faults
            .iter()
            .enumerate()
            .find_map(|(at, fault)| Some((at, pick(&fault.target)?)))?;
        let armed = self.faults.get_mut(at)?;
        let spent = match &mut armed.times {
            Some(times) => {
                *times = times.saturating_sub(1);
                *times == 0
            }
            None => false,
        };
        if spent {
            self.faults.remove(at);
        }
        Some(found)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}
