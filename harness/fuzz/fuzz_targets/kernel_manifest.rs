//! Any bytes are a kernel's manifest or an error.
#![no_main]

use harness_builder::kernel::Manifest;
use harness_fuzz::files::{Folder, link};
use libfuzzer_sys::fuzz_target;

static FOLDER: Folder = Folder::new(|folder| link(folder, "kernels", &["fragments", "6.12.toml", "7.3.toml"]));

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.write("9.9.toml", bytes);
    match Manifest::read(&path) {
        Ok(manifest) => assert_eq!(manifest.name.as_str(), "9.9"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
