//! The frame of a process that holds a bridge: its log, its signals and its reloads. It knows no
//! command.

use std::future::{Future, pending};
use std::sync::Arc;

use super::exit::Failure;
use crate::bridge::Reload;
use crate::config::Config;
use crate::ops::{Signals, Stop};
use crate::telemetry::init_log;

/// A process that logs and listens to signals.
pub(super) struct Life {
    signals: Signals,
    stop: Stop,
    reload: Reload,
}

impl Life {
    /// Begins it for what was loaded as `config` by `reload`.
    pub(super) fn begin(config: &Config, reload: Reload) -> Result<Self, Failure> {
        init_log(&config.log).map_err(Failure::usage)?;
        let signals = Signals::install().map_err(Failure::failed)?;
        let stop = Stop::new(config.ops.stop_grace);
        Ok(Self {
            signals,
            stop,
            reload,
        })
    }

    /// Works until the work ends; a signal moves only what the work was given.
    pub(super) async fn spend<T, F>(self, work: impl FnOnce(Stop, Reload) -> F) -> T
    where
        F: Future<Output = T>,
    {
        let wanted = Arc::clone(&self.reload.wanted);
        let work = Box::pin(work(self.stop.clone(), self.reload));
        let watching = async {
            self.signals.watch(self.stop, &wanted).await;
            pending().await
        };
        tokio::select! {
            done = work => done,
            never = watching => never,
        }
    }
}
