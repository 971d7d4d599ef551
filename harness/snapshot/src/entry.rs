//! Reads entries of a file that people keep beside the scenarios.

use std::fmt;

use harness_diagnostics::{
    node::{KeyPath, Node},
    report::Problem,
};

/// Resolves one entry of a file, and collects its problems.
pub(crate) struct EntryReader<'a> {
    pub(crate) root: &'a Node,
    pub(crate) path: KeyPath,
    problems: &'a mut Vec<Problem>,
}

impl<'a> EntryReader<'a> {
    /// The reader of the entry with this index in the list `key`.
    pub(crate) fn of(root: &'a Node, key: &str, at: usize, problems: &'a mut Vec<Problem>) -> Self {
        Self { root, path: KeyPath::default().key(key).index(at), problems }
    }

    pub(crate) fn noted<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.note(self.path.key(key), error.to_string())).ok()
    }

    pub(crate) fn note(&mut self, path: KeyPath, message: String) {
        self.problems.push(Problem::new(self.root.span_of(&path), message));
    }

    /// Parses each text of a list, which must not be empty or have duplicates.
    pub(crate) fn list<T, E: fmt::Display>(
        &mut self,
        key: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let before = self.problems.len();
        if texts.is_empty() && self.root.is_complete(&self.path.key(key)) {
            self.note(self.path.key(key), format!("the list of {key} is empty; list at least one"));
        }
        let mut values = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let path = self.path.key(key).index(at);
            match read(text) {
                Ok(_) if texts[..at].contains(text) => {
                    self.note(path, format!("`{}` is listed twice", text.escape_debug()));
                }
                Ok(value) => values.push(value),
                Err(error) => self.note(path, error.to_string()),
            }
        }
        (self.problems.len() == before).then_some(values)
    }
}

/// Parses a glob.
pub(crate) fn glob(text: &str) -> Result<glob::Pattern, String> {
    glob::Pattern::new(text).map_err(|error| format!("`{}` is not a valid glob: {}", text.escape_debug(), error.msg))
}
