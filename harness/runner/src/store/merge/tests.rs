use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use harness_builder::project::Project;
use harness_protocol::plan;

use super::*;
use crate::{
    identity::Artefacts,
    store::{
        Freshness, Key, RunId,
        sample::{artefacts, outcome},
    },
};

fn scenario(name: &str) -> plan::Scenario {
    plan::Scenario::new(name.parse().unwrap(), 1, Vec::new())
}

fn store(root: &Path) -> Store {
    Store::new(root.to_owned(), RunId::current(), Freshness::Any)
}

/// Stores an outcome with this time; returns its file.
fn keep(root: &Path, name: &str, end: ScenarioEnd, at: u64) -> PathBuf {
    let outcome = outcome(name, end);
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
        replaced: Default::default(),
        at,
        objects,
        vocabulary: serde_json::from_str(&vocabulary).unwrap(),
    }
}

#[test]
fn the_latest_testbed_is_recalled_whichever_file_was_written_last() {
    let [mine] = folders();
    let store = store(mine.path());
    let of_guest = |at, guest: &str| {
        let artefacts = Artefacts { guest: guest.to_owned(), ..artefacts() };
        IdentityRecord { artefacts, ..record(at, guest) }
    };
    for (at, guest) in [(1, "one"), (5, "five"), (3, "three")] {
        store.remember_record(of_guest(at, guest)).unwrap();
    }
    let [damaged, old] = ["testbeds/6.12-0.json", "testbeds/6.12-1.json"].map(|name| mine.path().join(name));
    for path in [&damaged, &old] {
        fs::write(path, "{\"sha256\": \"").unwrap();
    }
    let written = UNIX_EPOCH + Duration::from_secs(4);
    fs::File::options().write(true).open(&old).unwrap().set_modified(written).unwrap();
    let recalled = store.recall(&"6.12".parse().unwrap(), &"minimal".parse().unwrap(), None).unwrap().unwrap();
    assert_eq!(recalled.artefacts.guest, "five");
    assert!(!damaged.exists(), "it is removed, and shown");
    assert!(old.exists(), "what is older than the latest record is not read");
}

fn folders<const N: usize>() -> [tempfile::TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().to_owned()
}

#[test]
fn outcomes_of_other_stores_are_added_including_crashes() {
    let [mine, one, cache] = folders();
    let inner = cache.path().join("store");
    keep(one.path(), "a", finished(1), 1);
    keep(&inner, "b", crashed(), 1);
    store(one.path()).remember_record(record(2, "x")).unwrap();
    store(&inner).remember_record(record(1, "y")).unwrap();
    let (store, others) = (store(mine.path()), [path(&one), path(&cache)]);
    assert_eq!(store.merge(&others).unwrap(), Merged { new: 2, testbeds: 2, ..Merged::default() });
    assert_eq!(store.look_up(&Key::of(&artefacts(), &scenario("b"))).unwrap().outcome.end, crashed());
    let identity = store.recall(&"6.12".parse().unwrap(), &"minimal".parse().unwrap(), None).unwrap().unwrap();
    assert_eq!(identity.objects.names().len(), 2, "each machine recorded the objects of its own scenarios");
    let again = store.merge(&others).unwrap();
    assert_eq!((again.new, again.same), (0, 2));
    assert!(store.recall(&"7.3".parse().unwrap(), &"minimal".parse().unwrap(), None).unwrap().is_none());
}

