use std::collections::BTreeMap;

use harness_builder::project::Project;
use harness_protocol::plan;

use super::*;
use crate::{
    identity::Artefacts,
    store::{Freshness, Key, RunId},
};

fn artefacts() -> Artefacts {
    let text = |s: &str| s.to_owned();
    Artefacts { kernel: text("k"), image: text("i"), guest: text("g"), machine: text("m") }
}

fn scenario(name: &str) -> plan::Scenario {
    let (sysctls, lsm, cases) = Default::default();
    plan::Scenario { name: name.parse().unwrap(), deadline_ms: 1, sysctls, lsm, lockdown: None, own_vm: false, cases }
}

fn store(root: &Path) -> Store {
    Store::new(root.to_owned(), RunId::current(), Freshness::Any)
}

/// Keeps an outcome of that time; returns its file.
fn keep(root: &Path, name: &str, end: ScenarioEnd, at: u64) -> PathBuf {
    let outcome =
        ScenarioOutcome { scenario: name.parse().unwrap(), containers: vec![], attempts: vec![], units: vec![], end };
    let path = store(root).path(&Key::of(&artefacts(), &scenario(name)));
    write(&path, &Kept { run: RunId::current(), kernel: Some("6.12".parse().unwrap()), at, outcome }).unwrap();
    path
}

fn finished(micros: u64) -> ScenarioEnd {
    ScenarioEnd::Finished { micros }
}

fn crashed() -> ScenarioEnd {
    ScenarioEnd::Crashed { how: "the kernel panicked".to_owned(), console: vec!["Oops".to_owned()] }
}

fn record(at: u64, object: &str) -> IdentityRecord {
    let (_, vocabulary) = Project::find().unwrap().vocabularies().unwrap().remove(0);
    let objects: BTreeMap<String, String> = [(object.to_owned(), format!("{object}-1.bpf.o"))].into();
    IdentityRecord {
        configuration: Default::default(),
        machine_kind: crate::session::MachineKind::Own,
        kernel: "6.12".parse().unwrap(),
        alike: Vec::new(),
        release: "6.12.1".to_owned(),
        image: "minimal".parse().unwrap(),
        artefacts: artefacts(),
        at,
        objects,
        vocabulary: serde_json::from_str(&vocabulary).unwrap(),
    }
}

fn folders<const N: usize>() -> [tempfile::TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().to_owned()
}

#[test]
fn what_others_know_is_known_here_crashes_too() {
    let [mine, one, cache] = folders();
    let inner = cache.path().join("store");
    keep(one.path(), "a", finished(1), 1);
    keep(&inner, "b", crashed(), 1);
    store(one.path()).remember_record(record(2, "x")).unwrap();
    store(&inner).remember_record(record(1, "y")).unwrap();
    let (store, others) = (store(mine.path()), [path(&one), path(&cache)]);
    assert_eq!(store.merge(&others).unwrap(), Merged { new: 2, testbeds: 2, ..Merged::default() });
    assert_eq!(store.look_up(&Key::of(&artefacts(), &scenario("b"))).unwrap().outcome.end, crashed());
    let identity = store.recall(&"6.12".parse().unwrap(), &"minimal".parse().unwrap()).unwrap().unwrap();
    assert_eq!(identity.objects.names().len(), 2, "each machine knows the objects of its own scenarios");
    let again = store.merge(&others).unwrap();
    assert_eq!((again.new, again.same), (0, 2));
    assert!(store.recall(&"7.3".parse().unwrap(), &"minimal".parse().unwrap()).unwrap().is_none());
}

#[test]
fn of_answers_that_differ_the_newer_one_is_kept_and_both_are_told() {
    for (mine_at, theirs_at) in [(1, 2), (2, 1)] {
        let [mine, other] = folders();
        keep(mine.path(), "a", finished(1), mine_at);
        keep(other.path(), "a", crashed(), theirs_at);
        let merged = store(mine.path()).merge(&[path(&other)]).unwrap();
        let kept = store(mine.path()).look_up(&Key::of(&artefacts(), &scenario("a"))).unwrap().outcome.end;
        assert_eq!(kept, if theirs_at > mine_at { crashed() } else { finished(1) });
        let text = merged.conflicts[0].to_string();
        assert!(text.starts_with("a on 6.12: two runs differ: ") && text.contains("the kernel panicked"), "{text}");
        assert_eq!((merged.new, merged.same, merged.conflicts.len()), (0, 0, 1));
    }
}

#[test]
fn how_long_it_took_is_no_difference() {
    let [mine, other] = folders();
    keep(mine.path(), "a", finished(1), 1);
    keep(other.path(), "a", finished(2), 2);
    assert_eq!(store(mine.path()).merge(&[path(&other)]).unwrap(), Merged { same: 1, ..Merged::default() });
}

#[test]
fn what_no_store_has_is_named_and_nothing_is_merged() {
    type Spoil = fn(&Path, &Path);
    let cases: [(&str, Spoil); 6] = [
        ("is damaged", |_, file| fs::write(file, "{\"run\":").unwrap()),
        ("is damaged: it is larger than 64 MiB", |_, file| {
            fs::File::create(file).unwrap().set_len(LARGEST + 1).unwrap()
        }),
        ("README: is nothing that a store has", |root, _| fs::write(root.join("README"), "").unwrap()),
        ("is no plain file", |_, file| {
            fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", file).unwrap();
        }),
        ("x.json: is nothing that a store has", |_, file| fs::write(file.with_file_name("x.json"), "{}").unwrap()),
        ("is damaged", |root, _| {
            fs::create_dir(root.join("testbeds")).unwrap();
            fs::write(root.join("testbeds/6.12-0.json"), "{}").unwrap();
        }),
    ];
    for (expected, spoil) in cases {
        let [mine, good, bad] = folders();
        keep(good.path(), "a", finished(1), 1);
        spoil(bad.path(), &keep(bad.path(), "b", finished(1), 1));
        let error = store(mine.path()).merge(&[path(&good), path(&bad)]).unwrap_err();
        assert!(matches!(error, MergeError::Refused(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(bad.path().to_str().unwrap()), "{expected}: {text}");
        assert_eq!(fs::read_dir(mine.path()).unwrap().count(), 0, "{expected}");
    }
}

#[test]
fn what_a_killed_process_was_writing_is_passed_over() {
    let [mine, other] = folders();
    let file = keep(other.path(), "a", finished(1), 1);
    fs::write(file.with_file_name(".tmpAbc"), "{").unwrap();
    assert_eq!(store(mine.path()).merge(&[path(&other)]).unwrap().new, 1);
}

#[test]
fn a_folder_that_is_no_store_is_named() {
    let [mine, empty] = folders();
    for folder in [path(&empty), PathBuf::from("/nonexistent")] {
        let text = store(mine.path()).merge(std::slice::from_ref(&folder)).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{} is no outcome store", folder.display())), "{text}");
    }
}
