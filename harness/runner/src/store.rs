//! What VMs answered, kept between runs.
//!
//! An outcome is a file named by a digest of everything it depends on: kernel, image, guest program and the scenario's
//! plan. Judging reads it; only a miss boots a VM. Crashes and faults are kept for the run that saw them, so that each
//! process of that run sees the same, and tried again in the next.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

mod identities;
mod merge;

use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::identity::Artefacts;
pub use merge::{Conflict, MergeError, Merged, Refusal};

/// Why an outcome cannot be read or kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A folder or file of the store is out of reach.
    #[error("cannot {action} {}; free space or name another folder with BPF_TOKEN_HARNESS_CACHE", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StoreError {
    fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Identifies one run of the tests over all its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The run this process is part of: nextest's run if it started us, else one of our own.
    pub fn current() -> Self {
        Self(env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{}-{}", process::id(), since.as_nanos())
        }))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which kept outcomes are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Those of any run.
    Any,
    /// Those of the current run.
    ThisRun,
}

/// The outcome store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    run: RunId,
    freshness: Freshness,
}

/// What an outcome is kept by: a digest of everything it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    scenario: ScenarioName,
    digest: String,
}

impl Key {
    /// That of this scenario with these artefacts.
    pub fn of(artefacts: &Artefacts, scenario: &plan::Scenario) -> Self {
        let mut digest = Sha256::new();
        let Artefacts { kernel, image, guest, machine } = artefacts;
        for part in [&plan::FORMAT.to_string(), kernel, image, guest, machine] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        digest.update(serde_json::to_vec(scenario).unwrap_or_default());
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { scenario: scenario.name.clone(), digest }
    }
}

/// An outcome that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// It.
    pub outcome: ScenarioOutcome,
    /// Whether it stands for a run of its own now: it is of this run, or finished in one that is fresh enough.
    pub is_believed: bool,
}

impl Stored {
    /// How long the scenario took, in microseconds, if it finished.
    pub(crate) fn micros(&self) -> Option<u64> {
        match self.outcome.end {
            ScenarioEnd::Finished { micros } => Some(micros),
            ScenarioEnd::Fault { .. } | ScenarioEnd::Crashed { .. } => None,
        }
    }

    /// The outcome, if it is believed.
    pub(crate) fn believed(self) -> Option<ScenarioOutcome> {
        self.is_believed.then_some(self.outcome)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    run: RunId,
    /// On which kernel, for people; `None` in what was kept before this was written down.
    #[serde(default)]
    kernel: Option<KernelName>,
    /// When, in seconds since 1970; 0 if that was not written down.
    #[serde(default)]
    at: u64,
    outcome: ScenarioOutcome,
}

/// The time, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Store {
    /// The store in this folder, which is made when the first outcome is kept.
    pub fn new(root: PathBuf, run: RunId, freshness: Freshness) -> Self {
        Self { root, run, freshness }
    }

