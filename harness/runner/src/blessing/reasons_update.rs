//! Updates the recorded differences with accepted snapshots: a new snapshot of a single kernel or image needs a reason,
//! and a removed one takes its reason with it.

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

/// Why the file of recorded differences was not replaced.
#[derive(Debug, Error)]
pub enum ReasonsUpdateError {
    /// The new text is invalid.
    #[error("{} was not changed, because the new text would be invalid: {report}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The errors.
        report: Box<Report>,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// The snapshots of single kernels and images and their recorded differences, before and after the accepted changes.
pub struct ReasonsUpdate<'a> {
    reasons: &'a Reasons,
    own: OwnSnapshots,
    given: Option<Explanation>,
    unexplained: Vec<(ScenarioName, Owner)>,
    gone: Vec<ScenarioName>,
}

impl<'a> ReasonsUpdate<'a> {
    /// Starts without accepted changes.
    pub fn new(reasons: &'a Reasons, own: OwnSnapshots, given: Option<Explanation>) -> Self {
        Self { reasons, own, given, unexplained: Vec::new(), gone: Vec::new() }
    }

    /// Adds the changes of a scenario.
    ///
    /// # Errors
    /// Says what to do about a new snapshot of a single kernel or image without a reason; then nothing is added.
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
                "  {} would get its own snapshot; give the reason with --reason TEXT (and --commit SHA, if known), \
                 or in {FILE_NAME}",
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

    /// Returns the new text of the file of recorded differences, if it changes.
    ///
    /// # Errors
    /// [`EditError`] if the file cannot be edited.
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

    /// Returns whether a reason was given that no snapshot needs.
    pub fn is_idle(&self) -> bool {
        self.given.is_some() && self.unexplained.is_empty()
    }
}

/// Checks and replaces the file of recorded differences.
///
/// # Errors
/// [`ReasonsUpdateError`] if the text is invalid, or if the file cannot be written.
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

    /// Returns an owner by the part of its file names after the first `@`.
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
    fn a_new_snapshot_of_a_single_kernel_needs_a_reason() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let before = own(&[("a/b", &["7.3"]), ("a/c", &["7.3"]), ("a/d", &[])]);
        let scenario: ScenarioName = "a/d".parse().unwrap();
        let changes = [change("7.3", None, Some("new"))];
        let refused = ReasonsUpdate::new(&reasons, before.clone(), None).enter(&scenario, &changes).unwrap_err();
        insta::assert_snapshot!(refused, @r"  7.3 would get its own snapshot; give the reason with --reason TEXT (and --commit SHA, if known), or in differences.toml");
        let mut update = ReasonsUpdate::new(&reasons, before, given("y"));
        update.enter(&scenario, &changes).unwrap();
        assert!(!update.is_idle());
        let text = update.text().unwrap().unwrap();
        assert_eq!(
            text,
            format!("{FILE}\n[[difference]]\nreason = \"y\"\nkernels = [\"7.3\"]\nscenarios = [\"a/d\"]\n")
        );
    }

    #[test]
    fn a_new_snapshot_of_a_single_image_needs_a_reason_too() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let (before, scenario) = (own(&[("a/b", &["7.3"])]), "a/b".parse().unwrap());
        let changes = [change("@systemd-257", None, Some("new"))];
        let refused = ReasonsUpdate::new(&reasons, before.clone(), None).enter(&scenario, &changes).unwrap_err();
        insta::assert_snapshot!(refused, @r"  image systemd-257 would get its own snapshot; give the reason with --reason TEXT (and --commit SHA, if known), or in differences.toml");
        let mut update = ReasonsUpdate::new(&reasons, before, given("x"));
        update.enter(&scenario, &changes).unwrap();
        let text = update.text().unwrap().unwrap();
        insta::assert_snapshot!(text, @r#"
        # Kept.
        [[difference]]
        reason = 'x'
        kernels = ['7.3']
        scenarios = ['a/b', 'a/c']

        [[difference]]
        reason = "x"
        images = ["systemd-257"]
        scenarios = ["a/b"]
        "#);
    }

    #[test]
    fn existing_reasons_are_kept() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let before = own(&[("a/b", &["7.3"]), ("a/c", &[])]);
        let mut update = ReasonsUpdate::new(&reasons, before, given("y"));
        update.enter(&"a/b".parse().unwrap(), &[change("7.3", Some("old"), Some("new"))]).unwrap();
        update.enter(&"a/c".parse().unwrap(), &[change("7.3", None, Some("new"))]).unwrap();
        assert!(update.is_idle());
        assert_eq!(update.text().unwrap(), None);
    }

    #[test]
    fn a_removed_snapshot_takes_its_reason_with_it() {
        let reasons = Reasons::parse("differences.toml", FILE.as_bytes()).unwrap();
        let before = own(&[("a/b", &["7.3"]), ("a/c", &["7.3"])]);
        let mut update = ReasonsUpdate::new(&reasons, before.clone(), None);
        update.enter(&"a/b".parse().unwrap(), &[change("7.3", Some("old"), None)]).unwrap();
        assert_eq!(update.text().unwrap().unwrap(), FILE.replace("'a/b', ", ""));
        update.enter(&"a/c".parse().unwrap(), &[change("7.3", Some("old"), None)]).unwrap();
        let text = update.text().unwrap().unwrap();
        assert!(Reasons::parse("differences.toml", text.as_bytes()).unwrap().iter().next().is_none(), "{text}");
    }

    #[test]
    fn an_invalid_text_does_not_replace_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        write(&path, FILE).unwrap();
        let error = write(&path, "[[difference]]\nreason = 1\n").unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(folder.path().to_str().unwrap(), "SCENARIOS"), @"
        SCENARIOS/differences.toml was not changed, because the new text would be invalid: SCENARIOS/differences.toml:1:1: the key `scenarios` is missing
        SCENARIOS/differences.toml:2:10: expected a string, found a whole number
        ");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), FILE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
