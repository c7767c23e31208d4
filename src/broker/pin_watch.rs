//! Whether an account is still served from here: the broker moves the pin to another bridge when a
//! connection fails for a moment, and says so to nobody.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::consumer::{Plan, info_of, pin_in};
use super::error::BrokerError;
use super::hub::Hub;
use crate::message::AccountName;

/// Between two looks. Two of them and what follows fit well into the time for which a bridge that took
/// over waits for what its predecessor holds.
const LOOK: Duration = Duration::from_secs(1);

type Asking = Pin<Box<dyn Future<Output = Result<Option<String>, BrokerError>> + Send>>;

/// Watches the pin of one account's consumer.
pub struct PinWatch {
    hub: Arc<Hub>,
    plan: Plan,
    /// The pin under which requests came here.
    own: Option<String>,
    /// Another one that was seen at the last look.
    other: Option<String>,
    look_at: Instant,
    asking: Option<Asking>,
}

impl std::fmt::Debug for PinWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinWatch")
            .field("consumer", &self.plan.durable)
            .finish_non_exhaustive()
    }
}

impl PinWatch {
    pub(super) fn new(hub: Arc<Hub>, account: &AccountName) -> Self {
        Self {
            plan: Plan::account(&hub.names, account),
            hub,
            own: None,
            other: None,
            look_at: Instant::now() + LOOK,
            asking: None,
        }
    }

    /// Notes the pin under which the last request came.
    pub fn follow(&mut self, pin: Option<&str>) {
        if self.own.as_deref() != pin {
            self.own = pin.map(str::to_owned);
            self.other = None;
        }
    }

    /// Ends once another bridge is pinned. One that is seen for the first time may be this one's own,
    /// whose first request is still on its way, so it has to be there at two looks. Pending before
    /// this bridge was pinned, and while the broker does not answer. Cancel-safe.
    pub async fn moved(&mut self) {
        loop {
            let Some(asking) = &mut self.asking else {
                sleep_until(self.look_at).await;
                self.asking = Some(Box::pin(ask(Arc::clone(&self.hub), self.plan.clone())));
                continue;
            };
            let present = asking.await;
            self.asking = None;
            self.look_at = Instant::now() + LOOK;
            let Ok(present) = present else { continue };
            let other = present.filter(|pin| self.own.as_ref().is_some_and(|own| own != pin));
            if other.is_some() && other == self.other {
                self.other = None;
                return;
            }
            self.other = other;
        }
    }
}

async fn ask(hub: Arc<Hub>, plan: Plan) -> Result<Option<String>, BrokerError> {
    let info = info_of(&hub, &plan).await?;
    Ok(pin_in(&info).map(str::to_owned))
}
