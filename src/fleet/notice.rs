//! What the fleet says on `<prefix>.status.<account>`.

use tracing::warn;

use crate::broker::{Broker, Outgoing};
use crate::message::{AccountName, Status, Subjects, header};

/// Publishes status messages.
#[derive(Debug, Clone)]
pub(super) struct Notices {
    pub(super) broker: Broker,
    pub(super) subjects: Subjects,
}

impl Notices {
    /// Publishes one. The same `id` from several replicas is stored once. One that the broker does
    /// not take is left out: `/ready` and the metrics say the same.
    pub(super) async fn say(&self, account: &AccountName, id: &str, status: &Status) {
        let message = Outgoing {
            subject: self.subjects.status(account),
            headers: vec![
                (header::MSG_ID.into(), id.to_owned()),
                (header::ACCOUNT.into(), account.to_string()),
                (header::CONTENT_TYPE.into(), "application/json".to_owned()),
            ],
            payload: serde_json::to_vec(status).unwrap_or_default().into(),
        };
        if let Err(error) = self.broker.store(&message).await {
            warn!(%error, dingtalk.account = %account, "status not published");
        }
    }
}
