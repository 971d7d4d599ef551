//! Any bytes are an object or an error; every object has a least grant.
#![no_main]

use harness_objects::{asked, needs, read};
use harness_uapi::release::Release;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let kernel = Release { major: 7, minor: 3 }.into();
    match read(bytes) {
        Ok(object) => {
            let _ = asked(&object, kernel);
            let _ = needs(&[("object".to_owned(), object)], kernel);
        }
        Err(error) => drop(error.to_string()),
    }
});
