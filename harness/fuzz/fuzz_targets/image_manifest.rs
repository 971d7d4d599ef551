//! Any bytes are an image's manifest or an error.
#![no_main]

use harness_builder::image::Manifest;
use harness_fuzz::files::{Folder, link};
use libfuzzer_sys::fuzz_target;

static FOLDER: Folder = Folder::new(|folder| link(folder, "images", &["parts", "minimal.toml"]));

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.write("x.toml", bytes);
    match Manifest::read(&path) {
        Ok(manifest) => {
            let _ = (manifest.suites(), manifest.systemd(), manifest.config(), manifest.boot());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
