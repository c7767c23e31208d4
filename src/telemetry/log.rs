//! Where log lines go and what they look like. It knows no event of the bridge.

use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::one_line::OneLine;
use crate::config::{self, LogFormat};

/// Root of every target in this crate.
const OWN_TARGET: &str = "nats_dingtalk";

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is not in tracing's directive syntax.
    #[error(
        "log.filter `{filter}` is no filter such as `info,nats_dingtalk::outbound=debug`: {detail}"
    )]
    Filter {
        /// What was configured.
        filter: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The process logs already.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Sends the events of the whole process to standard error, as `log` says. Colours appear only on
/// a terminal, and not where `NO_COLOR` is set.
///
/// Whatever the filter says, the libraries below the bridge never log more than `info`: their finer
/// levels hold frames, tokens and URLs with tickets.
///
/// # Errors
/// [`LogError::Filter`], or [`LogError::Twice`] when it was called before.
pub fn init_log(log: &config::Log) -> Result<(), LogError> {
    let colour = if io::stderr().is_terminal() {
        Colour::Allowed
    } else {
        Colour::Never
    };
    subscriber(log, colour, io::stderr)?
        .try_init()
        .map_err(LogError::Twice)
}

/// Whether lines may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Allowed,
    Never,
}

fn subscriber<W>(
    log: &config::Log,
    colour: Colour,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&log.filter)
        .map_err(|error| LogError::Filter {
            filter: log.filter.clone(),
            detail: error.to_string(),
        })?;
    let discreet = filter_fn(|event| {
        *event.level() <= Level::INFO || event.target().split("::").next() == Some(OWN_TARGET)
    });
    let lines = lines(log.format, colour, writer).with_filter(filter.and(discreet));
    Ok(tracing_subscriber::registry().with(lines))
}

fn lines<S, W>(format: LogFormat, colour: Colour, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(OneLine(writer));
    match (format, colour) {
        (LogFormat::Json, _) => layer.json().flatten_event(true).boxed(),
        // Left alone, the layer colours unless `NO_COLOR` is set.
        (LogFormat::Text, Colour::Allowed) => layer.boxed(),
        (LogFormat::Text, Colour::Never) => layer.with_ansi(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, events: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let log = config::Log {
            filter: filter.to_owned(),
            format,
        };
        let subscriber = subscriber(&log, Colour::Never, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_holds_the_phrase_and_its_dotted_fields() {
        let line = logged("info", LogFormat::Json, || {
            tracing::info!(dingtalk.account = "sales", "link up");
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "link up");
        assert_eq!(line["dingtalk.account"], "sales");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_outside_a_terminal_has_no_colours() {
        let line = logged("info", LogFormat::Text, || tracing::warn!("link down"));
        assert!(line.contains("link down"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn libraries_stay_at_info_however_wide_the_filter_is() {
        let lines = logged("trace", LogFormat::Text, || {
            tracing::trace!(target: "hyper::proto", "access-token: s3cr3t");
            tracing::debug!(target: "async_nats", "s3cr3t");
            tracing::info!(target: "async_nats", "connected");
            tracing::trace!(target: "nats_dingtalk::inbound", "own detail");
        });
        assert!(!lines.contains("s3cr3t"), "{lines}");
        assert!(
            lines.contains("connected") && lines.contains("own detail"),
            "{lines}"
        );
    }

    #[test]
    fn nothing_in_a_field_begins_a_line_of_its_own() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = logged("info", format, || {
                let words = "no\nERROR forged\r\u{1b}[2J\u{9b}2J";
                tracing::info!(error = %words, reason = words, detail = ?words, "{words}");
            });
            assert_eq!(lines.trim_end().lines().count(), 1, "{lines}");
            let steering = lines.trim_end().chars().any(char::is_control);
            assert!(!steering, "{lines:?}");
        }
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let log = config::Log {
            filter: "info,x=loud".to_owned(),
            format: LogFormat::Text,
        };
        let refused = subscriber(&log, Colour::Never, io::sink).err().unwrap();
        assert!(
            refused.to_string().contains("log.filter `info,x=loud`"),
            "{refused}"
        );
    }
}
