//! Objects found inside of other bytes are within them, in order, and do not make the reader panic.
#![no_main]

use harness_objects::{embedded, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut end = 0;
    for one in embedded(bytes) {
        assert!(one.offset >= end && one.size > 0);
        end = one.offset + one.size;
        let _ = read(&bytes[one.offset..end]);
    }
});
