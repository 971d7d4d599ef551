//! Everything that is reported about a `differences.toml`, one recorded text per fixture.
//!
//! A fixture that can be parsed begins with a comment `# snapshots:` that lists the snapshots it is checked against:
//! `a/b@7.3` is a snapshot of a kernel, `a/b@@systemd-257` one of an image, and `a/c` a scenario without either.

use std::{collections::BTreeSet, fs, path::Path};

use harness_snapshot::{
    owner::Owner,
    reasons::{OwnSnapshots, Reasons},
};

/// The names of the files with this extension in a folder of `tests`, without the extension.
fn names(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    wanted.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn own_snapshots(list: &str) -> OwnSnapshots {
    let mut own = OwnSnapshots::new();
    for word in list.split_whitespace() {
        let (name, owner) = Owner::split(word).map_or((word, None), |(name, owner)| (name, Some(owner)));
        own.entry(name.parse().unwrap()).or_default().extend(owner);
    }
    own
}

/// The problems of a file, or what does not match the snapshots that it lists.
fn reported(text: &str) -> String {
    let reasons = match Reasons::parse("differences.toml", text.as_bytes()) {
        Ok(reasons) => reasons,
        Err(report) => return report.to_string(),
    };
    let list = text.lines().find_map(|line| line.strip_prefix("# snapshots:"));
    let own = own_snapshots(list.expect("a fixture without errors lists its snapshots"));
    let texts: Vec<String> = reasons.complaints(&own).into_iter().map(|complaint| complaint.text).collect();
    texts.join("\n").replace(harness_program::NAME, "PROGRAM")
}

#[test]
fn every_fixture_is_reported_as_recorded() {
    let fixtures = names("fixtures/differences", "toml");
    assert!(!fixtures.is_empty());
    for name in &fixtures {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/differences/{name}.toml"));
        let text = reported(&fs::read_to_string(path).unwrap());
        assert!(!text.is_empty(), "{name}: nothing is reported");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots/differences");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
    }
    assert_eq!(names("snapshots/differences", "snap"), fixtures, "every recorded text has a fixture");
}
