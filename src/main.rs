//! Entry point: everything a person types is read in `cli`.

use std::process::ExitCode;

/// Each frame makes some sixty small allocations, most of them in the NATS client's headers; with
/// the C library's allocator they are a third of its processor time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nats_dingtalk::cli::run()
}
