//! Looking at a broker without changing it: version, JetStream, every stream. It creates nothing.

use async_nats::jetstream::account::Account;
use async_nats::jetstream::stream::Info;

use super::error::{BrokerError, NO_STREAM};
use super::permitted::{self, Permitted};
use super::{Broker, fitness, streams};

/// What a broker looks like to a bridge that would start on it.
#[derive(Debug)]
pub struct Survey {
    /// Version of the server.
    pub version: String,
    /// Why the server cannot be used, when it is too old.
    pub server: Result<(), BrokerError>,
    /// What the bridge's user may do; why that is not told, where the user may not even ask.
    pub permitted: Result<Permitted, BrokerError>,
    /// Why JetStream cannot be used, when it is off or not permitted.
    pub jetstream: Result<(), BrokerError>,
    /// Streams and buckets by name: `true` fits, `false` is missing and would be created, an error
    /// would stop the bridge.
    pub streams: Vec<(String, Result<bool, BrokerError>)>,
}

impl Broker {
    /// Looks at the broker and changes nothing.
    ///
    /// # Errors
    /// [`BrokerError::Away`] when it cannot be reached within 5 s.
    pub async fn survey(&self) -> Result<Survey, BrokerError> {
        let hub = &self.hub;
        hub.ready().await?;
        let mut survey = Survey {
            version: hub.client().server_info().version,
            server: streams::check_server(hub),
            permitted: permitted::ask(hub).await,
            jetstream: Ok(()),
            streams: Vec::new(),
        };
        if let Err(error) = hub.ask::<_, Account>("INFO".to_owned(), &()).await {
            survey.jetstream = Err(error);
            return Ok(survey);
        }
        let hidden = |name: &str| {
            let looking = format!("publish to $JS.API.STREAM.INFO.{name}");
            matches!(&survey.permitted, Ok(Permitted::Lacks(lacks)) if lacks.contains(&looking))
        };
        let mut streams = Vec::new();
        for plan in streams::plans(&hub.names, &hub.settings) {
            let name = plan.config.name.clone();
            if hidden(&name) {
                // Nobody would answer.
                let text = "this user may not look at it".to_owned();
                streams.push((name, Err(BrokerError::Unfit(text))));
                continue;
            }
            let found = hub.ask::<_, Info>(format!("STREAM.INFO.{name}"), &()).await;
            let fits = match found {
                Ok(found) => fitness::check(&plan, &found.config).map(|()| true),
                Err(error) if error.is_code(NO_STREAM) => Ok(false),
                Err(error) => Err(error),
            };
            streams.push((name, fits));
        }
        survey.streams = streams;
        Ok(survey)
    }
}
