//! Fuzz target: `doors::spool`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    // The bridge bears a panic of the database; the fuzzer's own hook would end the run at it. One that
    // nobody bears still does.
    init: std::panic::set_hook(Box::new(|_| ())),
    |input: &[u8]| nats_dingtalk_fuzz::spool(input)
);
