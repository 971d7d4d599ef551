//! Prints errors: mistakes in scenario files with underlined source text on a terminal, one line each elsewhere.

use std::{fmt, io, process::ExitCode};

use anstream::stream::RawStream;
use harness_diagnostics::report::Report;
use harness_runner::scenario_runner::RunnerError;
use miette::{Diagnostic, MietteHandler, MietteHandlerOpts, ReportHandler};

use crate::{
    exit::{self, Wrong},
    screen,
};

/// Returns the exit code of a verb, and prints its error if it failed.
pub fn conclude(ran: anyhow::Result<ExitCode>) -> ExitCode {
    ran.unwrap_or_else(|error| {
        print(&error);
        exit::code_of(&error)
    })
}

/// Prints an error to standard error.
pub(crate) fn print(error: &anyhow::Error) {
    match mistakes(error) {
        Some(reports) if screen::errors_are_styled() => {
            let handler = handler(&io::stderr());
            reports.iter().for_each(|report| eprintln!("{:?}", Underlined(&report.underlined(), &handler)));
        }
        Some(reports) => reports.iter().for_each(|report| eprintln!("{report}")),
        None => eprintln!("error: {error:#}"),
    }
}

/// Formats a finding for standard output.
pub(crate) fn shown(finding: &dyn Diagnostic) -> String {
    format!("{:?}\n", Underlined(finding, &handler(&io::stdout())))
}

/// A mistake in miette's format.
struct Underlined<'a>(&'a dyn Diagnostic, &'a MietteHandler);

impl fmt::Debug for Underlined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.debug(self.0, f)
    }
}

/// Returns a handler for a stream that follows the rules for colours of verdicts and the width of the terminal.
fn handler(stream: &impl RawStream) -> MietteHandler {
    let options = MietteHandlerOpts::new().color(screen::is_coloured(stream)).unicode(true).terminal_links(false);
    screen::width().map_or(options.clone(), |width| options.width(width)).build()
}

/// Returns the scenario files that an error is about, each with all its mistakes.
fn mistakes(error: &anyhow::Error) -> Option<&[Report]> {
    let error = error.downcast_ref::<Wrong>().map_or(error, Wrong::inner);
    match error.downcast_ref::<RunnerError>()? {
        RunnerError::Scenarios(reports) => Some(reports),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_scenario::file;

    #[test]
    fn mistakes_in_scenarios_are_found_in_an_error() {
        let report = file::parse("x.toml", "x".parse().unwrap(), "sumary = 1").unwrap_err();
        let error = Wrong::input(RunnerError::Scenarios(vec![report]));
        assert_eq!(mistakes(&error).unwrap()[0].label(), "x.toml");
        assert_eq!(mistakes(&error.context("run")).unwrap().len(), 1);
        assert!(mistakes(&anyhow::anyhow!("QEMU died")).is_none());
    }
}
