//! Everything that is reported about a `differences.toml`, one recorded text per fixture.
//!
//! A fixture that can be parsed begins with a comment `# snapshots:` that lists the snapshots it is checked against:
//! `a/b@7.3` is a snapshot of a kernel, `a/b@@systemd-257` one of an image, and `a/c` a scenario without either.

use std::{fs, path::Path};

use harness_snapshot::{
    owner::Owner,
    reasons::{OwnSnapshots, Reasons},
};

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
    texts.join("\n").replace(harness_program::NAME.as_str(), "PROGRAM")
}

#[test]
fn every_fixture_is_reported_as_recorded() {
    let fixtures = harness_fixtures::find(Path::new("tests/fixtures/differences"), |file| file.strip_suffix(".toml"));
    harness_fixtures::compare(&fixtures, Path::new("tests/snapshots/differences"), |fixture| {
        let text = reported(&fs::read_to_string(fixture).unwrap());
        assert!(!text.is_empty(), "{}: nothing is reported", fixture.display());
        text
    });
}
