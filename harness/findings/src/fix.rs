//! Applies fixes to the texts of a configuration.

use std::collections::BTreeMap;

use harness_frontend::Sources;

use crate::finding::{Edit, Finding, Safety};

/// A text after its fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The file, as an index into [`Sources`].
    pub source: usize,
    /// All of its new text.
    pub text: String,
    /// The number of fixes applied to it.
    pub count: usize,
}

/// Applies every safe fix and returns the texts that change. Of two overlapping fixes, only the first is applied.
pub fn apply(findings: &[Finding], sources: &Sources) -> Vec<Fixed> {
    let safe = findings.iter().filter_map(|finding| finding.fix.as_ref()).filter(|fix| fix.safety == Safety::Safe);
    let mut edits: BTreeMap<usize, Vec<&Edit>> = BTreeMap::new();
    for edit in safe.flat_map(|fix| &fix.edits) {
        edits.entry(edit.location.source).or_default().push(edit);
    }
    edits.into_iter().map(|(source, edits)| applied(source, edits, sources.get(source).text())).collect()
}

fn applied(source: usize, mut edits: Vec<&Edit>, before: &str) -> Fixed {
    edits.sort_by_key(|edit| (edit.location.span.start, edit.location.span.end));
    let (mut text, mut at, mut count) = (String::with_capacity(before.len()), 0, 0);
    for edit in edits {
        let span = &edit.location.span;
        let Some(kept) = before.get(at..span.start).filter(|_| span.start >= at) else { continue };
        text.push_str(kept);
        text.push_str(&edit.text);
        (at, count) = (span.end, count + 1);
    }
    text.push_str(before.get(at..).unwrap_or_default());
    Fixed { source, text, count }
}

#[cfg(test)]
mod tests {
    use harness_frontend::Location;

    use super::*;
    use crate::{code::Code, finding::Fix};

    fn finding(span: std::ops::Range<usize>, text: &str, safety: Safety) -> Finding {
        let edits = vec![Edit { location: Location { source: 0, span }, text: text.to_owned() }];
        Finding::new(Code::WrongSpelling, "m", "w").fix(Fix { words: "x".into(), edits, safety })
    }

    #[test]
    fn only_safe_fixes_are_applied() {
        let sources = Sources::of("x", b"one two three").unwrap();
        let findings = [
            finding(8..13, "3", Safety::Safe),
            finding(0..3, "1", Safety::Safe),
            finding(4..7, "2", Safety::Review),
            finding(1..2, "overlaps", Safety::Safe),
        ];
        assert_eq!(apply(&findings, &sources), [Fixed { source: 0, text: "1 two 3".into(), count: 2 }]);
        assert!(apply(&findings[2..3], &sources).is_empty());
    }
}
