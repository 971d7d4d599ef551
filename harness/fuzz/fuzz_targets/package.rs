//! Any bytes are a package that unpacks to plain files, or an error: those of an `.rpm`, or the archive in a `.deb`.
#![no_main]

use std::path::Path;

use harness_builder::kernel::prebuilt::fuzzing::{unpack_archive, unpack_package};
use harness_fuzz::files::{Folder, check_plain};
use libfuzzer_sys::fuzz_target;

static PACKAGE: Folder = Folder::new(|_| ());
static INTO: Folder = Folder::new(|_| ());

fn into() -> &'static Path {
    static INTO_FOLDER: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    INTO_FOLDER.get_or_init(|| INTO.write("first", b"").parent().expect("it has a folder").to_owned())
}

/// Panics of the crate that reads RPM packages are caught, so that only others may end the target.
fn let_panics_be_caught() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
}

fuzz_target!(|bytes: &[u8]| {
    let_panics_be_caught();
    let unpacked = if bytes.starts_with(b"\xed\xab\xee\xdb") {
        unpack_package(&PACKAGE.write("x.rpm", bytes), into())
    } else {
        unpack_archive(bytes, into())
    };
    if let Err(error) = unpacked {
        assert!(!error.to_string().is_empty());
    }
    check_plain(into());
});
