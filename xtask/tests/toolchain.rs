//! The oldest supported Rust is stated in several files, which agree: CI builds with it.

use std::{fs, path::Path};

fn read(file: &str) -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(project.join(file)).unwrap()
}

fn table(file: &str) -> toml::Table {
    read(file).parse().unwrap()
}

/// A version with all of its three numbers; `rust-version` may leave the last one out.
fn full(version: &str) -> String {
    match version.matches('.').count() {
        1 => format!("{version}.0"),
        _ => version.to_owned(),
    }
}

#[test]
fn the_pinned_toolchain_is_the_oldest_supported_rust() {
    let manifest = table("Cargo.toml");
    let oldest = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let pinned = table("rust-toolchain.toml");
    assert_eq!(pinned["toolchain"]["channel"].as_str(), Some(full(oldest).as_str()));
}

#[test]
fn the_workflows_build_with_the_pinned_toolchain() {
    let pinned = table("rust-toolchain.toml");
    let channel = pinned["toolchain"]["channel"].as_str().unwrap();
    let wanted = format!("rust:{channel}-bookworm");
    for workflow in ["ci.yml", "nightly.yml", "release.yml"].map(|name| read(&format!(".github/workflows/{name}"))) {
        let images: Vec<&str> = workflow.split_whitespace().filter(|word| word.starts_with("rust:")).collect();
        assert!(!images.is_empty());
        assert!(images.iter().all(|image| *image == wanted), "{images:?} and not {wanted}");
    }
}
