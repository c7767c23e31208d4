//! A simulated DingTalk: the Stream gateway and both API families, with state, faults and a view of
//! everything it saw (stream-protocol.md, section 8; oapi.md, section 11).
//!
//! It shares nothing with the bridge's own DingTalk code but the wire, so that a mistake in one is
//! not confirmed by the other. DingTalk's official SDK clients connect to it. Tests drive it as a
//! library; the `sim` command and other languages drive it over HTTP:
//!
//! | request | what |
//! |---|---|
//! | `GET /sim/state` | counters, apps, addresses |
//! | `GET /sim/sent` · `/sim/calls` · `/sim/connections` | what it saw |
//! | `GET /sim/visible` | the sends that people can still see |
//! | `GET /sim/uploads` · `/sim/emotions` | files that apps uploaded, reactions of robots |
//! | `GET /sim/frames?from=0&limit=1000` | frames with their acks |
//! | `POST /sim/say` | a [`Message`] plus `app`; answers `{"msgId":…}` |
//! | `POST /sim/read` | `{"key":"<processQueryKey>","user"}`: somebody reads a message |
//! | `POST /sim/union` | `{"unionid","user"}`: whose unionId it is |
//! | `POST /sim/month` | a new month: the quota of every app is whole again |
//! | `POST /sim/event` | `{"app","event_type","data":{…}}`; answers `{"eventId":…}` |
//! | `POST /sim/card` | a [`CardPress`] plus `app`; answers `{"frame":n}` |
//! | `GET /sim/cards` · `/sim/card/<outTrackId>` | every card, or one, as a [`CardView`]: state, variables, frames, updates, deliveries, presses with what their answers did |
//! | `POST /sim/push` | a [`Push`], or `{"app","text","link"?}` for a raw text; answers `{"frame":n}` |
//! | `POST /sim/redeliver` | `{"id":"<msgId or eventId>"}`; answers `{"frame":n}` |
//! | `POST /sim/burst` | a [`Burst`]; answers its report |
//! | `POST /sim/faults` | a [`Fault`] or a list of them |
//! | `DELETE /sim/faults` | disarms all |
//!
//! `app` may be left out while there is only one. A message carries files as
//! `"attachments":[{"kind":"picture|file|audio|video","name","base64","size"}]`, and answers one with
//! `"quoted":{…}`; with `size` beyond its bytes, an [`Attachment`] is filled up with generated ones. Paths of
//! faults are those of the API; `/sim-oss/*` are the signed URLs behind download codes.

mod aftermath;
mod api;
mod armed;
mod attachment;
mod bot;
mod burst;
mod cards;
mod carrier;
mod content;
mod control;
mod drive;
mod fault;
mod gateway;
mod inject;
mod ledger;
mod media;
mod observe;
mod options;
mod record;
mod refusal;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

pub use self::aftermath::Emotion;
pub use self::api::{
    CARD_CREATE_AND_DELIVER_PATH, CARD_DELIVER_PATH, CARD_PATH, CARD_SPACES_PATH,
    CARD_STREAMING_PATH, CUSTOM_ROBOT_PATH, CustomRobot, EMOTION_PATH, EMOTION_RECALL_PATH,
    FAILED_EVENTS_PATH, GROUP_READ_STATUS_PATH, GROUP_SEND_PATH, LEGACY_TOKEN_PATH,
    MEDIA_DOWNLOAD_PATH, MEDIA_OBJECT_PATH, MEDIA_UPLOAD_PATH, OLD_CARD_SEND_PATH,
    OLD_CARD_UPDATE_PATH, READ_STATUS_PATH, RECALL_GROUP_PATH, RECALL_USER_PATH, TOKEN_PATH,
    UNION_ID_PATH, USER_SEND_PATH, WEBHOOK_PATH,
};
pub use self::attachment::{Attachment, AttachmentKind};
pub use self::bot::{CardPress, Message};
pub use self::burst::{Burst, BurstReport};
pub use self::cards::{
    CardDelivery, CardFrame, CardKey, CardParams, CardPressed, CardState, CardTemplate, CardUpdate,
    CardView, FrameVerdict, PressAnswer, UpdateSource,
};
pub use self::drive::Push;
pub use self::fault::{Fault, OPEN_PATH};
pub use self::gateway::{BOT_TOPIC, CARD_TOPIC};
pub use self::ledger::{Ack, FrameState, FrameView};
pub use self::media::Upload;
pub use self::options::{AckMatching, CardAgain, LateAck, SimApp, SimOptions, TokenFamilies};
pub use self::record::{Call, Counters, EventFailure, LinkView, Sent, SentVia, Verdict};
pub use self::refusal::{CallRefusal, OpenRefusal};
use self::state::Shared;
pub use self::state::Subscription;

/// Why the simulator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// An address could not be listened on.
    #[error("cannot listen on {addr}: choose another address")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The app is not known.
    #[error("no app `{0}`: add it to the options, or let it connect once with `any_app`")]
    NoSuchApp(String),
    /// No live connection of the app takes this; what was pushed is lost.
    #[error("no connection of `{0}` takes this now")]
    NoLink(String),
    /// No live connection has this number.
    #[error("no connection {0}")]
    NoSuchLink(u64),
    /// A press on this card reaches nobody.
    #[error("card `{0}` does not call back: create it by this app and with callbackType STREAM")]
    SilentCard(String),
    /// Nothing with this id was pushed.
    #[error("nothing with the id `{0}` was pushed")]
    Unknown(String),
    /// Nobody can do this in DingTalk.
    #[error("nobody can send this: {0}")]
    Impossible(&'static str),
    /// What was waited for did not happen.
    #[error("waited in vain for {0}")]
    Patience(String),
}

/// A running simulated DingTalk; dropping it stops it.
pub struct Sim {
    shared: Arc<Shared>,
    _stop_on_drop: DropGuard,
}

impl Sim {
    /// Binds both listeners and starts serving.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(options: SimOptions) -> Result<Self, SimError> {
        let (api, api_addr) = bind(options.api_listen).await?;
        let (gateway, gateway_addr) = bind(options.gateway_listen).await?;
        let api_url = options
            .public_api_url
            .clone()
            .unwrap_or_else(|| format!("http://{api_addr}"));
        let gateway_url = options
            .public_gateway_url
            .clone()
            .unwrap_or_else(|| format!("ws://{gateway_addr}/connect"));
        let shared = Shared::new(options, api_url, gateway_url);
        let guard = shared.stop.clone().drop_guard();
        shared.tasks.spawn(api::serve(Arc::clone(&shared), api));
        shared
            .tasks
            .spawn(gateway::serve(Arc::clone(&shared), gateway));
        let clock = Arc::clone(&shared);
        shared
            .tasks
            .spawn(async move { gateway::run(&clock).await });
        Ok(Self {
            shared,
            _stop_on_drop: guard,
        })
    }

    /// Base URL of the v1.0 family, `http://127.0.0.1:port`.
    pub fn api_url(&self) -> &str {
        &self.shared.api_url
    }

    /// Base URL of the oapi family; the same port.
    pub fn oapi_url(&self) -> &str {
        &self.shared.api_url
    }

    /// URL of the gateway as `connections/open` returns it, `ws://127.0.0.1:port/connect`.
    pub fn gateway_url(&self) -> &str {
        &self.shared.gateway_url
    }

    /// Ends every connection without a goodbye, and waits until all its tasks have ended.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), SimError> {
    let failed = |source| SimError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}
