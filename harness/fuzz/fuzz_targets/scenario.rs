//! Any bytes are a scenario up to its plan, or a report with positions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| drop(harness_fuzz::scenarios::expand(bytes)));
