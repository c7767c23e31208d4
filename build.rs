//! Lays the functions that an idle bridge runs side by side: the kernel brings code into memory in pieces of 64 KiB, and with
//! the functions in the order of their crates nearly every piece holds one that is needed. `scripts/order` writes the list.
//!
//! Release builds for Linux on x86-64 only, where it was measured, and not with a linker that reads no linker scripts.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks through the environment"
)]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link/order.ld");
    println!("cargo::rerun-if-env-changed=NATS_DINGTALK_ORDER");
    let is = |key: &str, value: &str| env::var(key).is_ok_and(|found| found == value);
    let reads_scripts = env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| {
        !["gold", "mold", "wild"]
            .iter()
            .any(|linker| flags.contains(linker))
    });
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && reads_scripts
        && !is("NATS_DINGTALK_ORDER", "0")
    {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-T{root}/link/order.ld");
    }
}
