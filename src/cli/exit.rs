//! How a command ends: exit code and the words for it. It knows no command.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::ConfigError;

/// The command did not do what it was asked.
const FAILED: u8 = 1;
/// The bridge was stopped before it had finished what it held.
const CUT_SHORT: u8 = 2;
/// Bad usage or configuration (sysexits' EX_USAGE).
const USAGE: u8 = 64;

/// Why a command did not end clean.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line or the configuration is wrong.
    Usage(anyhow::Error),
    /// What was asked could not be done.
    Failed(anyhow::Error),
    /// What was asked could not be done, and the command has said why.
    Said,
    /// The bridge was stopped before it had finished what it held; its log says so.
    CutShort,
}

impl Failure {
    /// The command line is wrong.
    pub(super) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    /// What was asked could not be done.
    pub(super) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

/// The exit code of a command line that clap refused, or that asked for help.
pub(super) fn of_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// Says what went wrong on standard error, and tells the exit code.
pub(super) fn report(result: Result<(), Failure>) -> ExitCode {
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::CutShort) => return ExitCode::from(CUT_SHORT),
        Err(Failure::Said) => return ExitCode::from(FAILED),
        // Whoever reads the output has had enough: no fault of a command that only tells something.
        Err(Failure::Failed(error)) if is_closed_pipe(&error) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (error, FAILED),
        Err(Failure::Usage(error)) => (error, USAGE),
    };
    // The terminal may be gone; the exit code still tells.
    let _ = writeln!(io::stderr(), "nats-dingtalk: {error:#}");
    ExitCode::from(code)
}

/// What was printed for somebody who may have had enough: for commands whose verdict is their exit code,
/// which stands whether or not anybody reads the words.
pub(super) fn even_unread(printed: Result<(), Failure>) -> Result<(), Failure> {
    match printed {
        Err(Failure::Failed(error)) if is_closed_pipe(&error) => Ok(()),
        printed => printed,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
