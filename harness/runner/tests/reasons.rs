//! Every snapshot of a single kernel or image in this repository has a recorded difference, and every recorded
//! difference a snapshot.

use std::{fs, path::Path};

use harness_runner::suite::Suite;

fn complaints(folder: &Path) -> Vec<String> {
    let suite = Suite::find(folder).unwrap();
    let reasons = suite.reasons().unwrap().unwrap_or_else(|report| panic!("{report}"));
    reasons.complaints(&suite.own_snapshots().unwrap()).into_iter().map(|complaint| complaint.text).collect()
}

#[test]
fn the_projects_snapshots_have_recorded_differences() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let suite = Suite::find(&folder).unwrap();
    assert!(suite.own_snapshots().unwrap().values().flatten().count() >= 10);
    assert_eq!(complaints(&folder), Vec::<String>::new());
}

#[test]
fn a_snapshot_and_its_reason_need_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    write("a/b.toml", "");
    write("a/b.snap", "");
    assert_eq!(complaints(folder.path()), Vec::<String>::new());
    write("a/b@7.3.snap", "");
    let without = complaints(folder.path());
    assert!(matches!(&without[..], [text] if text.starts_with("a/b@7.3.snap")), "{without:?}");
    write("differences.toml", "[[difference]]\nreason = 'x'\nkernels = ['7.*']\nscenarios = ['a/b']\n");
    assert_eq!(complaints(folder.path()), Vec::<String>::new());
    fs::remove_file(folder.path().join("a/b@7.3.snap")).unwrap();
    assert_eq!(complaints(folder.path()).len(), 2);
}

#[test]
fn the_file_of_recorded_differences_is_reserved_only_at_the_top() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    for name in ["differences.toml", "a/differences.toml", "a/b.toml"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let suite = Suite::find(folder.path()).unwrap();
    let names: Vec<String> = suite.names().map(ToString::to_string).collect();
    assert_eq!(names, ["a/b", "a/differences"]);
}
