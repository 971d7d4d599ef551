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

use harness_model::{
    name::KernelName,
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

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

/// The artefacts an outcome depends on, by their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefacts {
    /// The kernel's key.
    pub kernel: String,
    /// The image's key.
    pub image: String,
    /// The guest program's key.
    pub guest: String,
    /// What else the VM was given that a guest can see, such as kernel arguments and memory.
    pub machine: String,
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

    /// What a VM answered to this scenario with these artefacts, if that is known and believed.
    ///
    /// An unreadable or damaged file counts as a miss: it is overwritten by the next outcome.
    pub fn load(&self, artefacts: &Artefacts, scenario: &plan::Scenario) -> Option<ScenarioOutcome> {
        self.read(artefacts, scenario).filter(|kept| self.believes(kept)).map(|kept| kept.outcome)
    }

    /// What a VM answered last, in whichever run: crashes and faults, too.
    pub fn latest(&self, artefacts: &Artefacts, scenario: &plan::Scenario) -> Option<ScenarioOutcome> {
        self.read(artefacts, scenario).map(|kept| kept.outcome)
    }

    /// How long this scenario took when it last finished, in microseconds, if that is known.
    pub(crate) fn micros(&self, artefacts: &Artefacts, scenario: &plan::Scenario) -> Option<u64> {
        match self.latest(artefacts, scenario)?.end {
            ScenarioEnd::Finished { micros } => Some(micros),
            ScenarioEnd::Fault { .. } | ScenarioEnd::Crashed { .. } => None,
        }
    }

    fn read(&self, artefacts: &Artefacts, scenario: &plan::Scenario) -> Option<Kept> {
        let text = fs::read(self.path(artefacts, scenario)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.outcome.scenario == scenario.name).then_some(kept)
    }

    fn believes(&self, kept: &Kept) -> bool {
        kept.run == self.run
            || (self.freshness == Freshness::Any && matches!(kept.outcome.end, ScenarioEnd::Finished { .. }))
    }

    /// Keeps what a VM of this kernel answered; a reader sees the old outcome or the new one, never half of one.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be made or the file cannot be written.
    pub fn keep(
        &self,
        kernel: &KernelName,
        artefacts: &Artefacts,
        scenario: &plan::Scenario,
        outcome: &ScenarioOutcome,
    ) -> Result<(), StoreError> {
        let (run, kernel) = (self.run.clone(), Some(kernel.clone()));
        let kept = Kept { run, kernel, at: now(), outcome: outcome.clone() };
        write(&self.path(artefacts, scenario), &kept)
    }

    fn path(&self, artefacts: &Artefacts, scenario: &plan::Scenario) -> PathBuf {
        let mut digest = Sha256::new();
        let Artefacts { kernel, image, guest, machine } = artefacts;
        for part in [&plan::FORMAT.to_string(), kernel, image, guest, machine] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        digest.update(serde_json::to_vec(scenario).unwrap_or_default());
        let name: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.root.join(&name[..2]).join(format!("{}.json", &name[2..]))
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
        assert_eq!(store.load(&artefacts(), &scenario(1)), None);
        store.keep(&kernel(), &artefacts(), &scenario(1), &finished()).unwrap();
        assert_eq!(store.load(&artefacts(), &scenario(1)), Some(finished()));
        assert_eq!(store.load(&artefacts(), &scenario(2)), None);
        assert_eq!(store.load(&Artefacts { kernel: "other".into(), ..artefacts() }, &scenario(1)), None);
        assert_eq!(store.load(&Artefacts { image: "other".into(), ..artefacts() }, &scenario(1)), None);
    }

    #[test]
    fn a_later_run_believes_finished_outcomes_unless_it_wants_fresh_ones() {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path(), "1", Freshness::Any).keep(&kernel(), &artefacts(), &scenario(1), &finished()).unwrap();
        let load = |run, freshness| store(folder.path(), run, freshness).load(&artefacts(), &scenario(1));
        assert_eq!(load("2", Freshness::Any), Some(finished()));
        assert_eq!(load("2", Freshness::ThisRun), None);
        assert_eq!(load("1", Freshness::ThisRun), Some(finished()));
    }

    #[test]
    fn crashes_and_faults_are_tried_again_by_a_later_run() {
        let folder = tempfile::tempdir().unwrap();
        let crash = outcome(ScenarioEnd::Crashed { how: "panic".into(), console: vec![] });
        let fault = outcome(ScenarioEnd::Fault { message: "no".into() });
        for bad in [crash, fault] {
            store(folder.path(), "1", Freshness::Any).keep(&kernel(), &artefacts(), &scenario(1), &bad).unwrap();
            let load = |run| store(folder.path(), run, Freshness::Any).load(&artefacts(), &scenario(1));
            assert_eq!(load("1"), Some(bad));
            assert_eq!(load("2"), None);
            let later = store(folder.path(), "2", Freshness::ThisRun);
            assert_eq!(later.latest(&artefacts(), &scenario(1)), load("1"), "a report tells of it all the same");
        }
    }

    #[test]
    fn damage_is_a_miss_and_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "1", Freshness::Any);
        store.keep(&kernel(), &artefacts(), &scenario(1), &finished()).unwrap();
        fs::write(store.path(&artefacts(), &scenario(1)), b"{\"run\":\"1\",").unwrap();
        assert_eq!(store.load(&artefacts(), &scenario(1)), None);
        store.keep(&kernel(), &artefacts(), &scenario(1), &finished()).unwrap();
        assert_eq!(store.load(&artefacts(), &scenario(1)), Some(finished()));
    }

    #[test]
    fn an_unusable_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error =
            store(&file, "1", Freshness::Any).keep(&kernel(), &artefacts(), &scenario(1), &finished()).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
