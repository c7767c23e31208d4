//! Fuzz target: `doors::markdown`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| nats_dingtalk_fuzz::markdown(input));
