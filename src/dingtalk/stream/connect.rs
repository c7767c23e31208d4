//! Opening a connection: grant, socket, TLS, upgrade.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder};

use super::endpoint::Grant;
use super::link::Context;
use super::refusal::{self, Refusal};
use super::upgrade;
use crate::dingtalk::net::{Net, Socket};
use crate::telemetry::{ApiFamily, ApiOutcome};

/// Largest frame and message that is taken; DingTalk's own clients stop at 256 KiB.
const MAX_MESSAGE: usize = 4 << 20;
/// Read at once. Allocated for every connection, so thousands of idle ones set the limit; half of it
/// costs a third of the rate, four times as much gains nothing.
const READ_BUFFER: usize = 16 << 10;
/// Answers that are gathered before they are written without a flush.
const WRITE_BUFFER: usize = 32 << 10;

/// An open connection to the gateway.
pub(super) type Ws = WebSocketStream<Socket>;

/// Waits, asks for a grant and opens its connection.
pub(super) async fn open(context: Arc<Context>, delay: Duration) -> Result<Ws, Refusal> {
    sleep(delay).await;
    let asked = context.endpoint.open(&context.http);
    let grant = match timeout(context.net.timeout(), asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Refusal::retry(
            "the gateway did not answer in time".to_owned(),
        )),
    };
    let outcome = match &grant {
        Ok(_) => ApiOutcome::Accepted,
        Err(refusal) => refusal.outcome(),
    };
    context
        .metrics
        .api_call(&context.account, ApiFamily::Gateway, outcome);
    connect(&context.net, &grant?).await
}

/// Opens the connection that `grant` allows.
async fn connect(net: &Net, grant: &Grant) -> Result<Ws, Refusal> {
    match timeout(net.timeout(), upgrade(net, grant)).await {
        Ok(result) => result,
        Err(_) => Err(Refusal::retry(
            "the connection was granted but could not be opened in time".to_owned(),
        )),
    }
}

async fn upgrade(net: &Net, grant: &Grant) -> Result<Ws, Refusal> {
    let url = grant.url();
    // The error of the parser would repeat the address, ticket included.
    let uri: Uri = url
        .expose()
        .parse()
        .map_err(|_| Refusal::retry("the granted address is no URL".to_owned()))?;
    let socket = net
        .dial(&uri)
        .await
        .map_err(|error| Refusal::retry(refusal::chain(&error)))?;
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let request = ClientRequestBuilder::new(uri);
    // Large, and short-lived.
    let upgraded = Box::pin(upgrade::upgrade(request, socket, limits));
    upgraded
        .await
        .map_err(|error| handshake_failed(&error, grant))
}

fn handshake_failed(error: &tungstenite::Error, grant: &Grant) -> Refusal {
    let reason = match error {
        tungstenite::Error::Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body);
            let body = refusal::without(&body, grant.ticket());
            format!(
                "the WebSocket handshake was answered {} ({}): a proxy in between, or a stale ticket",
                answer.status().as_u16(),
                refusal::excerpt(&body)
            )
        }
        other => format!("the WebSocket handshake failed: {}", refusal::chain(other)),
    };
    Refusal::retry(reason)
}
