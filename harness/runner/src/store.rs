//! The outcome store: outcomes of earlier runs.
//!
//! Each outcome is a file named by a digest of everything it depends on: kernel, image, guest program and the
//! scenario's plan. Only a scenario without a stored outcome boots a VM. Crashes and faults are reused only within the
//! run that recorded them, so that all processes of that run see the same; a later run tries them again.
//!
//! Each file has a sum of its contents, which is compared whenever it is read.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

mod gone;
mod identities;
mod merge;
mod record_file;
#[cfg(test)]
pub(crate) mod sample;

use harness_builder::progress::Progress;
use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{guard::RunGuard, identity::Artefacts};
pub use gone::GoneImage;
pub use merge::{Conflict, MergeError, Merged, Refusal};
use record_file::{Read, write};

/// The largest outcome that is read, in bytes; sweeps take some hundred thousand.
const LARGEST: u64 = 64 << 20;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A folder or file of the store cannot be read or written.
    #[error("cannot {action} {}; free disk space, or set BPF_TOKEN_HARNESS_CACHE to another folder", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl StoreError {
    fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Identifies a run, over all its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Returns the run of this process: nextest's run if nextest started it, otherwise a new one.
    pub fn current() -> Self {
        env::var("NEXTEST_RUN_ID").map_or_else(|_| Self::new(), Self)
    }

    /// Returns a new run.
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(format!("{}-{}", process::id(), since.as_nanos()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which stored outcomes are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Those of any run.
    Any,
    /// Only those of the current run.
    ThisRun,
}

/// The outcome store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    run: RunId,
    freshness: Freshness,
    /// Where damaged records are shown.
    progress: Progress,
}

/// The key of an outcome: a digest of everything it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    scenario: ScenarioName,
    digest: String,
}

impl Key {
    /// Returns the key of this scenario with these artefacts.
    pub fn of(artefacts: &Artefacts, scenario: &plan::Scenario) -> Self {
        let mut digest = Sha256::new();
        let Artefacts { kernel, image, guest, machine, guard, run_guard } = artefacts;
        for part in [&plan::FORMAT.to_string(), kernel, image, guest, machine] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        // Editing the guard leaves the keys of all other outcomes as they are.
        if run_guard.is_some() || scenario.guard.is_some() {
            digest.update(serde_json::to_vec(&(guard, run_guard.map(RunGuard::plan))).unwrap_or_default());
        }
        digest.update(serde_json::to_vec(scenario).unwrap_or_default());
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { scenario: scenario.name.clone(), digest }
    }
}

/// A stored outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The outcome.
    pub outcome: ScenarioOutcome,
    /// Whether it is reused instead of running the scenario: it is of this run, or it finished in an earlier run that
    /// is recent enough for the [`Freshness`].
    pub is_reusable: bool,
}

impl Stored {
    /// Returns how long the scenario took, in microseconds, if it finished.
    pub(crate) fn micros(&self) -> Option<u64> {
        match self.outcome.end {
            ScenarioEnd::Finished { micros } => Some(micros),
            ScenarioEnd::Fault { .. } | ScenarioEnd::Crashed { .. } => None,
        }
    }

    /// Returns the outcome, if it may be reused.
    pub(crate) fn reusable(self) -> Option<ScenarioOutcome> {
        self.is_reusable.then_some(self.outcome)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    run: RunId,
    /// The kernel's name, for people; `None` in outcomes stored before this key existed.
    #[serde(default)]
    kernel: Option<KernelName>,
    /// When it was stored, in seconds since 1970; 0 if unknown.
    #[serde(default)]
    at: u64,
    outcome: ScenarioOutcome,
}

/// Returns the time, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Store {
    /// Opens the store in this folder, which is created when the first outcome is stored.
    pub fn new(root: PathBuf, run: RunId, freshness: Freshness) -> Self {
        Self { root, run, freshness, progress: Progress::silent() }
    }

    /// Returns the store for a new run, which reuses no outcome of the runs before.
    #[must_use]
    pub fn again(self) -> Self {
        Self { run: RunId::new(), freshness: Freshness::ThisRun, ..self }
    }

