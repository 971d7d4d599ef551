//! Folders of manifests: the TOML files that describe kernels, images and mutants, by name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a name was not found.
#[derive(Debug, Error)]
pub enum ListingError {
    /// The folder could not be listed.
    #[error("cannot list the {what}s in {}", path.display())]
    Folder {
        /// What its files describe.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// No file has this name.
    #[error("no {what} is named `{name}`{}; available: {}", suggested(.suggestion), .known.join(", "))]
    Unknown {
        /// What its files describe.
        what: &'static str,
        /// The requested name.
        name: String,
        /// A similar name.
        suggestion: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// A glob is not valid, or matches no name.
    #[error("no {what} matches `{glob}`; {reason}")]
    Glob {
        /// What its files describe.
        what: &'static str,
        /// The requested glob.
        glob: String,
        /// What is wrong with it, or the available names.
        reason: String,
    },
}

fn suggested(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// The TOML files of a folder, by name.
#[derive(Clone, Debug)]
pub struct Listing {
    what: &'static str,
    files: BTreeMap<String, PathBuf>,
}

impl Listing {
    /// Lists the files (`*.toml`) of a folder; `what` is the noun for what one of them describes.
    ///
    /// # Errors
    /// [`ListingError::Folder`] if it cannot be listed.
    pub fn of_folder(what: &'static str, folder: &Path) -> Result<Self, ListingError> {
        let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
        let entries = list().map_err(|source| ListingError::Folder { what, path: folder.to_owned(), source })?;
        let files = entries.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|e| e == "toml"));
        let named = |path: PathBuf| Some((path.file_stem()?.to_str()?.to_owned(), path));
        Ok(Self { what, files: files.filter_map(named).collect() })
    }

    /// Returns all names, older versions first.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        names.sort_by_key(|name| version(name));
        names
    }

    /// Returns the names that a name stands for: all for `all`, the matching ones for a glob such as `7.*`, or itself.
    ///
    /// # Errors
    /// [`ListingError::Glob`] if a glob is not valid or matches nothing. A plain name need not exist.
    pub fn matching<'a>(&'a self, name: &'a str) -> Result<Vec<&'a str>, ListingError> {
        if name == "all" {
            return Ok(self.names());
        }
        if !name.contains(['*', '?', '[']) {
            return Ok(vec![name]);
        }
        let wrong = |reason: String| ListingError::Glob { what: self.what, glob: name.to_owned(), reason };
        let glob = glob::Pattern::new(name).map_err(|error| wrong(error.msg.to_owned()))?;
        let found: Vec<&str> = self.names().into_iter().filter(|name| glob.matches(name)).collect();
        if found.is_empty() { Err(wrong(format!("available: {}", self.names().join(", ")))) } else { Ok(found) }
    }

    /// Returns the file of this name.
    ///
    /// # Errors
    /// [`ListingError::Unknown`], with a suggestion, if there is none.
    pub fn file(&self, name: &str) -> Result<&Path, ListingError> {
        self.files.get(name).map(PathBuf::as_path).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> ListingError {
        let names = self.names();
        let closest = names.iter().map(|known| (strsim::jaro_winkler(name, known), known));
        let best = closest.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0));
        ListingError::Unknown {
            what: self.what,
            name: name.to_owned(),
            suggestion: best.map(|(_, known)| (*known).to_owned()),
            known: names.iter().map(|known| (*known).to_owned()).collect(),
        }
    }
}

/// Returns the sort key of a name, by the numbers in it: `6.9` is older than `6.12`.
pub(crate) fn version(name: &str) -> (Vec<u32>, String) {
    let numbers = name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.collect(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        Listing::of_folder("kernel", folder.path()).unwrap()
    }

    #[test]
    fn names_are_listed_from_old_to_new() {
        let listing = listing(&["7.3.toml", "6.12.toml", "6.9.toml", "README.md", "6.12-rt.toml"]);
        assert_eq!(listing.names(), ["6.9", "6.12", "6.12-rt", "7.3"]);
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion_and_the_list() {
        let listing = listing(&["6.12.toml", "7.3.toml"]);
        let message = listing.file("6.1").unwrap_err().to_string();
        insta::assert_snapshot!(message, @"no kernel is named `6.1` (did you mean `6.12`?); available: 6.12, 7.3");
        let message = listing.file("xyz").unwrap_err().to_string();
        insta::assert_snapshot!(message, @"no kernel is named `xyz`; available: 6.12, 7.3");
    }

    #[test]
    fn a_glob_names_several() {
        let listing = listing(&["6.12.toml", "7.3.toml", "7.2-debian.toml", "6.1.toml"]);
        assert_eq!(listing.matching("7.*").unwrap(), ["7.2-debian", "7.3"]);
        assert_eq!(listing.matching("all").unwrap().len(), 4);
        assert_eq!(listing.matching("9.9").unwrap(), ["9.9"]);
        let error = listing.matching("8.*").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"no kernel matches `8.*`; available: 6.1, 6.12, 7.2-debian, 7.3");
        let error = listing.matching("[6").unwrap_err();
        insta::assert_snapshot!(error, @"no kernel matches `[6`; invalid range pattern");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("kernels");
        let error = Listing::of_folder("kernel", &missing).unwrap_err().to_string();
        assert_eq!(error, format!("cannot list the kernels in {}", missing.display()));
    }
}
