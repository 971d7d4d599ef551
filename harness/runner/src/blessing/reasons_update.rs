//! The reasons that go with accepted snapshots: a kernel's own snapshot takes one, and one that goes takes its own along.

use std::{
    io,
    path::{Path, PathBuf},
};

use harness_builder::file;
use harness_diagnostics::report::Report;
use harness_protocol::name::ScenarioName;
use harness_snapshot::{
    owner::Owner,
    reasons::{
        Explanation, FILE_NAME, OwnSnapshots, Reasons,
        edit::{EditError, explained, forgotten},
    },
};
use thiserror::Error;

use super::Change;

/// Why the file of reasons was not replaced.
#[derive(Debug, Error)]
pub enum ReasonsUpdateError {
    /// It could not be read back.
    #[error("{} was not changed: {report}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What would be wrong with it.
        report: Box<Report>,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The kernels' and images' own snapshots, and the reasons for them, before and after what is accepted.
pub struct ReasonsUpdate<'a> {
    reasons: &'a Reasons,
    own: OwnSnapshots,
    given: Option<Explanation>,
    unexplained: Vec<(ScenarioName, Owner)>,
    gone: Vec<ScenarioName>,
}

impl<'a> ReasonsUpdate<'a> {
    /// Before anything is accepted.
    pub fn new(reasons: &'a Reasons, own: OwnSnapshots, given: Option<Explanation>) -> Self {
        Self { reasons, own, given, unexplained: Vec::new(), gone: Vec::new() }
    }

    /// Enters what would change for a scenario.
    ///
    /// # Errors
    /// What to do about a new snapshot of a kernel's or an image's own without a reason; then nothing is entered.
    pub fn enter(&mut self, scenario: &ScenarioName, changes: &[Change]) -> Result<(), String> {
        let before = self.own.get(scenario).cloned().unwrap_or_default();
        let mut after = before.clone();
        for Change { owner, new, .. } in changes.iter().filter(|change| !change.owner.is_everybody()) {
            let _ = if new.is_some() { after.insert(owner.clone()) } else { after.remove(owner) };
        }
        let missing = after.iter().filter(|owner| !self.reasons.covers(scenario, owner));
        let missing: Vec<Owner> = missing.cloned().collect();
        if self.given.is_none()
            && let Some(owner) = missing.iter().find(|owner| !before.contains(*owner))
        {
            return Err(format!(
                "  {} would get a snapshot of its own; say why it differs by --reason TEXT (and --commit SHA where it \
                 is known), or in {FILE_NAME}",
                owner.words()
            ));
        }
        if self.given.is_some() {
            self.unexplained.extend(missing.into_iter().map(|owner| (scenario.clone(), owner)));
        }
        if before.difference(&after).next().is_some() {
            self.gone.push(scenario.clone());
        }
        self.own.insert(scenario.clone(), after);
        Ok(())
    }

    /// What the file of reasons is to hold after that, if it is to change.
    ///
    /// # Errors
    /// [`EditError`] if the file is not such as can be changed.
    pub fn text(&self) -> Result<Option<String>, EditError> {
        let mut text = self.reasons.text().to_owned();
        if !self.gone.is_empty() {
            text = forgotten(&text, &self.gone, &self.own)?;
        }
        if let (Some(given), false) = (&self.given, self.unexplained.is_empty()) {
            text = explained(&text, given, &self.unexplained)?;
        }
        Ok((text != self.reasons.text()).then_some(text))
    }

    /// Whether a reason was given that nothing asked for.
    pub fn is_idle(&self) -> bool {
        self.given.is_some() && self.unexplained.is_empty()
    }
}

