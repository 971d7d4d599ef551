//! Reads unit files with a drop-in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness_fuzz::check_with_drop_in(bytes));
