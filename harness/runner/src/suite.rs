//! The scenario files of a folder, and the snapshots beside them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use harness_diagnostics::{limits, report::Report};
use harness_planner::{check::check, checked::Checked};
use harness_protocol::name::{ImageName, KernelName, ScenarioName};
use harness_scenario::{
    file::{GUARD_POLICY, parse_bytes},
    similar::similar_scenarios,
};
use harness_snapshot::{
    allowed_splats::{self, AllowedSplats},
    audit_refusals::{self, AuditRefusals},
    owner::Owner,
    reasons::{self, OwnSnapshots, Reasons},
    recorded::Recorded,
    render,
};
use harness_uapi::vocabulary::KnownNames;
use thiserror::Error;

use crate::{file, unit_files};

/// Why a folder of scenarios cannot be used.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// A folder or a file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file's path does not make a valid scenario name.
    #[error("{}: {reason}; rename the file", path.display())]
    Name {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A filter is not a valid glob.
    #[error("--filter `{pattern}` is not a valid glob: {source}")]
    Filter {
        /// The filter.
        pattern: String,
        /// The error.
        source: glob::PatternError,
    },
    /// A snapshot file is malformed.
    #[error("{}: {source}; remove the file and record it again with `{name} bless`", path.display(), name = harness_program::NAME)]
    Snapshot {
        /// The path.
        path: PathBuf,
        /// The error.
        source: render::NoHeader,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SuiteError {
    let path = path.to_owned();
    |source| SuiteError::Io { path, source }
}

/// All scenario files below a folder, by name.
#[derive(Debug)]
pub struct Suite {
    folder: PathBuf,
    files: BTreeMap<ScenarioName, PathBuf>,
}

impl Suite {
    /// Finds the scenario files (`*.toml`) below a folder. Hidden files and folders are ignored, and links are not
    /// followed. [Other files](is_other_file) are not scenarios.
    ///
    /// # Errors
    /// [`SuiteError`] if a folder cannot be read or a file's path is not a valid name.
    pub fn find(folder: &Path) -> Result<Self, SuiteError> {
        let mut files = BTreeMap::new();
        let is_scenario = |path: &PathBuf| path.extension() == Some(OsStr::new("toml")) && !is_other_file(folder, path);
        for path in files_below(folder)?.into_iter().filter(is_scenario) {
            let stem = path.with_extension("");
            let relative = stem.strip_prefix(folder).unwrap_or(&stem);
            let bad = |reason: String| SuiteError::Name { path: path.clone(), reason };
            let text = relative.to_str().ok_or_else(|| bad("its path is not UTF-8".to_owned()))?;
            let name = text.parse().map_err(|error: harness_protocol::name::NameError| bad(error.to_string()))?;
            files.insert(name, path);
        }
        Ok(Self { folder: folder.to_owned(), files })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the names of all scenarios.
    pub fn names(&self) -> impl Iterator<Item = &ScenarioName> {
        self.files.keys()
    }

    /// Returns the names that match a glob such as `token/*`; `*` also matches `/`.
    ///
    /// # Errors
    /// [`SuiteError::Filter`] if the pattern is not a glob.
    pub fn select(&self, pattern: &str) -> Result<Vec<ScenarioName>, SuiteError> {
        let glob =
            glob::Pattern::new(pattern).map_err(|source| SuiteError::Filter { pattern: pattern.to_owned(), source })?;
        Ok(self.files.keys().filter(|name| glob.matches(name.as_str())).cloned().collect())
    }

    /// Returns the names that match one of these globs, or all if there is no glob.
    ///
    /// # Errors
    /// [`SuiteError::Filter`] if a pattern is not a glob.
    pub fn select_any(&self, patterns: &[String]) -> Result<Vec<ScenarioName>, SuiteError> {
        if patterns.is_empty() {
            return self.select("*");
        }
        let chosen: Vec<Vec<ScenarioName>> =
            patterns.iter().map(|pattern| self.select(pattern)).collect::<Result<_, _>>()?;
        let chosen: BTreeSet<ScenarioName> = chosen.into_iter().flatten().collect();
        Ok(chosen.into_iter().collect())
    }

    /// Returns scenarios whose names are similar to filters that match none.
    pub fn similar(&self, filters: &[String]) -> Vec<&ScenarioName> {
        let mut all: Vec<&ScenarioName> = Vec::new();
        for similar in filters.iter().flat_map(|filter| similar_scenarios(filter, self.names())) {
            if !all.contains(&similar) {
                all.push(similar);
            }
        }
        all
    }

    /// Reads and checks one scenario file.
    ///
    /// # Errors
    /// The outer error if the file cannot be read, the inner one with every error in its text.
    ///
    /// # Panics
    /// If the name is not one of [`Suite::names`].
    pub fn check(&self, name: &ScenarioName, known: &KnownNames) -> Result<Result<Checked, Report>, SuiteError> {
        let path = &self.files[name];
        let bytes = file::read(path, limits::MOST_BYTES as u64).map_err(io_error(path))?;
        let parsed = parse_bytes(&path.display().to_string(), name.clone(), &bytes);
        let unit_file = |unit: &str| unit_files::assignments(&path.with_file_name(unit), known);
        let policy = |policy: &str| policy_of(&path.with_file_name(policy));
        let complete = parsed.and_then(|file| file.with_unit_file(unit_file)?.with_guard_policy(policy));
        Ok(complete.and_then(|file| check(&file, known)))
    }

    /// Reads the snapshots of a scenario.
    ///
    /// # Errors
    /// [`SuiteError`] if one cannot be read or is malformed.
    ///
    /// # Panics
    /// If the name is not one of [`Suite::names`].
    pub fn recorded(&self, name: &ScenarioName) -> Result<Recorded, SuiteError> {
        let mut recorded = Recorded::default();
        let path = &self.files[name];
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let folder = path.parent().unwrap_or(&self.folder);
        for entry in fs::read_dir(folder).map_err(io_error(folder))? {
            let path = entry.map_err(io_error(folder))?.path();
            let file = path.file_name().and_then(OsStr::to_str);
            if let Some(owner) = file.and_then(|file| Owner::of_file(stem, file)) {
                recorded.texts.insert(owner, read_snapshot(&path)?);
            }
        }
        Ok(recorded)
    }

    /// Returns the path of the recorded differences.
    pub fn reasons_path(&self) -> PathBuf {
        self.folder.join(reasons::FILE_NAME)
    }

    /// Reads the recorded differences; none if there is no such file.
    ///
    /// # Errors
    /// The outer error if the file cannot be read, the inner one with every error in its text.
    pub fn reasons(&self) -> Result<Result<Reasons, Report>, SuiteError> {
        let path = self.reasons_path();
        let label = path.display().to_string();
        match file::read(&path, limits::MOST_BYTES as u64) {
            Ok(bytes) => Ok(Reasons::parse(&label, &bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(Reasons::none(&label))),
            Err(error) => Err(io_error(&path)(error)),
        }
    }

    /// Reads the allowed splats; none if there is no such file.
    ///
    /// # Errors
    /// The outer error if the file cannot be read, the inner one with every error in its text.
    pub fn allowed_splats(&self) -> Result<Result<AllowedSplats, Report>, SuiteError> {
        self.parsed(allowed_splats::FILE_NAME, AllowedSplats::parse)
    }

    /// Reads what a guard refuses although it only audits; nothing if there is no such file.
    ///
    /// # Errors
    /// The outer error if the file cannot be read, the inner one with every error in its text.
    pub fn audit_refusals(&self) -> Result<Result<AuditRefusals, Report>, SuiteError> {
        self.parsed(audit_refusals::FILE_NAME, AuditRefusals::parse)
    }

    /// Parses a file at the top; the default if there is none.
    fn parsed<T: Default>(
        &self,
        name: &str,
        parse: impl FnOnce(&str, &[u8]) -> Result<T, Report>,
    ) -> Result<Result<T, Report>, SuiteError> {
        let path = self.folder.join(name);
        match file::read(&path, limits::MOST_BYTES as u64) {
            Ok(bytes) => Ok(parse(&path.display().to_string(), &bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(T::default())),
            Err(error) => Err(io_error(&path)(error)),
        }
    }

    /// Finds which kernels and images have snapshots of their own, by file names.
    ///
    /// # Errors
    /// [`SuiteError`] if a folder cannot be read.
    pub fn own_snapshots(&self) -> Result<OwnSnapshots, SuiteError> {
        let mut own: OwnSnapshots = self.names().map(|name| (name.clone(), Default::default())).collect();
        for path in files_below(&self.folder)? {
            let relative = path.strip_prefix(&self.folder).unwrap_or(&path).to_str();
            let parts = relative.and_then(|relative| Owner::split(relative.strip_suffix(".snap")?));
            let Some((Ok(name), owner)) = parts.map(|(name, owner)| (name.parse(), owner)) else { continue };
            if let Some(owners) = own.get_mut(&name) {
                owners.insert(owner);
            }
        }
        Ok(own)
    }

    /// Returns the path of this owner's snapshot of a scenario.
    ///
    /// # Panics
    /// If the name is not one of [`Suite::names`].
    pub fn snapshot_path(&self, name: &ScenarioName, owner: &Owner) -> PathBuf {
        let path = &self.files[name];
        path.with_file_name(owner.file_name(path.file_stem().and_then(OsStr::to_str).unwrap_or_default()))
    }

    /// Returns the file of a scenario.
    ///
    /// # Panics
    /// If the name is not one of [`Suite::names`].
    pub fn path(&self, name: &ScenarioName) -> &Path {
        &self.files[name]
    }

    /// Returns unreferenced snapshot files: those without a scenario, or of an unknown kernel or image.
    ///
    /// # Errors
    /// [`SuiteError`] if a folder cannot be read.
    pub fn unreferenced(&self, kernels: &[KernelName], images: &[ImageName]) -> Result<Vec<PathBuf>, SuiteError> {
        let mut files = files_below(&self.folder)?;
        files.retain(|path| path.extension() == Some(OsStr::new("snap")) && !self.is_referenced(path, kernels, images));
        Ok(files)
    }

    fn is_referenced(&self, path: &Path, kernels: &[KernelName], images: &[ImageName]) -> bool {
        let relative = path.strip_prefix(&self.folder).unwrap_or(path).with_extension("");
        let Some(relative) = relative.to_str() else { return false };
        let (name, owner) = Owner::split(relative).unwrap_or((relative, Owner::EVERYBODY));
        name.parse().is_ok_and(|name: ScenarioName| self.files.contains_key(&name))
            && owner.kernel.is_none_or(|kernel| kernels.contains(&kernel))
            && owner.image.is_none_or(|image| images.contains(&image))
    }
}

/// Whether a file (`*.toml`) below a folder of scenarios is something else: a policy of a guard, or a file at the top of recorded
/// differences, of allowed splats or of what a guard refuses.
pub fn is_other_file(folder: &Path, path: &Path) -> bool {
    let others = [reasons::FILE_NAME, allowed_splats::FILE_NAME, audit_refusals::FILE_NAME];
    let is_policy = path.as_os_str().as_encoded_bytes().ends_with(GUARD_POLICY.as_bytes());
    is_policy || others.iter().any(|name| folder.join(name) == path)
}

/// Reads the policy of a guard and checks it, or describes what is wrong.
fn policy_of(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, limits::MOST_BYTES as u64);
    let bytes = bytes.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|error| format!("{}: {}", path.display(), error.utf8_error()))?;
    guard_policy::parse(&path.display().to_string(), &text).map_err(|report| report.to_string())?;
    Ok(text)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, SuiteError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
            let entry = entry.map_err(io_error(&folder))?;
            let kind = entry.file_type().map_err(io_error(&folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            } else if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read_snapshot(path: &Path) -> Result<String, SuiteError> {
    let text = fs::read_to_string(path).map_err(io_error(path))?;
    let text = render::text_of(&text).map_err(|source| SuiteError::Snapshot { path: path.to_owned(), source })?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = "summary = \"x\"\nvm = { guard = { policy = \"p.guard.toml\" } }\n\
                            attempt = [{ op = \"btf_load\", by = \"host\" }]\n";

    #[test]
    fn a_guards_policy_is_no_scenario_and_is_checked_with_the_scenario_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let name: ScenarioName = "a".parse().unwrap();
        fs::write(folder.path().join("a.toml"), SCENARIO).unwrap();
        let suite = Suite::find(folder.path()).unwrap();
        let known = KnownNames::from_json([]).unwrap();
        let report = || {
            let checked = suite.check(&name, &known).unwrap();
            checked.map(drop).map_err(|report| report.to_string().replace(folder.path().to_str().unwrap(), "FOLDER"))
        };
        let policy = folder.path().join("p.guard.toml");
        insta::assert_snapshot!(report().unwrap_err(), @"FOLDER/a.toml:2:27: cannot read FOLDER/p.guard.toml: No such file or directory (os error 2)");
        fs::write(&policy, "version = 1\nmodus = \"audit\"\n").unwrap();
        insta::assert_snapshot!(report().unwrap_err(), @"FOLDER/a.toml:2:27: FOLDER/p.guard.toml:2:1: unknown key `modus` (did you mean `mode`?)");
        fs::write(&policy, b"\xff").unwrap();
        insta::assert_snapshot!(report().unwrap_err(), @"FOLDER/a.toml:2:27: FOLDER/p.guard.toml: invalid utf-8 sequence of 1 bytes from index 0");
        fs::write(&policy, "version = 1\n").unwrap();
        report().unwrap();
        assert_eq!(Suite::find(folder.path()).unwrap().names().collect::<Vec<_>>(), [&name]);
    }
}
