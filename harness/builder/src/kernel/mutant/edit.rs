//! A bug, and the source change that causes it: a pattern that occurs exactly once, and its replacement.

use std::{collections::BTreeMap, ops::Range, path::PathBuf};

use harness_protocol::name::{KernelName, MutantName, ScenarioName};
use thiserror::Error;

use crate::digest::Sha256;

/// A kernel with one deliberate bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its unique name.
    pub name: MutantName,
    /// What is wrong with the kernel, in a sentence.
    pub bug: String,
    /// What it means if no scenario detects it, where that is known.
    pub unnoticed: Option<String>,
    /// The scenario that is expected to notice it, which can run first.
    pub scenario: Option<ScenarioName>,
    pub(super) edits: BTreeMap<KernelName, Edit>,
}

impl Mutant {
    /// Returns the source change for a kernel; `None` if the bug does not apply to it.
    pub fn edit(&self, kernel: &KernelName) -> Option<&Edit> {
        self.edits.get(kernel)
    }

    /// Iterates over the kernels it applies to.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &KernelName> {
        self.edits.keys()
    }
}

/// A change of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file, relative to the kernel source.
    pub file: PathBuf,
    /// The C function that contains the pattern; `None` to search the whole file.
    pub function: Option<String>,
    /// The text to replace; it must occur exactly once.
    pub pattern: String,
    /// The new text.
    pub replacement: String,
}

/// Why an edit does not fit a source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditMismatch {
    /// There is no such function.
    #[error("it has no function {0}")]
    NoFunction(String),
    /// The pattern does not occur.
    #[error("the pattern `{0}` does not occur {1}")]
    Absent(String, String),
    /// The pattern occurs more than once.
    #[error("the pattern `{0}` occurs {2} times {1}; make it longer, or add a `function`")]
    Ambiguous(String, String, usize),
}

impl Edit {
    /// Returns the source with this change.
    ///
    /// # Errors
    /// [`EditMismatch`] unless the pattern occurs exactly once.
    pub fn apply(&self, source: &str) -> Result<String, EditMismatch> {
        let (region, scope) = match &self.function {
            None => (0..source.len(), "in it".to_owned()),
            Some(name) => {
                let body = function(source, name).ok_or_else(|| EditMismatch::NoFunction(name.clone()))?;
                (body, format!("in {name}()"))
            }
        };
        let found: Vec<usize> = source[region.clone()].match_indices(&self.pattern).map(|(at, _)| at).collect();
        match found[..] {
            [] => Err(EditMismatch::Absent(self.pattern.clone(), scope)),
            [at] => {
                let start = region.start + at;
                let end = start + self.pattern.len();
                Ok([&source[..start], &self.replacement, &source[end..]].concat())
            }
            _ => Err(EditMismatch::Ambiguous(self.pattern.clone(), scope, found.len())),
        }
    }

    /// Computes a sum that identifies the change.
    pub fn sum(&self) -> Sha256 {
        let file = self.file.as_os_str().as_encoded_bytes();
        let function = self.function.as_deref().unwrap_or_default();
        Sha256::of_parts([file, function.as_bytes(), self.pattern.as_bytes(), self.replacement.as_bytes()])
    }
}

/// Returns the range of a C function's definition, in a source formatted like the kernel's: it starts in the first
/// column, and its body ends with a brace in the first column. Skips declarations and calls. A program of BPF may be named
/// by the macro `BPF_PROG`.
fn function(source: &str, name: &str) -> Option<Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = source.as_bytes();
    let plain = source.match_indices(name).filter(|(at, _)| source[at + name.len()..].starts_with('('));
    let by_macro = source
        .match_indices(name)
        .filter(|(at, _)| source[..*at].ends_with("BPF_PROG(") && source[at + name.len()..].starts_with([',', ')']));
    plain.chain(by_macro).map(|(at, _)| at).find_map(|at| {
        let line = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let whole_word = at == 0 || !is_word(bytes[at - 1]);
        let in_first_column = is_word(bytes[line]);
        let head = source[at..].find(['{', ';'])?;
        let defined = bytes[at + head] == b'{';
        let end = source[at..].find("\n}")?;
        (whole_word && in_first_column && defined).then_some(line..at + end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "static int f(int a);\n\nint ff(int a)\n{\n\treturn a == 1;\n}\n\n\
                          static int f(int a)\n{\n\tff(1);\n\treturn a == 1 || f(a);\n}\n";

    fn edit(function: Option<&str>, pattern: &str) -> Edit {
        let function = function.map(str::to_owned);
        Edit { file: "a.c".into(), function, pattern: pattern.into(), replacement: "a".into() }
    }

    #[test]
    fn the_only_occurrence_is_changed_and_nothing_else() {
        let changed = edit(None, "a == 1 ||").apply(SOURCE).unwrap();
        assert_eq!(changed, SOURCE.replace("a == 1 ||", "a"));
        let changed = edit(Some("f"), "a == 1").apply(SOURCE).unwrap();
        assert_eq!(changed, SOURCE.replace("a == 1 ||", "a ||"));
        let changed = edit(Some("ff"), "a == 1").apply(SOURCE).unwrap();
        assert_eq!(changed, SOURCE.replace("a == 1;", "a;"));
    }

    #[test]
    fn a_program_of_bpf_is_named_by_its_macro() {
        let source = "int BPF_PROG(f, int a)\n{\n\treturn a;\n}\n\nint BPF_PROG(ff)\n{\n\treturn 1;\n}\n";
        let edit = |function, pattern: &str| edit(Some(function), pattern);
        let changed = Edit { replacement: "0".into(), ..edit("ff", "1") }.apply(source).unwrap();
        assert_eq!(changed, source.replace('1', "0"));
        let changed = Edit { replacement: "0".into(), ..edit("f", "return a") }.apply(source).unwrap();
        assert_eq!(changed, source.replace("return a", "0"));
    }

    #[test]
    fn a_pattern_that_does_not_occur_exactly_once_is_refused() {
        let refused = |function, pattern| edit(function, pattern).apply(SOURCE).unwrap_err().to_string();
        insta::assert_snapshot!(refused(None, "a == 2"), @"the pattern `a == 2` does not occur in it");
        insta::assert_snapshot!(refused(None, "a == 1"), @"the pattern `a == 1` occurs 2 times in it; make it longer, or add a `function`");
        insta::assert_snapshot!(refused(Some("ff"), "||"), @"the pattern `||` does not occur in ff()");
        insta::assert_snapshot!(refused(Some("fff"), "a"), @"it has no function fff");
    }

    #[test]
    fn another_edit_has_another_sum() {
        assert_eq!(edit(None, "x").sum(), edit(None, "x").sum());
        let replaced = Edit { replacement: "b".into(), ..edit(None, "x") };
        let elsewhere = Edit { file: "b.c".into(), ..edit(None, "x") };
        for other in [edit(Some("f"), "x"), edit(None, "y"), elsewhere, replaced] {
            assert_ne!(other.sum(), edit(None, "x").sum(), "{other:?}");
        }
    }
}
