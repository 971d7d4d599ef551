//! The messages for mistakes in files that people write. Each fixture in `tests/fixtures` has a mistake, which its
//! `summary` or `bug` describes, or is valid and used by others; its snapshot is the message. Run with
//! `INSTA_UPDATE=always` to accept changes.

use std::{collections::BTreeSet, error::Error, fs, path::Path};

use harness_builder::{corpus, image, kernel, kernel::mutant::Mutants};

/// Reads every fixture of a kind, and compares the messages with the snapshots of that kind.
fn check<E: Error>(kind: &str, read: impl Fn(&Path) -> Result<(), E>) {
    let fixtures = Path::new("tests/fixtures").join(kind);
    let is_fixture = |path: &Path| path.extension().is_some_and(|extension| extension == "toml") || kind == "mutants";
    let names = stems(&fixtures, is_fixture);
    assert!(!names.is_empty(), "no fixtures in {}", fixtures.display());
    for name in &names {
        let path = fixtures.join(name);
        let path = if path.is_dir() { path } else { fixtures.join(format!("{name}.toml")) };
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(format!("snapshots/{kind}"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name.as_str(), message(read(&path))));
    }
    let snapshots = stems(&Path::new("tests/snapshots").join(kind), |path| path.is_file());
    assert_eq!(snapshots, names, "every snapshot needs a fixture");
}

/// The message that the program prints for an error, with its causes.
fn message<E: Error>(result: Result<(), E>) -> String {
    let Err(error) = result else { return "no error".to_owned() };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\ncaused by: {error}"));
        cause = error.source();
    }
    text
}

/// The names in a folder without their extensions.
fn stems(folder: &Path, wanted: impl Fn(&Path) -> bool) -> BTreeSet<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| wanted(path)).map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
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
