//! The messages for mistakes in files that people write. Each fixture in `tests/fixtures` has a mistake, which its
//! `summary` or `bug` describes, or is valid and used by others; its snapshot is the message. Run with
//! `INSTA_UPDATE=always` to accept changes.

use std::{error::Error, path::Path};

use harness_builder::{corpus, image, kernel, kernel::mutant::Mutants};

/// Reads every fixture of a kind, and compares the messages with the snapshots of that kind. A folder is a fixture, too.
fn check<E: Error>(kind: &str, read: impl Fn(&Path) -> Result<(), E>) {
    let folder = Path::new("tests/fixtures").join(kind);
    let fixtures =
        harness_fixtures::find(&folder, |file| file.strip_suffix(".toml").or((kind == "mutants").then_some(file)));
    let message = |fixture: &Path| match read(fixture) {
        Err(error) => harness_fixtures::chain(&error),
        Ok(()) => "no error".to_owned(),
    };
    harness_fixtures::compare(&fixtures, &Path::new("tests/snapshots").join(kind), message);
}

#[test]
fn kernel_manifests() {
    check("kernels", |path| kernel::Manifest::read(path).map(drop));
}

#[test]
fn image_manifests() {
    check("images", |path| image::Manifest::read(path).map(drop));
}

#[test]
fn mutant_files() {
    let kernels = ["6.12", "7.3"].map(|name| name.parse().unwrap());
    check("mutants", |path| Mutants::of_folder(path, &kernels).map(drop));
}

#[test]
fn lists_of_the_corpus() {
    check("corpus", |path| corpus::list(path).map(drop));
}
