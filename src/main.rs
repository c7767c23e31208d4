//! Entry point: everything a person types is read in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nats_dingtalk::cli::run()
}
