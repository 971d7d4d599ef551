//! Command lines of systemd-run.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness_fuzz::check(harness_frontend::Frontend::SystemdRun, "x.sh", bytes));