/// Replaces the file of reasons, once it is sure that it can be read back.
///
/// # Errors
/// [`ReasonsUpdateError`] if it cannot, or if the file cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), ReasonsUpdateError> {
    Reasons::parse(&path.display().to_string(), text.as_bytes())
        .map_err(|report| ReasonsUpdateError::Unreadable { path: path.to_owned(), report: Box::new(report) })?;
    file::replace(path, text).map_err(|source| ReasonsUpdateError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const FILE: &str = "# Kept.\n[[difference]]\nreason = 'x'\nkernels = ['7.3']\nscenarios = ['a/b', 'a/c']\n";

    fn own(list: &[(&str, &[&str])]) -> OwnSnapshots {
        let owners = |names: &[&str]| names.iter().map(|name| owner(name)).collect();
        list.iter().map(|(scenario, names)| (scenario.parse().unwrap(), owners(names))).collect()
    }

    /// An owner by what its files have behind the first `@`.
    fn owner(text: &str) -> Owner {
        Owner::of_file("x", &format!("x@{text}.snap")).unwrap()
    }

    fn change(of: &str, old: Option<&str>, new: Option<&str>) -> Change {
        let text = |side: Option<&str>| side.map(str::to_owned);
        Change { path: PathBuf::new(), owner: owner(of), old: text(old), new: text(new) }
    }

    fn given(reason: &str) -> Option<Explanation> {
        Some(Explanation::new(reason, None).unwrap())
    }

    #[test]
    fn a_new_snapshot_of_a_kernels_own_takes_a_reason() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let before = own(&[("a/b", &["7.3"]), ("a/c", &["7.3"]), ("a/d", &[])]);
        let scenario: ScenarioName = "a/d".parse().unwrap();
        let changes = [change("7.3", None, Some("new"))];
        let refused = ReasonsUpdate::new(&reasons, before.clone(), None).enter(&scenario, &changes).unwrap_err();
        assert!(
            refused.contains("7.3 would get a snapshot of its own; say why it differs by --reason TEXT"),
            "{refused}"
        );
        let mut ledger = ReasonsUpdate::new(&reasons, before, given("y"));
        ledger.enter(&scenario, &changes).unwrap();
        assert!(!ledger.is_idle());
        let text = ledger.text().unwrap().unwrap();
        assert_eq!(
            text,
            format!("{FILE}\n[[difference]]\nreason = \"y\"\nkernels = [\"7.3\"]\nscenarios = [\"a/d\"]\n")
        );
    }

    #[test]
    fn a_new_snapshot_of_an_images_own_takes_a_reason_too() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let (before, scenario) = (own(&[("a/b", &["7.3"])]), "a/b".parse().unwrap());
        let changes = [change("@systemd-257", None, Some("new"))];
        let refused = ReasonsUpdate::new(&reasons, before.clone(), None).enter(&scenario, &changes).unwrap_err();
        assert!(refused.contains("image systemd-257 would get a snapshot of its own"), "{refused}");
        let mut ledger = ReasonsUpdate::new(&reasons, before, given("x"));
        ledger.enter(&scenario, &changes).unwrap();
        let text = ledger.text().unwrap().unwrap();
        assert!(
            text.starts_with(FILE) && text.ends_with("images = [\"systemd-257\"]\nscenarios = [\"a/b\"]\n"),
            "{text}"
        );
    }

    #[test]
    fn what_has_a_reason_keeps_it() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let before = own(&[("a/b", &["7.3"]), ("a/c", &[])]);
        let mut ledger = ReasonsUpdate::new(&reasons, before, given("y"));
        ledger.enter(&"a/b".parse().unwrap(), &[change("7.3", Some("old"), Some("new"))]).unwrap();
        ledger.enter(&"a/c".parse().unwrap(), &[change("7.3", None, Some("new"))]).unwrap();
        assert!(ledger.is_idle());
        assert_eq!(ledger.text().unwrap(), None);
    }

    #[test]
    fn a_snapshot_that_goes_takes_its_reason_along() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let before = own(&[("a/b", &["7.3"]), ("a/c", &["7.3"])]);
        let mut ledger = ReasonsUpdate::new(&reasons, before.clone(), None);
        ledger.enter(&"a/b".parse().unwrap(), &[change("7.3", Some("old"), None)]).unwrap();
        assert_eq!(ledger.text().unwrap().unwrap(), FILE.replace("'a/b', ", ""));
        ledger.enter(&"a/c".parse().unwrap(), &[change("7.3", Some("old"), None)]).unwrap();
        let text = ledger.text().unwrap().unwrap();
        assert!(Reasons::parse("differences.toml", text.as_bytes()).unwrap().iter().next().is_none(), "{text}");
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        write(&path, FILE).unwrap();
        let error = write(&path, "[[difference]]\nreason = 1\n").unwrap_err().to_string();
        assert!(error.contains("was not changed"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), FILE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
