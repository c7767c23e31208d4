//! Entry point: everything a person types is read in `cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What a frame allocates is short-lived, and took the system's allocator a sixth of the processor time of a frame.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    nats_dingtalk::cli::run()
}