    /// What a VM answered last to what this key stands for, in whichever run: crashes and faults, too.
    ///
    /// An unreadable or damaged file counts as a miss: it is overwritten by the next outcome.
    pub fn look_up(&self, key: &Key) -> Option<Stored> {
        let text = fs::read(self.path(key)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        let is_believed = kept.run == self.run
            || (self.freshness == Freshness::Any && matches!(kept.outcome.end, ScenarioEnd::Finished { .. }));
        (kept.outcome.scenario == key.scenario).then_some(Stored { outcome: kept.outcome, is_believed })
    }

    /// Keeps what a VM of this kernel answered; a reader sees the old outcome or the new one, never half of one.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be made or the file cannot be written.
    pub fn keep(&self, kernel: &KernelName, key: &Key, outcome: &ScenarioOutcome) -> Result<(), StoreError> {
        let (run, kernel) = (self.run.clone(), Some(kernel.clone()));
        let kept = Kept { run, kernel, at: now(), outcome: outcome.clone() };
        write(&self.path(key), &kept)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(&key.digest[..2]).join(format!("{}.json", &key.digest[2..]))
    }
}

/// Writes a file of the store: it is replaced as a whole or not at all.
fn write(path: &Path, contents: &impl Serialize) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(StoreError::of("make the folder", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(StoreError::of("make a file in", folder))?;
    serde_json::to_writer(&mut file, contents).map_err(io::Error::from).map_err(StoreError::of("write", path))?;
    file.persist(path).map_err(|error| error.error).map_err(StoreError::of("write", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artefacts() -> Artefacts {
        let text = |s: &str| s.to_owned();
        Artefacts { kernel: text("k"), image: text("i"), guest: text("g"), machine: text("m") }
    }

    fn kernel() -> KernelName {
        "6.12".parse().unwrap()
    }

    fn scenario(deadline_ms: u64) -> plan::Scenario {
        let (sysctls, lsm, cases) = Default::default();
        plan::Scenario { name: "a/b".parse().unwrap(), deadline_ms, sysctls, lsm, lockdown: None, own_vm: false, cases }
    }

    /// The key of a scenario with this deadline.
    fn key(deadline_ms: u64) -> Key {
        Key::of(&artefacts(), &scenario(deadline_ms))
    }

    fn load(store: &Store, key: &Key) -> Option<ScenarioOutcome> {
        store.look_up(key)?.believed()
    }

    fn outcome(end: ScenarioEnd) -> ScenarioOutcome {
        ScenarioOutcome { scenario: "a/b".parse().unwrap(), containers: vec![], attempts: vec![], units: vec![], end }
    }

    fn finished() -> ScenarioOutcome {
        outcome(ScenarioEnd::Finished { micros: 1 })
    }

    fn store(root: &Path, run: &str, freshness: Freshness) -> Store {
        Store::new(root.to_owned(), RunId(run.to_owned()), freshness)
    }

    #[test]
    fn an_outcome_is_found_by_what_it_depends_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "1", Freshness::Any);
        assert_eq!(load(&store, &key(1)), None);
        store.keep(&kernel(), &key(1), &finished()).unwrap();
        assert_eq!(load(&store, &key(1)), Some(finished()));
        assert_eq!(load(&store, &key(2)), None);
        assert_eq!(load(&store, &Key::of(&Artefacts { kernel: "other".into(), ..artefacts() }, &scenario(1))), None);
        assert_eq!(load(&store, &Key::of(&Artefacts { image: "other".into(), ..artefacts() }, &scenario(1))), None);
    }

    #[test]
    fn a_later_run_believes_finished_outcomes_unless_it_wants_fresh_ones() {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path(), "1", Freshness::Any).keep(&kernel(), &key(1), &finished()).unwrap();
        let believed = |run, freshness| load(&store(folder.path(), run, freshness), &key(1));
        assert_eq!(believed("2", Freshness::Any), Some(finished()));
        assert_eq!(believed("2", Freshness::ThisRun), None);
        assert_eq!(believed("1", Freshness::ThisRun), Some(finished()));
    }

    #[test]
    fn crashes_and_faults_are_tried_again_by_a_later_run() {
        let folder = tempfile::tempdir().unwrap();
        let crash = outcome(ScenarioEnd::Crashed { how: "panic".into(), console: vec![] });
        let fault = outcome(ScenarioEnd::Fault { message: "no".into() });
        for bad in [crash, fault] {
            store(folder.path(), "1", Freshness::Any).keep(&kernel(), &key(1), &bad).unwrap();
            let believed = |run| load(&store(folder.path(), run, Freshness::Any), &key(1));
            assert_eq!(believed("1"), Some(bad));
            assert_eq!(believed("2"), None);
            let later = store(folder.path(), "2", Freshness::ThisRun);
            assert_eq!(
                later.look_up(&key(1)).map(|kept| kept.outcome),
                believed("1"),
                "a report tells of it all the same"
            );
        }
    }

    #[test]
    fn damage_is_a_miss_and_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "1", Freshness::Any);
        store.keep(&kernel(), &key(1), &finished()).unwrap();
        fs::write(store.path(&key(1)), b"{\"run\":\"1\",").unwrap();
        assert_eq!(load(&store, &key(1)), None);
        store.keep(&kernel(), &key(1), &finished()).unwrap();
        assert_eq!(load(&store, &key(1)), Some(finished()));
    }

    #[test]
    fn an_unusable_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = store(&file, "1", Freshness::Any).keep(&kernel(), &key(1), &finished()).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
