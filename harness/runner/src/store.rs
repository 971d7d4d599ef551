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

use harness_model::{
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

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

/// The artefacts an outcome depends on, by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    outcome: ScenarioOutcome,
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
        let text = fs::read(self.path(artefacts, scenario)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.outcome.scenario == scenario.name && self.believes(&kept)).then_some(kept.outcome)
    }

    fn believes(&self, kept: &Kept) -> bool {
        kept.run == self.run
            || (self.freshness == Freshness::Any && matches!(kept.outcome.end, ScenarioEnd::Finished { .. }))
    }

    /// Keeps what a VM answered; a reader sees the old outcome or the new one, never half of one.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be made or the file cannot be written.
    pub fn keep(
        &self,
        artefacts: &Artefacts,
        scenario: &plan::Scenario,
        outcome: &ScenarioOutcome,
    ) -> Result<(), StoreError> {
        let path = self.path(artefacts, scenario);
        let folder = path.parent().unwrap_or(&self.root);
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { action, path, source }
        };
        fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io("make a file in", folder))?;
        let kept = Kept { run: self.run.clone(), outcome: outcome.clone() };
        serde_json::to_writer(&mut file, &kept).map_err(io::Error::from).map_err(io("write", &path))?;
        file.persist(&path).map_err(|error| error.error).map_err(io("write", &path))?;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn artefacts() -> Artefacts {
        let text = |s: &str| s.to_owned();
        Artefacts { kernel: text("k"), image: text("i"), guest: text("g"), machine: text("m") }
    }

    fn scenario(deadline_ms: u64) -> plan::Scenario {
        let (sysctls, lsm, cases) = Default::default();
        plan::Scenario { name: "a/b".parse().unwrap(), deadline_ms, sysctls, lsm, lockdown: None, own_vm: false, cases }
    }

    fn outcome(end: ScenarioEnd) -> ScenarioOutcome {
        ScenarioOutcome { scenario: "a/b".parse().unwrap(), containers: vec![], attempts: vec![], end }
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
        store.keep(&artefacts(), &scenario(1), &finished()).unwrap();
        assert_eq!(store.load(&artefacts(), &scenario(1)), Some(finished()));
        assert_eq!(store.load(&artefacts(), &scenario(2)), None);
        assert_eq!(store.load(&Artefacts { kernel: "other".into(), ..artefacts() }, &scenario(1)), None);
    }

    #[test]
    fn a_later_run_believes_finished_outcomes_unless_it_wants_fresh_ones() {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path(), "1", Freshness::Any).keep(&artefacts(), &scenario(1), &finished()).unwrap();
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
            store(folder.path(), "1", Freshness::Any).keep(&artefacts(), &scenario(1), &bad).unwrap();
            let load = |run| store(folder.path(), run, Freshness::Any).load(&artefacts(), &scenario(1));
            assert_eq!(load("1"), Some(bad));
            assert_eq!(load("2"), None);
        }
    }

    #[test]
    fn damage_is_a_miss_and_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "1", Freshness::Any);
        store.keep(&artefacts(), &scenario(1), &finished()).unwrap();
        fs::write(store.path(&artefacts(), &scenario(1)), b"{\"run\":\"1\",").unwrap();
        assert_eq!(store.load(&artefacts(), &scenario(1)), None);
        store.keep(&artefacts(), &scenario(1), &finished()).unwrap();
        assert_eq!(store.load(&artefacts(), &scenario(1)), Some(finished()));
    }

    #[test]
    fn an_unusable_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = store(&file, "1", Freshness::Any).keep(&artefacts(), &scenario(1), &finished()).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
