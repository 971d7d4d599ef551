//! Any bytes are a boot image, or an error; whatever kernel is in it.
#![no_main]

use harness_builder::kernel::prebuilt::fuzzing::{read_boot_image, read_kernel};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = read_boot_image(bytes) {
        assert!(!error.to_string().is_empty());
    }
    read_kernel(bytes);
});
