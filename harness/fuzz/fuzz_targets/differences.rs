//! Any bytes are recorded reasons for differences, or a report with positions.
#![no_main]

use harness_snapshot::reasons::Reasons;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(report) = Reasons::parse("differences.toml", bytes) {
        assert!(!report.problems().is_empty());
        report.problems().iter().for_each(|problem| assert!(report.position(problem).0 >= 1));
        assert!(!report.to_string().is_empty());
    }
});
