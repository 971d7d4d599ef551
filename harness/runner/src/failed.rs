//! Which scenarios failed when they last ran, kept in the cache for `run --rerun-failed`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use harness_builder::{
    cache::{Cache, inventory::FAILED},
    file,
};
use harness_protocol::name::ScenarioName;
use thiserror::Error;

use crate::report::{RunStatus, ScenarioResult};

/// Why it is not known which scenarios failed.
#[derive(Debug, Error)]
pub enum FailedError {
    /// The file cannot be read or written.
    #[error("cannot use {}, which lists the scenarios that failed when they last ran", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{} does not list scenarios; remove it and run them again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The scenarios that failed when they last ran, by the path of their folder.
#[derive(Debug)]
pub struct Failed {
    path: PathBuf,
    folders: BTreeMap<String, BTreeSet<ScenarioName>>,
}

impl Failed {
    /// Reads what earlier runs recorded in this cache.
    ///
    /// # Errors
    /// [`FailedError`] if it cannot be read.
    pub fn read(cache: &Cache) -> Result<Self, FailedError> {
        let path = cache.root().join(FAILED);
        let folders = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(FailedError::Io { path, source }),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Err(source) => return Err(FailedError::Malformed { path, source }),
                Ok(folders) => folders,
            },
        };
        Ok(Self { path, folders })
    }

    /// Returns the scenarios of a folder that failed when they last ran.
    pub fn of(&self, folder: &Path) -> BTreeSet<ScenarioName> {
        self.folders.get(&key(folder)).cloned().unwrap_or_default()
    }

    /// Records the results of a run; scenarios that did not run stay as they are.
    ///
    /// # Errors
    /// [`FailedError::Io`] if it cannot be written.
    pub fn record(mut self, folder: &Path, results: &[ScenarioResult]) -> Result<(), FailedError> {
        let mut failed = self.of(folder);
        let before = failed.clone();
        let ran: BTreeSet<&ScenarioName> = results.iter().map(|result| &result.scenario).collect();
        failed.retain(|name| !ran.contains(name));
        let bad = results.iter().filter(|result| result.run_status() != RunStatus::AsRecorded);
        failed.extend(bad.map(|result| result.scenario.clone()));
        if failed == before {
            return Ok(());
        }
        if failed.is_empty() {
            self.folders.remove(&key(folder))
        } else {
            self.folders.insert(key(folder), failed)
        };
        let text = serde_json::to_string(&self.folders).unwrap_or_default();
        file::replace(&self.path, &text).map_err(|source| FailedError::Io { path: self.path, source })
    }
}

fn key(folder: &Path) -> String {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Status;

    fn result(scenario: &str, fails: bool) -> ScenarioResult {
        let status = match fails {
            true => Status::Fault { message: "m".to_owned() },
            false => Status::Skipped { reason: "r".to_owned() },
        };
        let environment =
            harness_protocol::name::Environment { kernel: "6.12".parse().unwrap(), image: "minimal".parse().unwrap() };
        ScenarioResult { environment, scenario: scenario.parse().unwrap(), summary: String::new(), took: None, status }
    }

    #[test]
    fn a_scenario_is_listed_until_it_passes_on_all_kernels() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let of = |folder: &str| -> Vec<String> {
            let failed = Failed::read(&cache).unwrap().of(Path::new(folder));
            failed.iter().map(ToString::to_string).collect()
        };
        let record = |folder: &str, results: &[ScenarioResult]| {
            Failed::read(&cache).unwrap().record(Path::new(folder), results).unwrap();
        };
        record("/s", &[result("a", false), result("a", true), result("b", true), result("c", false)]);
        record("/other", &[result("x", true)]);
        assert_eq!((of("/s"), of("/other"), of("/none")), (vec!["a".into(), "b".into()], vec!["x".into()], vec![]));
        record("/s", &[result("a", false)]);
        assert_eq!(of("/s"), ["b"], "what did not run stays");
        record("/s", &[result("b", false)]);
        assert!(of("/s").is_empty());
        fs::write(cache.root().join(FAILED), "[").unwrap();
        let error = Failed::read(&cache).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(error, @"DIR/cache/failed.json does not list scenarios; remove it and run them again");
    }
}
