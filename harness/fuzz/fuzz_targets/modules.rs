//! Any bytes are a module that others depend on, or an error.
#![no_main]

use std::fs;

use harness_builder::kernel::prebuilt::fuzzing::read_modules;
use harness_fuzz::files::Folder;
use libfuzzer_sys::fuzz_target;

/// Built in are all modules that a guest needs except for one, which the input is.
static FOLDER: Folder = Folder::new(|folder| {
    let built_in = "kernel/virtio_pci.ko\nkernel/virtio_console.ko\nkernel/9pnet_virtio.ko\nkernel/9pnet.ko\n";
    fs::write(folder.join("modules.builtin"), built_in).expect("a file can be written");
});

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.write("9p.ko", bytes);
    if let Err(error) = read_modules(path.parent().expect("it has a folder")) {
        assert!(!error.to_string().is_empty());
    }
});
