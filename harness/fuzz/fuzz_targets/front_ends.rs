//! Reads a file as each front-end does.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness_fuzz::check(bytes));
