//! A bug, and the change of a source file that makes it: an exact pattern that occurs once, and what stands there instead.

use std::{collections::BTreeMap, ops::Range, path::PathBuf};

use harness_protocol::name::{KernelName, MutantName};
use thiserror::Error;

use crate::digest::Sha256;

/// A bug to put into a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name, which no other has.
    pub name: MutantName,
    /// What is wrong with a kernel that has it, in a sentence.
    pub bug: String,
    /// What it means if nobody notices it, where that is known.
    pub unnoticed: Option<String>,
    pub(super) edits: BTreeMap<KernelName, Edit>,
}

impl Mutant {
    /// What to change in the source of this kernel; `None` if the kernel does not have what the bug is about.
    pub fn edit(&self, kernel: &KernelName) -> Option<&Edit> {
        self.edits.get(kernel)
    }

    /// The kernels it is for.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &KernelName> {
        self.edits.keys()
    }
}

/// A change of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file, below the top of the kernel source.
    pub file: PathBuf,
    /// The C function the pattern is in; without one it is searched for in the whole file.
    pub function: Option<String>,
    /// What is there; it must occur exactly once.
    pub pattern: String,
    /// What is to stand there instead.
    pub replacement: String,
}

/// Why an edit does not fit a source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditMismatch {
    /// No such function.
    #[error("there is no function {0} in it")]
    NoFunction(String),
    /// The pattern is not there.
    #[error("the pattern `{0}` does not occur {1}")]
    Absent(String, String),
    /// The pattern is there more than once.
    #[error("the pattern `{0}` occurs {2} times {1}: make it longer, or name a `function`")]
    Ambiguous(String, String, usize),
}

impl Edit {
    /// The source with this change.
    ///
    /// # Errors
    /// [`EditMismatch`] unless the pattern occurs exactly once.
    pub fn apply(&self, source: &str) -> Result<String, EditMismatch> {
        let (region, place) = match &self.function {
            None => (0..source.len(), "in it".to_owned()),
            Some(name) => {
                let body = function(source, name).ok_or_else(|| EditMismatch::NoFunction(name.clone()))?;
                (body, format!("in {name}()"))
            }
        };
        let found: Vec<usize> = source[region.clone()].match_indices(&self.pattern).map(|(at, _)| at).collect();
        match found[..] {
            [] => Err(EditMismatch::Absent(self.pattern.clone(), place)),
            [at] => {
                let start = region.start + at;
                let end = start + self.pattern.len();
                Ok([&source[..start], &self.replacement, &source[end..]].concat())
            }
            _ => Err(EditMismatch::Ambiguous(self.pattern.clone(), place, found.len())),
        }
    }

    /// A sum that another change does not have.
    pub fn sum(&self) -> Sha256 {
        let file = self.file.as_os_str().as_encoded_bytes();
        let function = self.function.as_deref().unwrap_or_default();
        Sha256::of_parts([file, function.as_bytes(), self.pattern.as_bytes(), self.replacement.as_bytes()])
    }
}

/// Where a C function's definition is, in a source laid out as the kernel's: its head starts in the first column, its
/// body ends with a brace there. Declarations and calls are passed over.
fn function(source: &str, name: &str) -> Option<Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = source.as_bytes();
    source.match_indices(&format!("{name}(")).map(|(at, _)| at).find_map(|at| {
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
    fn the_one_place_is_changed_and_nothing_else() {
        let changed = edit(None, "a == 1 ||").apply(SOURCE).unwrap();
        assert_eq!(changed, SOURCE.replace("a == 1 ||", "a"));
        let changed = edit(Some("f"), "a == 1").apply(SOURCE).unwrap();
        assert_eq!(changed, SOURCE.replace("a == 1 ||", "a ||"));
        let changed = edit(Some("ff"), "a == 1").apply(SOURCE).unwrap();
        assert_eq!(changed, SOURCE.replace("a == 1;", "a;"));
    }

    #[test]
    fn what_is_not_there_once_is_refused() {
        let refused = |function, pattern| edit(function, pattern).apply(SOURCE).unwrap_err().to_string();
        assert_eq!(refused(None, "a == 2"), "the pattern `a == 2` does not occur in it");
        assert!(refused(None, "a == 1").starts_with("the pattern `a == 1` occurs 2 times in it: make it longer"));
        assert_eq!(refused(Some("ff"), "||"), "the pattern `||` does not occur in ff()");
        assert_eq!(refused(Some("fff"), "a"), "there is no function fff in it");
    }

    #[test]
    fn another_edit_has_another_sum() {
        assert_eq!(edit(None, "x").sum(), edit(None, "x").sum());
        for other in [edit(Some("f"), "x"), edit(None, "y"), Edit { file: "b.c".into(), ..edit(None, "x") }] {
            assert_ne!(other.sum(), edit(None, "x").sum());
        }
    }
}
