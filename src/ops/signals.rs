//! What the operating system tells the process. It does not know what the process does about it.

use std::io;

use tokio::sync::Notify;

use super::stop::Stop;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop, one stage further each time.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals of the process from the moment they are installed.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from the system; from now on none of them ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses to register them.
    #[cfg(unix)]
    pub fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Takes Ctrl-C over from the system; there is no signal to reload.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(unix))]
    pub fn install() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal. Cancel-safe.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// The next Ctrl-C. Cancel-safe.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }

    /// Turns signals into stages of `stop` and into notices to `reload`, for ever.
    pub async fn watch(mut self, stop: Stop, reload: &Notify) {
        loop {
            match self.next().await {
                Signal::Stop => {
                    tracing::info!(
                        stage = if stop.drain.is_cancelled() {
                            "abort"
                        } else {
                            "drain"
                        },
                        "stop signal received"
                    );
                    stop.advance();
                }
                Signal::Reload => {
                    tracing::info!("reload signal received");
                    reload.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn send(signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &std::process::id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// One test, because a signal reaches every receiver of the process.
    #[tokio::test]
    async fn signals_reload_then_drain_then_abort() {
        let signals = Signals::install().unwrap();
        let stop = Stop::new(Duration::from_secs(60));
        let reload = Notify::new();
        let steps = async {
            send("-HUP");
            reload.notified().await;
            assert!(!stop.drain.is_cancelled());
            send("-TERM");
            stop.drain.cancelled().await;
            assert!(!stop.was_cut_short());
            send("-INT");
            stop.abort.cancelled().await;
        };
        let within = async {
            tokio::select! {
                () = signals.watch(stop.clone(), &reload) => false,
                () = steps => true,
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(10), within).await;
        assert_eq!(done, Ok(true));
    }
}
