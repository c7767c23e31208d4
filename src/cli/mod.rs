//! What a person types: subcommands, their help, and the exit code. It knows every module, and does
//! nothing that a module could do.

mod check;
mod demo;
mod exit;
mod life;
mod media;
mod permissions;
mod print;
mod ready;
mod run;
mod schema;
mod send;
mod settings;
mod sim;
mod span;
mod story;
mod tail;
#[cfg(test)]
mod tests;
mod yaml;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use exit::Failure;

/// DingTalk on NATS JetStream: what DingTalk delivers is stored before it is acknowledged, what services ask for
/// is sent once and in order.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 clean, 1 failed, 2 drain cut short, 64 bad usage or configuration.\n\
        Configuration: defaults < file < environment (NATS_DINGTALK_…) < flags."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Ready(ready::ReadyArgs),
    Demo(demo::DemoArgs),
    Send(send::SendArgs),
    Tail(tail::TailArgs),
    Media(media::MediaArgs),
    Sim(sim::SimArgs),
    Schema(schema::SchemaArgs),
    Permissions(permissions::PermissionsArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  nats-dingtalk completions bash > /etc/bash_completion.d/nats-dingtalk"
    )]
    Completions {
        /// Shell that will read it
        shell: Shell,
    },
}

/// Reads the command line, does what it says, and tells the exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The terminal may be gone; the exit code still tells.
            let _ = error.print();
            return exit::of_usage(&error);
        }
    };
    // A second provider is refused, and the first one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    exit::report(dispatch(cli.command))
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => wait(run::execute(args)),
        Command::Check(args) => wait(check::execute(args)),
        Command::Ready(args) => wait(ready::execute(args)),
        Command::Demo(args) => wait(demo::execute(args)),
        Command::Send(args) => wait(send::execute(args)),
        Command::Tail(args) => wait(tail::execute(args)),
        Command::Media(args) => wait(media::execute(args)),
        Command::Sim(args) => wait(sim::execute(args)),
        Command::Schema(args) => schema::execute(&args),
        Command::Permissions(args) => permissions::execute(&args),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "nats-dingtalk", &mut io::stdout());
            Ok(())
        }
    }
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // One thread: DingTalk's pace needs a fraction of a core, and without hand-overs between threads
    // a frame costs half the processor time. Disk and name lookups have threads of their own.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?
        .block_on(work)
}
