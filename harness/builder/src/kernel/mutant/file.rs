//! The format of mutant files.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use harness_protocol::name::{KernelName, MutantName, ScenarioName};
use serde::Deserialize;

use super::{
    edit::{Edit, Mutant},
    error::MutantError,
};
use crate::file::parse_toml;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The source file of all mutants that name no other.
    file: PathBuf,
    mutant: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: MutantName,
    bug: String,
    unnoticed: Option<String>,
    scenario: Option<ScenarioName>,
    kernels: Option<Vec<KernelName>>,
    file: Option<PathBuf>,
    function: Option<String>,
    pattern: String,
    replacement: String,
    /// What differs in one kernel.
    #[serde(default)]
    on: BTreeMap<KernelName, Other>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    file: Option<PathBuf>,
    function: Option<String>,
    pattern: Option<String>,
    replacement: Option<String>,
}

/// Parses the mutants of a file.
pub(super) fn parse(path: &Path, text: &str, kernels: &[KernelName]) -> Result<Vec<Mutant>, MutantError> {
    let file: File = parse_toml(path, text)?;
    let mutant = |entry: Entry| {
        let name = entry.name.clone();
        let meaning = |reason| MutantError::Meaning { path: path.to_owned(), mutant: name, reason };
        entry.mutant(&file.file, kernels).map_err(meaning)
    };
    file.mutant.into_iter().map(mutant).collect()
}

impl Entry {
    fn mutant(self, default_file: &Path, known: &[KernelName]) -> Result<Mutant, String> {
        let kernels = self.kernels.as_deref().unwrap_or(known);
        if let Some(unknown) = kernels.iter().chain(self.on.keys()).find(|kernel| !known.contains(kernel)) {
            let known: Vec<&str> = known.iter().map(KernelName::as_str).collect();
            return Err(format!("`{unknown}` is not one of the kernels with mutants: {}", known.join(", ")));
        }
        if let Some(idle) = self.on.keys().find(|kernel| !kernels.contains(kernel)) {
            return Err(format!("[mutant.on.\"{idle}\"] is for a kernel that is not in `kernels`"));
        }
        if self.bug.trim().is_empty() {
            return Err("`bug` is empty: describe what is wrong".to_owned());
        }
        let edit = |kernel: &KernelName| {
            let other = self.on.get(kernel).cloned().unwrap_or_default();
            let edit = Edit {
                file: other.file.or_else(|| self.file.clone()).unwrap_or_else(|| default_file.to_owned()),
                function: other.function.or_else(|| self.function.clone()),
                pattern: other.pattern.unwrap_or_else(|| self.pattern.clone()),
                replacement: other.replacement.unwrap_or_else(|| self.replacement.clone()),
            };
            check(&edit).map(|()| (kernel.clone(), edit))
        };
        let edits = kernels.iter().map(edit).collect::<Result<_, _>>()?;
        let unnoticed = self.unnoticed.map(|text| text.trim().to_owned());
        Ok(Mutant { name: self.name, bug: self.bug.trim().to_owned(), unnoticed, scenario: self.scenario, edits })
    }
}

/// Checks what can be checked without the source.
fn check(edit: &Edit) -> Result<(), String> {
    let plain = |part| matches!(part, Component::Normal(_));
    if edit.file.as_os_str().is_empty() || !edit.file.components().all(plain) {
        return Err(format!("`{}` is not a path in the source", edit.file.display()));
    }
    if edit.pattern.trim().is_empty() {
        return Err("`pattern` is empty".to_owned());
    }
    if edit.pattern == edit.replacement {
        return Err("`replacement` is the same as `pattern`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> Vec<KernelName> {
        vec!["6.12".parse().unwrap(), "7.3".parse().unwrap()]
    }

    fn parsed(mutant: &str) -> Result<Vec<Mutant>, MutantError> {
        parse(Path::new("m.toml"), &format!("file = 'kernel/a.c'\n[[mutant]]\nname = 'm'\n{mutant}"), &kernels())
    }

    #[test]
    fn a_kernel_can_have_its_own_edit_or_none() {
        let mutants = parsed(
            "bug = 'b'\nfunction = 'f'\npattern = 'x'\nreplacement = 'y'\n[mutant.on.'7.3']\nfile = 'b.c'\npattern = 'z'\n",
        )
        .unwrap();
        let edit = |kernel: &str| mutants[0].edit(&kernel.parse().unwrap());
        let (old, new) = (edit("6.12").unwrap(), edit("7.3").unwrap());
        assert_eq!((old.file.to_str(), old.pattern.as_str()), (Some("kernel/a.c"), "x"));
        assert_eq!((new.file.to_str(), new.pattern.as_str(), new.replacement.as_str()), (Some("b.c"), "z", "y"));
        assert_eq!(new.function.as_deref(), Some("f"));
        let mutants = parsed("bug = 'b'\nkernels = ['7.3']\npattern = 'x'\nreplacement = 'y'\n").unwrap();
        assert_eq!(mutants[0].edit(&"6.12".parse().unwrap()), None);
    }
}
