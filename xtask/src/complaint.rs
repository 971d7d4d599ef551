//! How an error is told: mistakes in scenario files with each place underlined on a terminal, one line each elsewhere.

use std::io::{self, IsTerminal};

use harness_model::scenario::Report;
use harness_runner::lab::LabError;

use crate::exit::Wrong;

/// Tells an error on standard error.
pub(crate) fn tell(error: &anyhow::Error) {
    match mistakes(error) {
        Some(reports) if io::stderr().is_terminal() => {
            reports.iter().for_each(|report| eprintln!("{:?}", miette::Report::new(report.underlined())));
        }
        Some(reports) => reports.iter().for_each(|report| eprintln!("{report}")),
        None => eprintln!("error: {error:#}"),
    }
}

/// The scenario files an error is about, each with all its mistakes.
fn mistakes(error: &anyhow::Error) -> Option<&[Report]> {
    let error = error.downcast_ref::<Wrong>().map_or(error, Wrong::inner);
    match error.downcast_ref::<LabError>()? {
        LabError::Scenarios(reports) => Some(reports),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_model::scenario;

    #[test]
    fn mistakes_in_scenarios_are_found_in_an_error() {
        let report = scenario::parse("x.toml", "x".parse().unwrap(), "sumary = 1").unwrap_err();
        let error = Wrong::input(LabError::Scenarios(vec![report]));
        assert_eq!(mistakes(&error).unwrap()[0].label(), "x.toml");
        assert_eq!(mistakes(&error.context("run")).unwrap().len(), 1);
        assert!(mistakes(&anyhow::anyhow!("QEMU died")).is_none());
    }
}
