//! Checks the scenarios of this repository, on every kernel whose names are committed.

mod common;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use harness_planner::expand::Expansion;
use harness_scenario::{expanded::Expanded, expect::Expect, file::GUARD_POLICY};
use harness_snapshot::reasons;

use common::{Kernel, kernel};

fn folder() -> PathBuf {
    // At run time, because the compiled test may have been moved.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../../scenarios")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    let others = [reasons::FILE_NAME, "splats.toml", "guard-audit.toml"].map(|name| self::folder().join(name));
    let is_scenario = |path: &PathBuf| {
        let name = path.as_os_str().as_encoded_bytes();
        name.ends_with(b".toml") && !name.ends_with(GUARD_POLICY.as_bytes()) && !others.contains(path)
    };
    let mut all: Vec<PathBuf> = files.into_iter().filter(is_scenario).chain(below).collect();
    all.sort();
    all
}

/// Expands a scenario for the newest kernel that it is for, in the first default image.
fn run(path: &Path) -> Option<Expanded> {
    let kernels = || [kernel("7.3"), kernel("6.12"), Kernel::before_tokens()].into_iter();
    let systemd = kernels().map(|kernel| kernel.in_image("systemd-262"));
    let others = [kernel("7.3").of_a_distribution(), kernel("7.3").with_integrity()];
    let programs = ["programs-bookworm", "programs-trixie", "programs-forky", "tracers"]
        .map(|image| kernel("7.3").in_image(image));
    let others = systemd.chain(programs).chain(others).chain([Kernel::with_signatures_of_instructions()]);
    kernels().chain(others).find_map(|kernel| run_on(path, &kernel))
}

fn run_on(path: &Path, kernel: &Kernel) -> Option<Expanded> {
    let name = path.strip_prefix(folder()).unwrap().with_extension("");
    let text = std::fs::read_to_string(path).unwrap();
    match kernel.expand_file(&path.display().to_string(), name.to_str().unwrap(), &text) {
        Ok(Expansion::Run(expanded)) => Some(*expanded),
        Ok(Expansion::Skipped { .. }) => None,
        Err(report) => panic!("{report}"),
    }
}

#[test]
fn each_is_valid_and_for_some_kernel() {
    let all = files(&folder());
    assert!(all.len() >= 25, "{} scenarios", all.len());
    for path in &all {
        assert!(run(path).is_some(), "{} runs nowhere", path.display());
    }
}

#[test]
fn no_two_prove_the_same() {
    let mut summaries = BTreeSet::new();
    for path in files(&folder()) {
        let summary = run(&path).unwrap().summary;
        assert!(summaries.insert(summary.clone()), "{summary}");
    }
}

/// An attempt that is allowed proves nothing unless another one fails.
#[test]
fn each_scenario_with_an_allowed_attempt_has_one_that_fails() {
    for path in files(&folder()) {
        let expanded = run(&path).unwrap();
        for case in &expanded.cases {
            let has = |wanted: &[Expect]| {
                case.attempts.iter().any(|attempt| attempt.expect.is_some_and(|e| wanted.contains(&e)))
            };
            let fails = has(&[Expect::Denied, Expect::Malformed, Expect::NotMade])
                || case.attempts.iter().any(|a| a.expect.is_none());
            assert!(!has(&[Expect::Allowed]) || fails, "{} allows only", path.display());
        }
    }
}

#[test]
fn each_names_its_schema() {
    for path in files(&folder()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let up = "../".repeat(path.strip_prefix(folder()).unwrap().components().count() - 1);
        assert!(text.starts_with(&format!("#:schema {up}schema.json\n")), "{}", path.display());
    }
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let committed = std::fs::read_to_string(folder().join("schema.json")).unwrap();
    let committed: serde_json::Value = serde_json::from_str(&committed).unwrap();
    let is_current = committed == *harness_scenario::schema::scenario_schema();
    assert!(is_current, "scenarios/schema.json is out of date; write it with `cargo xtask schema`");
}
