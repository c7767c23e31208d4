//! Fuzz target: `doors::wire`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| nats_dingtalk_fuzz::wire(input));
