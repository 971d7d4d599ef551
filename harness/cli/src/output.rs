//! Where results go: one form to standard output, and any to files besides.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use harness_runner::report::{self, Results};

use crate::{atomic_write, exit::Wrong, screen};

/// The options of verbs that tell results.
#[derive(Debug, Args)]
pub(crate) struct OutputOptions {
    /// The form in which results go to standard output [default: human]
    #[arg(long, value_enum)]
    format: Option<Form>,

    /// What a row of the Markdown matrix stands for
    #[arg(long, value_enum, default_value_t = By::Scenario)]
    by: By,

    /// Also write JUnit XML to this file; `-` is standard output, here and below
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Also write KTAP to this file
    #[arg(long, value_name = "FILE")]
    ktap: Option<PathBuf>,

    /// Also write lines of JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also write the Markdown matrix to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// A form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table with a column a kernel, and image if there are several
    Human,
    /// One JSON object a line, as docs/results.md says
    Json,
    /// JUnit XML: a suite a kernel (and image), a case a scenario
    Junit,
    /// KTAP: a test a kernel (and image), a subtest a scenario
    Ktap,
    /// A matrix with a column a kernel (and image), then what is not as recorded
    Markdown,
}

/// A row of the Markdown matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// A scenario
    Scenario,
    /// All scenarios of a folder
    Folder,
}

impl From<By> for report::By {
    fn from(by: By) -> Self {
        match by {
            By::Scenario => Self::Scenario,
            By::Folder => Self::Folder,
        }
    }
}

/// Where results go, looked at before anything is run for them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    printed: Form,
    files: Vec<(Form, PathBuf)>,
    by: report::By,
}

impl OutputOptions {
    /// Looks whether each form has a place of its own that can be written, so that no run is in vain.
    pub(crate) fn resolve(&self) -> Result<Delivery> {
        let delivery = self.delivery().map_err(Wrong::input)?;
        delivery.files.iter().try_for_each(|(_, path)| atomic_write::check(path))?;
        Ok(delivery)
    }

    fn delivery(&self) -> Result<Delivery> {
        let named = [
            (Form::Junit, &self.junit),
            (Form::Ktap, &self.ktap),
            (Form::Json, &self.json),
            (Form::Markdown, &self.markdown),
        ];
        let mut printed = self.format;
        let mut files: Vec<(Form, PathBuf)> = Vec::new();
        for (form, path) in named.into_iter().filter_map(|(form, path)| Some((form, path.as_ref()?))) {
            if path == Path::new("-") {
                match printed.replace(form) {
                    None => {}
                    Some(other) => return Err(two(other, form, "standard output")),
                }
            } else if let Some((other, _)) = files.iter().find(|(_, taken)| taken == path) {
                return Err(two(*other, form, &path.display().to_string()));
            } else {
                files.push((form, path.clone()));
            }
        }
        Ok(Delivery { printed: printed.unwrap_or(Form::Human), files, by: self.by.into() })
    }
}

fn two(one: Form, other: Form, place: &str) -> anyhow::Error {
    let name = |form: Form| form.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    anyhow!("{} and {} cannot both go to {place}; name a file for one of them", name(one), name(other))
}

impl Delivery {
    /// Whether standard output is for people.
    pub(crate) fn is_for_people(&self) -> bool {
        self.printed == Form::Human
    }

    /// Prints and writes the results. One place that cannot be written does not keep the others from being written.
    pub(crate) fn deliver(&self, results: &Results, took: Option<Duration>) -> Result<()> {
        let printed = self.text(self.printed, results, took).and_then(|text| screen::print(&text));
        let write = |(form, path): &(Form, PathBuf)| atomic_write::write(path, &self.text(*form, results, took)?);
        let written: Vec<Result<()>> = self.files.iter().map(write).collect();
        std::iter::once(printed).chain(written).collect()
    }

    /// The matrix, as it goes to a step summary.
    pub(crate) fn matrix(&self, results: &Results) -> String {
        report::markdown(results, self.by)
    }

    fn text(&self, form: Form, results: &Results, took: Option<Duration>) -> Result<String> {
        Ok(match form {
            Form::Human => table(results, took),
            Form::Json => report::json_lines(results).context("cannot write the results as JSON")?,
            Form::Junit => report::junit(results).context("cannot write the results as JUnit XML")?,
            Form::Ktap => report::ktap(results),
            Form::Markdown => report::markdown(results, self.by),
        })
    }
}

fn table(results: &Results, took: Option<Duration>) -> String {
    let environments: Vec<_> = results.environments.iter().map(|label| label.environment.clone()).collect();
    let table = report::table(&environments, &results.results, screen::width());
    let took = took.map(|took| format!("; {:.1} s", took.as_secs_f64())).unwrap_or_default();
    format!("{table}{}{took}\n", results.counts().sentence())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> OutputOptions {
        OutputOptions { format: None, by: By::Scenario, junit: None, ktap: None, json: None, markdown: None }
    }

    fn dash() -> Option<PathBuf> {
        Some("-".into())
    }

    #[test]
    fn a_table_is_printed_unless_a_form_takes_its_place() {
        let file = OutputOptions { junit: Some("a.xml".into()), ..outputs() }.delivery().unwrap();
        assert!(file.is_for_people());
        assert_eq!(file.files, [(Form::Junit, "a.xml".into())]);
        let printed = OutputOptions { ktap: dash(), ..outputs() }.delivery().unwrap();
        assert_eq!((printed.printed, printed.files.len()), (Form::Ktap, 0));
    }

    #[test]
    fn two_forms_in_one_place_are_refused() {
        let format = Some(Form::Json);
        for both in [
            OutputOptions { ktap: dash(), junit: dash(), ..outputs() },
            OutputOptions { format, markdown: dash(), ..outputs() },
            OutputOptions { format, json: dash(), ..outputs() },
        ] {
            let error = both.delivery().unwrap_err().to_string();
            assert!(error.contains("cannot both go to standard output"), "{error}");
        }
        let same = OutputOptions { ktap: Some("x".into()), json: Some("x".into()), ..outputs() };
        assert!(same.resolve().unwrap_err().is::<Wrong>());
    }
}
