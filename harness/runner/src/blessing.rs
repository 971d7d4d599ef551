//! Accepting changed snapshots: which files would change, and changing them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_builder::file;
use harness_model::{
    name::{KernelName, ScenarioName},
    snapshot::{self, Lineage, Recorded},
};
use thiserror::Error;

use crate::suite::Suite;

/// One snapshot file that would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// The kernel whose own it is; `None` if it is the shared one.
    pub kernel: Option<KernelName>,
    /// Its text now; `None` if there is no such file.
    pub old: Option<String>,
    /// Its text afterwards; `None` if it would be removed.
    pub new: Option<String>,
}

/// Why a snapshot file could not be changed. The old one is still there.
#[derive(Debug, Error)]
#[error("cannot change {}; nothing was lost, bless again when it is mended", path.display())]
pub struct BlessError {
    path: PathBuf,
    source: io::Error,
}

/// What becomes of a scenario's snapshots if these texts of kernels that ran are accepted.
///
/// `kernels` are all that the scenario is held to: those among them that did not run keep what is recorded for them. If
/// none ran, because the scenario is for others, nothing changes.
pub fn changes(
    suite: &Suite,
    name: &ScenarioName,
    recorded: &Recorded,
    texts: &[(Lineage, String)],
    kernels: &[KernelName],
) -> Vec<Change> {
    if texts.is_empty() {
        return Vec::new();
    }
    let ran = |kernel: &KernelName| texts.iter().any(|(lineage, _)| &lineage.kernel == kernel);
    let others_rely = kernels.iter().any(|kernel| !ran(kernel) && !recorded.own.contains_key(kernel));
    let blessed = recorded.blessed(texts, others_rely);
    let change = |kernel: Option<&KernelName>, old: Option<&String>, new: Option<&String>| Change {
        path: suite.snapshot_path(name, kernel),
        kernel: kernel.cloned(),
        old: old.cloned(),
        new: new.cloned(),
    };
    let mut all = vec![change(None, recorded.shared.as_ref(), blessed.shared.as_ref())];
    let mut own: Vec<&KernelName> = recorded.own.keys().chain(blessed.own.keys()).collect();
    own.sort();
    own.dedup();
    all.extend(own.into_iter().map(|kernel| change(Some(kernel), recorded.own.get(kernel), blessed.own.get(kernel))));
    all.retain(|change| match (&change.old, &change.new) {
        (Some(old), Some(new)) => !snapshot::same(old, new),
        (None, None) => false,
        (None, Some(_)) | (Some(_), None) => true,
    });
    all
}

impl Change {
    /// What a person is shown before it is made.
    pub fn describe(&self) -> String {
        let path = self.path.display();
        match (&self.old, &self.new) {
            (None, Some(new)) => format!("new {path}\n{}", crate::report::difference("", new)),
            (Some(_), None) => format!("removed {path}: the shared snapshot says the same\n"),
            (old, new) => {
                let text = |side: &Option<String>| side.clone().unwrap_or_default();
                format!("changed {path}\n{}", crate::report::difference(&text(old), &text(new)))
            }
        }
    }

    /// Makes it: the file is replaced as a whole or not at all. A pending snapshot of the test beside it is removed.
    ///
    /// # Errors
    /// [`BlessError`] if the file cannot be written or removed.
    pub fn make(&self, summary: &str, scenario_path: &str) -> Result<(), BlessError> {
        let done = match &self.new {
            Some(text) => file::replace(&self.path, &snapshot::file_of(text, summary, scenario_path)),
            None => fs::remove_file(&self.path),
        };
        done.and_then(|()| remove_if_there(&pending(&self.path)))
            .map_err(|source| BlessError { path: self.path.clone(), source })
    }
}

/// Where `insta` leaves a text that waits to be reviewed.
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

    fn texts(texts: &[(&str, &str)]) -> Vec<(Lineage, String)> {
        let alone = |kernel: &str| Lineage { kernel: kernel.parse().unwrap(), alike: Vec::new() };
        texts.iter().map(|(kernel, text)| (alone(kernel), (*text).to_owned())).collect()
    }

    fn kernels() -> Vec<KernelName> {
        vec!["6.12".parse().unwrap(), "7.3".parse().unwrap()]
    }

    #[test]
    fn what_no_kernel_ran_keeps_what_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let suite = suite(folder.path(), &[("any.toml", ""), ("any.snap", &snapshot::file_of("a", "x", "any.toml"))]);
        let recorded = suite.recorded(&name()).unwrap();
        assert!(recorded.shared.is_some());
        assert_eq!(changes(&suite, &name(), &recorded, &[], &kernels()), []);
    }

    #[test]
    fn what_was_blessed_is_what_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let suite = suite(folder.path(), &[("any.toml", ""), ("any.snap.new", "pending")]);
        let texts = texts(&[("6.12", "a"), ("7.3", "b")]);
        let before = suite.recorded(&name()).unwrap();
        let changes = changes(&suite, &name(), &before, &texts, &kernels());
        assert_eq!(changes.len(), 2);
        changes.iter().for_each(|change| change.make("says so", "scenarios/any.toml").unwrap());
        let after = suite.recorded(&name()).unwrap();
        for (kernel, text) in &texts {
            assert!(snapshot::same(after.for_kernel(kernel).unwrap(), text));
        }
        assert!(!folder.path().join("any.snap.new").exists());
        assert_eq!(super::changes(&suite, &name(), &after, &texts, &kernels()), []);
    }

    #[test]
    fn a_kernel_that_agrees_again_loses_its_own_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let own = snapshot::file_of("b", "", "");
        let shared = snapshot::file_of("a", "", "");
        let files = [("any.toml", ""), ("any.snap", &*shared), ("any@7.3.snap", &*own)];
        let suite = suite(folder.path(), &files);
        let before = suite.recorded(&name()).unwrap();
        let changes = changes(&suite, &name(), &before, &texts(&[("7.3", "a")]), &kernels());
        assert!(matches!(&changes[..], [change] if change.new.is_none() && change.path.ends_with("any@7.3.snap")));
        changes[0].make("", "").unwrap();
        assert_eq!(suite.recorded(&name()).unwrap().own.len(), 0);
    }

    #[test]
    fn a_failed_change_names_the_file_and_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let change =
            Change { path: folder.path().join("no/such.snap"), kernel: None, old: None, new: Some("a".to_owned()) };
        assert!(change.make("", "").unwrap_err().to_string().contains("no/such.snap"));
    }
}
