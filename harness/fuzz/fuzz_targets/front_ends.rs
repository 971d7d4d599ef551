//! A file, as each front-end reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness_fuzz::check(bytes));
