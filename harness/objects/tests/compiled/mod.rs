//! Objects that clang compiles from the tests' sources.

use std::{fs, path::Path, process::Command};

use harness_objects::{Loader, Object, read_for};

/// Compiles a file in `tests/sources`.
pub(crate) fn bytes(source: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("object.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources").join(source).with_extension("bpf.c");
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c"]).arg(source).arg("-o").arg(&object);
    let output = clang.output().expect("clang starts; `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(object).unwrap()
}

/// Compiles and reads an object that libbpf loads.
pub(crate) fn object(source: &str) -> Object {
    object_for(source, Loader::LIBBPF)
}

/// Compiles and reads an object as a loader understands it.
pub(crate) fn object_for(source: &str, loader: Loader) -> Object {
    read_for(&bytes(source), loader).unwrap()
}
