//! Mutants: kernels with one deliberate bug in their permission checks. A test suite that misses one has a gap.
//!
//! A mutant is data: [`Mutants`] reads the files in `kernels/mutants/`, an [`Edit`] describes the change of the source,
//! and a [`MutantTree`] builds the kernels.

mod copy;
mod edit;
mod error;
mod file;
mod stand_in;
mod tree;

use std::path::Path;

use harness_protocol::name::KernelName;

pub use edit::{Edit, EditMismatch, Mutant};
pub use error::{MutantError, MutationError};
pub use tree::{MutantTree, find_built};

use crate::{
    cache::{Area, cleaning::References},
    file::read_text,
    listing::Listing,
};

/// The name of the file with mutants of the guard, which are no mutants of a kernel.
const GUARD: &str = "guard";

/// All mutants, in the order of their files, so those of the same source file are together.
#[derive(Clone, Debug)]
pub struct Mutants {
    all: Vec<Mutant>,
}

impl Mutants {
    /// Reads the files (`*.toml`) of a folder, except for the guard's; `kernels` are the kernels of mutants without a
    /// `kernels` key.
    ///
    /// # Errors
    /// [`MutantError`] with the file, and the mutant or the line if possible.
    pub fn of_folder(folder: &Path, kernels: &[KernelName]) -> Result<Self, MutantError> {
        Self::of_files(folder, kernels, |name| name != GUARD)
    }

    /// Reads the file with mutants of the guard in a folder: edits of its BPF programs (`harness/guard/bpf`), to be tried on
    /// these kernels.
    ///
    /// # Errors
    /// [`MutantError`] with the file, and the mutant or the line if possible.
    pub fn of_guard(folder: &Path, kernels: &[KernelName]) -> Result<Self, MutantError> {
        Self::of_files(folder, kernels, |name| name == GUARD)
    }

    fn of_files(folder: &Path, kernels: &[KernelName], is_wanted: impl Fn(&str) -> bool) -> Result<Self, MutantError> {
        let listing = Listing::of_folder("mutant file", folder)?;
        let mut all: Vec<Mutant> = Vec::new();
        for name in listing.names().into_iter().filter(|name| is_wanted(name)) {
            let path = listing.file(name)?;
            for mutant in file::parse(path, &read_text(path)?, kernels)? {
                if all.iter().any(|other| other.name == mutant.name) {
                    let reason = "another mutant has this name".to_owned();
                    return Err(MutantError::Meaning { path: path.to_owned(), mutant: mutant.name, reason });
                }
                all.push(mutant);
            }
        }
        Ok(Self { all })
    }

    /// Adds the cache items of the mutants.
    pub(crate) fn add_references(&self, references: &mut References) {
        for mutant in &self.all {
            mutant.kernels().for_each(|kernel| references.add(Area::Mutants, tree::entry_name(kernel, mutant)));
        }
    }

    /// Iterates over all of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mutant> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    const ONE: &str = "file = 'a.c'\n[[mutant]]\nname = 'one'\nbug = 'b'\npattern = 'x'\nreplacement = 'y'\n";

    #[test]
    fn mutants_of_all_files_are_read_in_order() {
        let two = ONE.replace("one", "two");
        let folder = folder(&[("b.toml", ONE), ("a.toml", &two), ("README.md", "")]);
        let mutants = Mutants::of_folder(folder.path(), &["6.12".parse().unwrap()]).unwrap();
        assert_eq!(mutants.iter().map(|mutant| mutant.name.as_str()).collect::<Vec<_>>(), ["two", "one"]);
    }

    #[test]
    fn scenarios_that_are_expected_to_notice_exist() {
        let project = crate::project::Project::find().unwrap();
        let (folder, kernels) = (project.kernels().join("mutants"), ["6.12", "7.3"].map(|name| name.parse().unwrap()));
        let mutants = [Mutants::of_folder(&folder, &kernels).unwrap(), Mutants::of_guard(&folder, &kernels).unwrap()];
        let expected = mutants.iter().flat_map(Mutants::iter).filter_map(|mutant| mutant.scenario.as_ref());
        let path = |scenario| project.root().join("scenarios").join(format!("{scenario}.toml"));
        let (there, missing): (Vec<_>, Vec<_>) = expected.map(path).partition(|path| path.exists());
        assert!(missing.is_empty() && !there.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_committed_mutants_are_valid() {
        let kernels = ["6.12", "7.3"].map(|name| name.parse().unwrap());
        let folder = crate::project::Project::find().unwrap().kernels().join("mutants");
        let mutants = Mutants::of_folder(&folder, &kernels).unwrap();
        for kernel in &kernels {
            assert!(mutants.iter().any(|mutant| mutant.edit(kernel).is_some()), "{kernel} has no mutant");
        }
        assert!(mutants.iter().all(|mutant| mutant.bug.ends_with('.')), "a bug is not described in a sentence");
    }
}
