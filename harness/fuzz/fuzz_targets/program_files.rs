//! Any bytes are a program or none, and a cache of the dynamic linker or an empty one.
#![no_main]

use harness_builder::program_files::fuzzing::{read_headers, read_linker_cache};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read_headers(bytes);
    read_linker_cache(bytes);
});
