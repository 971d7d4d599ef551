//! Blessing: finds which snapshot files would change, and changes them.

mod proposal;
pub mod reasons_update;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use harness_builder::file;
use harness_protocol::name::{ImageName, ScenarioName};
use harness_snapshot::{
    owner::{Lineage, Owner},
    recorded::{Blessing, Recorded},
    render,
};
use thiserror::Error;

pub use proposal::proposed;

use crate::suite::Suite;

/// A change of one snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// The snapshot's owner.
    pub owner: Owner,
    /// The present text; `None` if the file does not exist.
    pub old: Option<String>,
    /// The new text; `None` if the file would be removed.
    pub new: Option<String>,
}

/// Why a snapshot file could not be changed. The old file still exists.
#[derive(Debug, Error)]
#[error("cannot change {}; no snapshot was lost, bless again once this is fixed", path.display())]
pub struct BlessError {
    path: PathBuf,
    source: io::Error,
}

/// Returns the changes of a scenario's snapshots if these texts are accepted.
///
/// `held` are all environments that the scenario must match; those among them that did not run keep their snapshots. If
/// none ran, because the scenario is not meant for them, nothing changes. `image` is the first one the scenario is
/// meant for.
pub fn changes(
    suite: &Suite,
    name: &ScenarioName,
    recorded: &Recorded,
    texts: &[(Lineage, String)],
    held: &[Lineage],
    image: &ImageName,
) -> Vec<Change> {
    if texts.is_empty() {
        return Vec::new();
    }
    let ran = |held: &Lineage| texts.iter().any(|(lineage, _)| lineage.environment == held.environment);
    let held: Vec<Lineage> = held.iter().filter(|lineage| !ran(lineage)).cloned().collect();
    let blessed = recorded.blessed(&Blessing { texts, held: &held, image });
    let owners: BTreeSet<&Owner> = recorded.texts.keys().chain(blessed.texts.keys()).collect();
    let change = |owner: &Owner| Change {
        path: suite.snapshot_path(name, owner),
        owner: owner.clone(),
        old: recorded.texts.get(owner).cloned(),
        new: blessed.texts.get(owner).cloned(),
    };
    let mut all: Vec<Change> = owners.into_iter().map(change).collect();
    all.retain(|change| match (&change.old, &change.new) {
        (Some(old), Some(new)) => !render::same(old, new),
        (None, None) => false,
        (None, Some(_)) | (Some(_), None) => true,
    });
    all
}

impl Change {
    /// Returns a description of the change for review.
    pub fn describe(&self) -> String {
        let path = self.path.display();
        match (&self.old, &self.new) {
            (None, Some(new)) => format!("new {path}\n{}", crate::report::difference("", new)),
            (Some(_), None) => format!("removed {path}: the snapshot it inherits is the same\n"),
            (old, new) => {
                let text = |side: &Option<String>| side.clone().unwrap_or_default();
                format!("changed {path}\n{}", crate::report::difference(&text(old), &text(new)))
            }
        }
    }

    /// Makes the change, atomically. Also removes a pending snapshot of the test.
    ///
    /// # Errors
    /// [`BlessError`] if the file cannot be written or removed.
    pub fn make(&self, summary: &str, scenario_path: &str) -> Result<(), BlessError> {
        let done = match &self.new {
            Some(text) => file::replace(&self.path, &render::file_of(text, summary, scenario_path)),
            None => fs::remove_file(&self.path),
        };
        done.and_then(|()| remove_if_there(&pending(&self.path)))
            .map_err(|source| BlessError { path: self.path.clone(), source })
    }
}