#[test]
fn of_different_outcomes_the_newer_one_is_kept_and_both_are_shown() {
    let mut texts = Vec::new();
    for (mine_at, theirs_at) in [(1, 2), (2, 1)] {
        let [mine, other] = folders();
        keep(mine.path(), "a", finished(1), mine_at);
        keep(other.path(), "a", crashed(), theirs_at);
        let merged = store(mine.path()).merge(&[path(&other)]).unwrap();
        let kept = store(mine.path()).look_up(&Key::of(&artefacts(), &scenario("a"))).unwrap().outcome.end;
        assert_eq!(kept, if theirs_at > mine_at { crashed() } else { finished(1) });
        texts.push(merged.conflicts[0].to_string());
        assert_eq!((merged.new, merged.same, merged.conflicts.len()), (0, 0, 1));
    }
    insta::assert_snapshot!(texts.join("\n"), @"
    a on 6.12: two runs differ: finished with 0 answers; kept the newer one: crashed after 0 answers: the kernel panicked
    a on 6.12: two runs differ: crashed after 0 answers: the kernel panicked; kept the newer one: finished with 0 answers
    ");
}

#[test]
fn outcomes_that_differ_only_in_time_are_the_same() {
    let [mine, other] = folders();
    keep(mine.path(), "a", finished(1), 1);
    keep(other.path(), "a", finished(2), 2);
    assert_eq!(store(mine.path()).merge(&[path(&other)]).unwrap(), Merged { same: 1, ..Merged::default() });
}

#[test]
fn an_invalid_file_is_named_and_nothing_is_merged() {
    type Spoil = fn(&Path, &Path);
    let cases: [Spoil; 8] = [
        |_, file| fs::write(file, "{\"run\":").unwrap(),
        |_, file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, text.replace("\"micros\":1", "\"micros\":3")).unwrap();
        },
        |_, file| fs::File::create(file).unwrap().set_len(LARGEST + 1).unwrap(),
        |root, _| fs::write(root.join("README"), "").unwrap(),
        |_, file| {
            fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", file).unwrap();
        },
        |_, file| fs::write(file.with_file_name("x.json"), "{}").unwrap(),
        |root, _| {
            fs::create_dir(root.join("testbeds")).unwrap();
            fs::write(root.join("testbeds/6.12-0.json"), "{}").unwrap();
        },
        |root, _| {
            fs::create_dir(root.join("testbeds")).unwrap();
            let record = serde_json::to_string(&record(1, "x")).unwrap();
            fs::write(root.join("testbeds/6.12-0.json"), record).unwrap();
        },
    ];
    let mut texts = Vec::new();
    for spoil in cases {
        let [mine, good, bad] = folders();
        keep(good.path(), "a", finished(1), 1);
        let file = keep(bad.path(), "b", finished(1), 1);
        spoil(bad.path(), &file);
        let error = store(mine.path()).merge(&[path(&good), path(&bad)]).unwrap_err();
        assert!(matches!(error, MergeError::Refused(_)), "{error}");
        let text = error.to_string().replace(file.to_str().unwrap(), "STORE/OUTCOME.json");
        let text = text.replace(file.parent().unwrap().to_str().unwrap(), "STORE/DIGEST");
        texts.push(text.replace(bad.path().to_str().unwrap(), "STORE"));
        assert_eq!(fs::read_dir(mine.path()).unwrap().count(), 0, "{error}");
    }
    insta::assert_snapshot!(texts.join("\n\n"), @"
    nothing was merged; remove these files, or recreate the store:
      STORE/OUTCOME.json is damaged: EOF while parsing a value at line 1 column 7

    nothing was merged; remove these files, or recreate the store:
      STORE/OUTCOME.json is damaged: its SHA-256 sum is not that of its contents

    nothing was merged; remove these files, or recreate the store:
      STORE/OUTCOME.json is damaged: it is larger than 64 MiB

    nothing was merged; remove these files, or recreate the store:
      STORE/README is not part of a store

    nothing was merged; remove these files, or recreate the store:
      STORE/OUTCOME.json is not a regular file

    nothing was merged; remove these files, or recreate the store:
      STORE/DIGEST/x.json is not part of a store

    nothing was merged; remove these files, or recreate the store:
      STORE/testbeds/6.12-0.json is damaged: missing field `kernel` at line 1 column 2

    nothing was merged; remove these files, or recreate the store:
      STORE/testbeds/6.12-0.json does not have the name that its contents require
    ");
}

#[test]
fn files_of_a_killed_writer_are_skipped() {
    let [mine, other] = folders();
    let file = keep(other.path(), "a", finished(1), 1);
    fs::write(file.with_file_name(".tmpAbc"), "{").unwrap();
    assert_eq!(store(mine.path()).merge(&[path(&other)]).unwrap().new, 1);
}

#[test]
fn a_folder_that_is_not_a_store_is_named() {
    let [mine, empty] = folders();
    assert!(
        matches!(store(mine.path()).merge(&[path(&empty)]), Err(MergeError::NoStore(folder)) if folder == path(&empty))
    );
    let missing = empty.path().join("missing");
    let error = store(mine.path()).merge(&[missing]).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(empty.path().to_str().unwrap(), "FOLDER"), @r"FOLDER/missing is not an outcome store: it contains neither outcomes nor a folder `store` with outcomes");
}

#[test]
fn records_of_gone_images_are_merged_and_the_newer_is_kept() {
    let [mine, other] = folders();
    let gone = |at, reason: &str| {
        let image = "systemd-262".parse().unwrap();
        GoneImage { image, key: "k".to_owned(), at, reason: reason.to_owned() }
    };
    let kept = || store(mine.path()).gone(&gone(0, "").image, "k");
    for (at, reason, expected) in [(2, "second", "second"), (1, "first", "second"), (3, "third", "third")] {
        fs::remove_dir_all(other.path().join(gone::FOLDER)).ok();
        store(other.path()).remember_gone_record(&gone(at, reason)).unwrap();
        store(mine.path()).merge(&[path(&other)]).unwrap();
        assert_eq!(kept().unwrap().reason, expected);
    }
    fs::rename(other.path().join("gone/systemd-262-k.json"), other.path().join("gone/other-k.json")).unwrap();
    let error = store(mine.path()).merge(&[path(&other)]).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(other.path().to_str().unwrap(), "OTHER"), @r"
    nothing was merged; remove these files, or recreate the store:
      OTHER/gone/other-k.json does not have the name that its contents require
    ");
}

#[test]
fn the_bytes_of_all_kinds_of_records_are_counted_before_they_are_read() {
    for kind in [identities::FOLDER, gone::FOLDER, "00"] {
        let [mine, other] = folders();
        fs::create_dir(other.path().join(kind)).unwrap();
        let name = if kind == "00" { "0".repeat(62) } else { "6.12-0".to_owned() };
        let file = other.path().join(kind).join(name + ".json");
        fs::File::create(&file).unwrap().set_len(LARGEST_ALL + 1).unwrap();
        let error = store(mine.path()).merge(&[path(&other)]).unwrap_err().to_string();
        insta::allow_duplicates! {
            insta::assert_snapshot!(error.replace(file.to_str().unwrap(), "STORE/RECORD.json"), @r"
            nothing was merged; remove these files, or recreate the store:
              STORE/RECORD.json exceeds the limit of 1 GiB for all records
            ");
        }
    }
}