    /// Returns the store, which shows damaged records there.
    #[must_use]
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Returns the latest outcome with this key, of any run, including crashes and faults.
    ///
    /// A damaged file is removed, and shown.
    pub fn look_up(&self, key: &Key) -> Option<Stored> {
        let what_now = format!("{} has to run again", key.scenario);
        let kept: Kept = self.load(&self.path(key), LARGEST, &what_now)?;
        let is_reusable = kept.run == self.run
            || (self.freshness == Freshness::Any && matches!(kept.outcome.end, ScenarioEnd::Finished { .. }));
        (kept.outcome.scenario == key.scenario).then_some(Stored { outcome: kept.outcome, is_reusable })
    }

    /// Stores an outcome of this kernel. A reader sees the old outcome or the new one, never part of one.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be created or the file cannot be written.
    pub fn keep(&self, kernel: &KernelName, key: &Key, outcome: &ScenarioOutcome) -> Result<(), StoreError> {
        let (run, kernel) = (self.run.clone(), Some(kernel.clone()));
        let kept = Kept { run, kernel, at: now(), outcome: outcome.clone() };
        write(&self.path(key), &kept)
    }

    /// Reads a record; `None` if there is none. Removes a damaged one, and shows that, with what follows from it. A
    /// record without a sum, which an older version wrote, gets one.
    fn load<T: DeserializeOwned + Serialize>(&self, path: &Path, largest: u64, what_now: &str) -> Option<T> {
        match record_file::read(path, largest) {
            Ok(Read { record, has_sum }) => {
                if !has_sum {
                    // Whoever reads it next tries again.
                    let _ = write(path, &record);
                }
                Some(record)
            }
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::NotFound => return None,
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                        // If it cannot be removed, the next record replaces it.
                        let _ = fs::remove_file(path);
                        "was damaged and is removed"
                    }
                    _ => "cannot be read",
                };
                self.progress.note(&format!("{} {what}, so {what_now}: {error}", path.display()));
                None
            }
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(&key.digest[..2]).join(format!("{}.json", &key.digest[2..]))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        sample::{artefacts, outcome},
        *,
    };

    fn kernel() -> KernelName {
        "6.12".parse().unwrap()
    }

    fn scenario(deadline_ms: u64) -> plan::Scenario {
        plan::Scenario::new("a/b".parse().unwrap(), deadline_ms, Vec::new())
    }

    /// Returns the key of a scenario with this deadline.
    fn key(deadline_ms: u64) -> Key {
        Key::of(&artefacts(), &scenario(deadline_ms))
    }

    fn load(store: &Store, key: &Key) -> Option<ScenarioOutcome> {
        store.look_up(key)?.reusable()
    }

    fn finished() -> ScenarioOutcome {
        outcome("a/b", ScenarioEnd::Finished { micros: 1 })
    }

    fn store(root: &Path, run: &str, freshness: Freshness) -> Store {
        Store::new(root.to_owned(), RunId(run.to_owned()), freshness)
    }

    #[test]
    fn an_outcome_is_found_by_everything_it_depends_on() {
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
    fn a_later_run_reuses_finished_outcomes_unless_it_wants_fresh_ones() {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path(), "1", Freshness::Any).keep(&kernel(), &key(1), &finished()).unwrap();
        let reused = |run, freshness| load(&store(folder.path(), run, freshness), &key(1));
        assert_eq!(reused("2", Freshness::Any), Some(finished()));
        assert_eq!(reused("2", Freshness::ThisRun), None);
        assert_eq!(reused("1", Freshness::ThisRun), Some(finished()));
    }

    #[test]
    fn crashes_and_faults_are_tried_again_by_a_later_run() {
        let folder = tempfile::tempdir().unwrap();
        let crash = outcome("a/b", ScenarioEnd::Crashed { how: "panic".into(), console: vec![] });
        let fault = outcome("a/b", ScenarioEnd::Fault { message: "no".into() });
        for bad in [crash, fault] {
            store(folder.path(), "1", Freshness::Any).keep(&kernel(), &key(1), &bad).unwrap();
            let reused = |run| load(&store(folder.path(), run, Freshness::Any), &key(1));
            assert_eq!(reused("1"), Some(bad));
            assert_eq!(reused("2"), None);
            let later = store(folder.path(), "2", Freshness::ThisRun);
            assert_eq!(later.look_up(&key(1)).map(|kept| kept.outcome), reused("1"), "a report still shows it");
        }
    }

    #[test]
    fn only_outcomes_under_a_guard_depend_on_its_program() {
        let program = |key: &str| Artefacts { guard: Some(key.to_owned()), ..artefacts() };
        assert_eq!(Key::of(&program("one"), &scenario(1)), Key::of(&program("other"), &scenario(1)));
        let guard = Some(RunGuard::Audit.plan());
        let guarded = plan::Scenario { guard, ..scenario(1) };
        assert_ne!(Key::of(&program("one"), &guarded), Key::of(&program("other"), &guarded));
        let in_run = |key: &str| Artefacts { run_guard: Some(RunGuard::Audit), ..program(key) };
        assert_ne!(Key::of(&in_run("one"), &scenario(1)), Key::of(&program("one"), &scenario(1)));
        assert_ne!(Key::of(&in_run("one"), &scenario(1)), Key::of(&in_run("other"), &scenario(1)));
    }

    /// Replaces a stored outcome by this text; returns what is loaded, and what is shown.
    fn spoilt(text: &[u8]) -> (Option<ScenarioOutcome>, String) {
        let folder = tempfile::tempdir().unwrap();
        let (progress, log) = Progress::captured();
        let store = store(folder.path(), "1", Freshness::Any).with_progress(progress);
        store.keep(&kernel(), &key(1), &finished()).unwrap();
        let path = store.path(&key(1));
        fs::write(&path, text).unwrap();
        let loaded = load(&store, &key(1));
        assert_eq!(path.exists(), loaded.is_some());
        store.keep(&kernel(), &key(1), &finished()).unwrap();
        assert_eq!(load(&store, &key(1)), Some(finished()));
        (loaded, log.text().replace(path.to_str().unwrap(), "STORE/OUTCOME.json"))
    }

    /// Returns the file of a stored outcome.
    fn stored() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "1", Freshness::Any);
        store.keep(&kernel(), &key(1), &finished()).unwrap();
        fs::read(store.path(&key(1))).unwrap()
    }

    #[test]
    fn a_damaged_outcome_is_removed_and_shown() {
        let stored = stored();
        let text = String::from_utf8(stored.clone()).unwrap();
        let shown = [&stored[..20], text.replace("\"micros\":1", "\"micros\":3").as_bytes()].map(|text| spoilt(text).1);
        insta::assert_snapshot!(shown.concat(), @"
        STORE/OUTCOME.json was damaged and is removed, so a/b has to run again: EOF while parsing a string at line 1 column 20
        STORE/OUTCOME.json was damaged and is removed, so a/b has to run again: its SHA-256 sum is not that of its contents
        ");
    }

    #[test]
    fn no_flipped_bit_changes_an_outcome() {
        let stored = stored();
        for bit in 0..stored.len() * 8 {
            let mut text = stored.clone();
            text[bit / 8] ^= 1 << (bit % 8);
            // A digit of the sum may be a capital letter.
            let (loaded, shown) = spoilt(&text);
            assert!(loaded.map_or(!shown.is_empty(), |loaded| loaded == finished()), "bit {bit}: {shown}");
        }
    }

    #[test]
    fn an_outcome_of_an_older_version_is_accepted_once_and_gets_a_sum() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), "1", Freshness::Any);
        let kept = Kept { run: store.run.clone(), kernel: Some(kernel()), at: 1, outcome: finished() };
        let path = store.path(&key(1));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
        assert_eq!(load(&store, &key(1)), Some(finished()));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"sha256\":"), "{text}");
        fs::write(&path, text.replace("\"micros\":1", "\"micros\":2")).unwrap();
        assert_eq!(load(&store, &key(1)), None);
    }

    #[test]
    fn an_unusable_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = store(&file, "1", Freshness::Any).keep(&kernel(), &key(1), &finished()).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(message.replace(&format!("file/{}", &key(1).digest[..2]), "file/DIGEST"), @r"cannot create the folder FOLDER/file/DIGEST; free disk space, or set BPF_TOKEN_HARNESS_CACHE to another folder");
    }
}