/// Returns the path where `insta` leaves a text for review.
fn pending(snapshot: &Path) -> PathBuf {
    snapshot.with_added_extension("new")
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use harness_protocol::name::Environment;

    use super::*;

    fn suite(folder: &Path, files: &[(&str, &str)]) -> Suite {
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        Suite::find(folder).unwrap()
    }

    fn name() -> ScenarioName {
        "any".parse().unwrap()
    }

    /// A kernel that inherits no snapshots, with an image.
    fn alone(environment: &str) -> Lineage {
        let (kernel, image) = environment.split_once('@').unwrap_or((environment, "minimal"));
        let environment = Environment { kernel: kernel.parse().unwrap(), image: image.parse().unwrap() };
        Lineage { environment, alike: Vec::new() }
    }

    fn texts(texts: &[(&str, &str)]) -> Vec<(Lineage, String)> {
        texts.iter().map(|(environment, text)| (alone(environment), (*text).to_owned())).collect()
    }

    /// Returns the changes if these texts are accepted; both kernels must match the snapshots.
    fn changes(suite: &Suite, recorded: &Recorded, texts: &[(Lineage, String)]) -> Vec<Change> {
        let held = ["6.12", "7.3"].map(alone);
        super::changes(suite, &name(), recorded, texts, &held, &"minimal".parse().unwrap())
    }

    #[test]
    fn without_a_run_snapshots_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let suite = suite(folder.path(), &[("any.toml", ""), ("any.snap", &render::file_of("a", "x", "any.toml"))]);
        let recorded = suite.recorded(&name()).unwrap();
        assert_eq!(recorded.texts.len(), 1);
        assert_eq!(changes(&suite, &recorded, &[]), []);
    }

    #[test]
    fn blessed_texts_are_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let suite = suite(folder.path(), &[("any.toml", ""), ("any.snap.new", "pending")]);
        let texts = texts(&[("6.12", "a"), ("7.3", "b"), ("6.12@systemd-257", "c"), ("7.3@systemd-257", "d")]);
        let before = suite.recorded(&name()).unwrap();
        let all = changes(&suite, &before, &texts);
        let shown: String = all.iter().map(Change::describe).collect();
        insta::assert_snapshot!("described_changes", shown.replace(folder.path().to_str().unwrap(), "SCENARIOS"));
        let files: Vec<_> = all.iter().map(|change| change.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(files, ["any.snap", "any@@systemd-257.snap", "any@7.3.snap", "any@7.3@systemd-257.snap"]);
        all.iter().for_each(|change| change.make("says so", "scenarios/any.toml").unwrap());
        let after = suite.recorded(&name()).unwrap();
        for (lineage, text) in &texts {
            assert!(render::same(after.for_environment(lineage).unwrap(), text));
        }
        assert!(!folder.path().join("any.snap.new").exists());
        assert_eq!(changes(&suite, &after, &texts), []);
        let (kernels, images) = (["6.12", "7.3"].map(|name| name.parse().unwrap()), ["systemd-257".parse().unwrap()]);
        assert_eq!(suite.unreferenced(&kernels, &images).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(suite.unreferenced(&kernels, &[]).unwrap().len(), 2);
        assert_eq!(suite.unreferenced(&kernels[..1], &images).unwrap().len(), 2);
        assert_eq!(suite.own_snapshots().unwrap()[&name()].len(), 3);
    }

    #[test]
    fn a_kernel_that_agrees_again_loses_its_own_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let own = render::file_of("b", "", "");
        let shared = render::file_of("a", "", "");
        let files = [("any.toml", ""), ("any.snap", &*shared), ("any@7.3.snap", &*own)];
        let suite = suite(folder.path(), &files);
        let before = suite.recorded(&name()).unwrap();
        let changes = changes(&suite, &before, &texts(&[("7.3", "a")]));
        assert!(matches!(&changes[..], [change] if change.new.is_none() && change.path.ends_with("any@7.3.snap")));
        changes[0].make("", "").unwrap();
        assert_eq!(suite.recorded(&name()).unwrap().texts.len(), 1);
    }

    #[test]
    fn a_failed_change_names_the_file_and_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("no/such.snap"), Some("a".to_owned()));
        let change = Change { path, owner: Owner::EVERYBODY, old: None, new };
        let message = change.make("", "").unwrap_err().to_string();
        insta::assert_snapshot!(message.replace(folder.path().to_str().unwrap(), "SCENARIOS"), @r"cannot change SCENARIOS/no/such.snap; no snapshot was lost, bless again once this is fixed");
    }
}
