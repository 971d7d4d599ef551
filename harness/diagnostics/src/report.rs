//! Everything that is wrong with a user's file, each problem with its position.

use std::{fmt, ops::Range, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use thiserror::Error;

/// The most problems that a report lists; it counts the others.
pub const MOST_PROBLEMS: usize = 50;

/// A problem: what is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    label: String,
    span: Range<usize>,
    help: Option<String>,
}

impl Problem {
    /// Creates a problem at these bytes of the text.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: without_controls(&message.into()), label: "here".to_owned(), span, help: None }
    }

    /// Sets the words beside the underlined bytes; by default `here`.
    pub fn labelled(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Adds advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Sets or removes the advice.
    pub fn maybe_help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }

    /// Returns what is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns the bytes of the text that the problem is about.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::from(self.span.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(self.label.clone()), span))))
    }
}

/// All problems of one file, in the order of their positions.
///
/// `Display` writes one line per problem, `FILE:LINE:COLUMN: what (advice)`. [`Report::underlined`] also shows the
/// text.
#[derive(Clone, Debug)]
pub struct Report {
    source: NamedSource<Arc<str>>,
    problems: Vec<Problem>,
    unlisted: usize,
}

impl Report {
    /// Creates a report about this file. Equal problems at one position are reported once.
    pub fn new(label: &str, text: Arc<str>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.span.start, a.span.end, &a.message).cmp(&(b.span.start, b.span.end, &b.message)));
        problems.dedup();
        let text = if text.chars().any(is_control) { without_controls(&text).into() } else { text };
        let unlisted = problems.len().saturating_sub(MOST_PROBLEMS);
        problems.truncate(MOST_PROBLEMS);
        Self { source: NamedSource::new(label, text).with_language("TOML"), problems, unlisted }
    }

    /// Returns the name of the file, as it was given.
    pub fn label(&self) -> &str {
        self.source.name()
    }

    /// Returns the problems, at most [`MOST_PROBLEMS`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns line and column of a problem, both counted from 1, the column in characters.
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        position(self.source.inner(), problem.span.start)
    }
}

/// Whether a terminal could take this character as a command.
fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// Replaces control characters by harmless ones of the same length in bytes, so that positions do not change.
pub fn without_controls(text: &str) -> String {
    let harmless = |c: char| match c {
        c if !is_control(c) => c,
        c if c.is_ascii() => '?',
        _ => '\u{bf}',
    };
    text.chars().map(harmless).collect()
}

/// Returns line and column of a byte, both counted from 1, the column in characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let (line, column) = self.position(problem);
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{}:{line}:{column}: {}", self.label(), problem.message)?;
            if let Some(help) = &problem.help {
                write!(f, " ({help})")?;
            }
        }
        if self.unlisted > 0 {
            write!(f, "\n{}: and {} more", self.label(), self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// A report as a [`miette::Diagnostic`], which a terminal shows with each problem underlined.
#[derive(Clone, Debug, Error)]
#[error("{} in {}", count(.0.problems.len() + .0.unlisted), .0.label())]
pub struct Underlined(Report);

fn count(problems: usize) -> String {
    if problems == 1 { "one problem".to_owned() } else { format!("{problems} problems") }
}

impl Report {
    /// Returns the report for a terminal: pass it to `miette::Report::new` and print that with `{:?}`.
    pub fn underlined(&self) -> Underlined {
        Underlined(self.clone())
    }
}

impl Diagnostic for Underlined {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.0.source)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (self.0.unlisted > 0)
            .then(|| Box::new(format!("{} more are not shown", self.0.unlisted)) as Box<dyn fmt::Display>)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_by_position_and_reported_once() {
        let text: Arc<str> = "a = 1\nä = 2\n".into();
        let late = Problem::new(9..10, "late").help("do so");
        let early = Problem::new(0..1, "early");
        let report = Report::new("x.toml", text, vec![late.clone(), early, late]);
        insta::assert_snapshot!(report, @r"
        x.toml:1:1: early
        x.toml:2:3: late (do so)
        ");
    }

    #[test]
    fn only_the_first_problems_are_listed_and_the_others_counted() {
        let problems = (0..MOST_PROBLEMS + 7).map(|at| Problem::new(at..at, format!("p{at}"))).collect();
        let report = Report::new("x.toml", " ".repeat(100).into(), problems);
        assert_eq!(report.problems().len(), MOST_PROBLEMS);
        assert!(report.to_string().ends_with("x.toml: and 7 more"));
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let text: Arc<str> = "a\u{1b}[2J\u{9b}b".into();
        let report = Report::new("x.toml", text.clone(), vec![Problem::new(6..8, "\u{1b}c\n")]);
        let shown = format!("{report}{:?}", miette::Report::new(report.underlined()));
        assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}c") && !shown.contains('\u{9b}'), "{shown:?}");
        assert_eq!(without_controls(&text).len(), text.len());
    }

    #[test]
    fn a_position_after_the_end_is_the_end() {
        assert_eq!(position("a\nb", 99), (2, 2));
        assert_eq!(position("", 0), (1, 1));
    }
}
