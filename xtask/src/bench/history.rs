//! Earlier figures, kept in the cache, so that a slowdown is seen.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use harness_builder::cache::{Cache, inventory::MEASURED};
use serde::{Deserialize, Serialize};

/// The figure of a whole `cargo xtask ci` that found its kernels built, in seconds.
pub(crate) const CI_CACHED: &str = "ci-cached";
/// The same of one that built them.
pub(crate) const CI_CLEAN: &str = "ci-clean";

/// How many times as large as the last one a figure may be.
pub(crate) const LIMIT: f64 = 1.5;

/// Figures of one machine and day. Each is a time in seconds or a ratio, so less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The day in UTC, as `2026-11-29`.
    pub(crate) date: String,
    /// The processor and how many there are.
    pub(crate) machine: String,
    /// The figures by their names.
    pub(crate) figures: BTreeMap<String, f64>,
}

/// A figure that is much larger than before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slower {
    name: String,
    now: f64,
    before: f64,
    date: String,
}

impl fmt::Display for Slower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, now, before, date } = self;
        write!(f, "{name}: {now:.2}, {:.1} times as much as the {before:.2} of {date}", now / before)
    }
}

/// All entries, the oldest first.
pub(crate) struct History {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl History {
    /// Reads the history in the cache; there is none before the first measurement.
    pub(crate) fn read(cache: &Cache) -> Result<Self> {
        Self::at(&cache.root().join(MEASURED))
    }

    fn at(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let entry = |(number, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("line {} of {} is no entry: remove the line", number + 1, path.display()))
        };
        Ok(Self { path: path.to_owned(), entries: text.lines().enumerate().map(entry).collect::<Result<_>>()? })
    }

    /// Returns the last figure of this name on a machine, with its day.
    pub(crate) fn last(&self, machine: &str, name: &str) -> Option<(f64, &str)> {
        let of_machine = self.entries.iter().rev().filter(|entry| entry.machine == machine);
        of_machine.filter_map(|entry| Some((*entry.figures.get(name)?, entry.date.as_str()))).next()
    }

    /// Returns the figures that are much larger than the last of their names on the same machine.
    pub(crate) fn slower(&self, entry: &Entry) -> Vec<Slower> {
        let slower = |(name, now): (&String, &f64)| {
            let (before, date) = self.last(&entry.machine, name)?;
            (*now > before * LIMIT).then(|| Slower { name: name.clone(), now: *now, before, date: date.to_owned() })
        };
        entry.figures.iter().filter_map(slower).collect()
    }

    /// Adds an entry at the end of the file.
    pub(crate) fn add(&self, entry: &Entry) -> Result<()> {
        let line = serde_json::to_string(entry).context("an entry is no JSON")? + "\n";
        let file = fs::OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(machine: &str, figures: &[(&str, f64)]) -> Entry {
        let figures = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        Entry { date: "2026-01-02".to_owned(), machine: machine.to_owned(), figures }
    }

    #[test]
    fn a_figure_is_compared_with_the_last_one_of_its_name_and_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MEASURED);
        let history = History::at(&path).unwrap();
        assert!(history.slower(&entry("m", &[("warm", 9.0)])).is_empty());
        for entry in [
            entry("m", &[("warm", 9.0)]),
            entry("m", &[("warm", 1.0), ("boot", 2.0)]),
            entry("m", &[("ci", 5.0)]),
            entry("another", &[("warm", 0.1)]),
        ] {
            history.add(&entry).unwrap();
        }
        let history = History::at(&path).unwrap();
        assert!(history.slower(&entry("m", &[("warm", 1.5), ("boot", 1.0), ("new", 100.0)])).is_empty());
        let slower = history.slower(&entry("m", &[("warm", 1.6), ("boot", 2.0)]));
        let said: Vec<String> = slower.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["warm: 1.60, 1.6 times as much as the 1.00 of 2026-01-02"]);
        assert_eq!(history.last("m", "ci"), Some((5.0, "2026-01-02")));
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MEASURED);
        fs::write(&path, "{}\n").unwrap();
        let error = History::at(&path).err().unwrap().to_string();
        assert!(error.starts_with("line 1 of ") && error.ends_with(": remove the line"), "{error}");
    }
}
