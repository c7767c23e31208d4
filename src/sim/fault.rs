//! The fault vocabulary: what can go wrong with DingTalk, as values that tests and `POST /sim/faults`
//! arm. Faults of the API stay armed until they are used up; faults of connections happen at once.

use serde::{Deserialize, Serialize};

use super::refusal::{CallRefusal, OpenRefusal};

/// Path of the request that opens a connection.
pub const OPEN_PATH: &str = "/v1.0/gateway/connections/open";

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
        /// Path of the API, or `/connect` for the upgrade.
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
    /// Sends the client elsewhere with a 302.
    Redirect {
        /// Path of the API.
        path: String,
        /// `Location`.
        to: String,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Answers, but the connection ends in the middle of the body.
    CutBody {
        /// Path of the API.
        path: String,
        /// Bytes of the body that still come.
        after: u64,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Answers without a `Content-Length` and goes on when the body should be over.
    Lengthen {
        /// Path of the API.
        path: String,
        /// Bytes too many.
        bytes: u64,
        /// How often.
        #[serde(default)]
        times: Option<u32>,
    },
    /// Answers with a refusal of DingTalk's instead of doing anything.
    Refuse {
        /// Path of the API.
        path: String,
        /// In which way.
        how: CallRefusal,
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
    /// Mutes the robot and its webhooks, or a custom robot (errcode 130101).
    Mute {
        /// The app, or the token of the custom robot.
        app: String,
        /// For how long in milliseconds; absent: the configured mute.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Lifts a mute.
    Unmute {
        /// The app, or the token of the custom robot.
        app: String,
    },
    /// Ends every session webhook of the app.
    ExpireWebhook {
        /// The app.
        app: String,
    },
    /// Ends every download code of the app.
    ExpireDownloads {
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
