//! Everything that is wrong with a file of a user, each problem with its place.

use std::{fmt, ops::Range, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use thiserror::Error;

/// A report names at most this many problems, and says how many more there are.
pub const MOST_PROBLEMS: usize = 50;

/// One problem: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    label: String,
    span: Range<usize>,
    help: Option<String>,
}

impl Problem {
    /// A problem at these bytes of the text.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: without_controls(&message.into()), label: "here".to_owned(), span, help: None }
    }

    /// The same problem, with these words beside the underlined place.
    pub fn labelled(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// The same problem, with advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same problem, with advice if there is some.
    pub fn maybe_help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The bytes of the text it is about.
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

/// All problems of one file, in the order of their places.
///
/// Its `Display` is one line a problem, `FILE:LINE:COLUMN: what (advice)`; [`Report::underlined`] shows the
/// places.
#[derive(Clone, Debug)]
pub struct Report {
    source: NamedSource<Arc<str>>,
    problems: Vec<Problem>,
    unnamed: usize,
}

impl Report {
    /// A report about this file; several equal problems at one place count once.
    pub fn new(label: &str, text: Arc<str>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.span.start, a.span.end, &a.message).cmp(&(b.span.start, b.span.end, &b.message)));
        problems.dedup();
        let text = if text.chars().any(is_control) { without_controls(&text).into() } else { text };
        let unnamed = problems.len().saturating_sub(MOST_PROBLEMS);
        problems.truncate(MOST_PROBLEMS);
        Self { source: NamedSource::new(label, text).with_language("TOML"), problems, unnamed }
    }

    /// The file's name as it was given.
    pub fn label(&self) -> &str {
        self.source.name()
    }

    /// The problems, at most [`MOST_PROBLEMS`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a problem, both counted from 1, the column in characters.
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        position(self.source.inner(), problem.span.start)
    }
}

/// A character that could command a terminal.
fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// The text with such characters replaced by harmless ones of as many bytes, so that places stay where they are.
pub fn without_controls(text: &str) -> String {
    let harmless = |c: char| match c {
        c if !is_control(c) => c,
        c if c.is_ascii() => '?',
        _ => '\u{bf}',
    };
    text.chars().map(harmless).collect()
}

/// Line and column of a byte, both counted from 1, the column in characters.
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
        if self.unnamed > 0 {
            write!(f, "\n{}: and {} more", self.label(), self.unnamed)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// A report as a [`miette::Diagnostic`], which a terminal shows with each place underlined.
#[derive(Clone, Debug, Error)]
#[error("{} in {}", count(.0.problems.len() + .0.unnamed), .0.label())]
pub struct Underlined(Report);

fn count(problems: usize) -> String {
    if problems == 1 { "one problem".to_owned() } else { format!("{problems} problems") }
}

impl Report {
    /// The report for a terminal: hand it to `miette::Report::new` and print that with `{:?}`.
    pub fn underlined(&self) -> Underlined {
        Underlined(self.clone())
    }
}

impl Diagnostic for Underlined {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.0.source)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (self.0.unnamed > 0)
            .then(|| Box::new(format!("{} more are not shown", self.0.unnamed)) as Box<dyn fmt::Display>)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_placed_sorted_and_told_once() {
        let text: Arc<str> = "a = 1\nä = 2\n".into();
        let late = Problem::new(9..10, "late").help("do so");
        let early = Problem::new(0..1, "early");
        let report = Report::new("x.toml", text, vec![late.clone(), early, late]);
        assert_eq!(report.to_string(), "x.toml:1:1: early\nx.toml:2:3: late (do so)");
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let problems = (0..MOST_PROBLEMS + 7).map(|at| Problem::new(at..at, format!("p{at}"))).collect();
        let report = Report::new("x.toml", " ".repeat(100).into(), problems);
        assert_eq!(report.problems().len(), MOST_PROBLEMS);
        assert!(report.to_string().ends_with("x.toml: and 7 more"));
    }

    #[test]
    fn nothing_in_a_file_commands_a_terminal() {
        let text: Arc<str> = "a\u{1b}[2J\u{9b}b".into();
        let report = Report::new("x.toml", text.clone(), vec![Problem::new(6..8, "\u{1b}c\n")]);
        let shown = format!("{report}{:?}", miette::Report::new(report.underlined()));
        assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}c") && !shown.contains('\u{9b}'), "{shown:?}");
        assert_eq!(without_controls(&text).len(), text.len());
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        assert_eq!(position("a\nb", 99), (2, 2));
        assert_eq!(position("", 0), (1, 1));
    }
}
