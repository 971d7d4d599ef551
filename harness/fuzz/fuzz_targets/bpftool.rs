//! bpftool token list --json.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness_fuzz::check(harness_frontend::Frontend::Bpftool, "x.json", bytes));
