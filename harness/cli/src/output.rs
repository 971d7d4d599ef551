//! Where results go: one format to standard output, and any others to files.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use harness_runner::report::{self, Baseline, Origin, Results, ScenarioResult};

use crate::{atomic_write, exit::Wrong, screen};

/// The options of verbs that output results.
#[derive(Debug, Args)]
pub(crate) struct OutputOptions {
    /// Format of results on standard output [default: human]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Rows of the Markdown matrix
    #[arg(long, value_enum, default_value_t = By::Scenario)]
    by: By,

    /// Also write JUnit XML to this file; `-` is standard output, as for the options below
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

    /// Also write one HTML page to this file, which loads nothing
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Also write a document for KernelCI's database (KCIDB 5.3) to this file
    #[arg(long, value_name = "FILE")]
    kcidb: Option<PathBuf>,

    /// Name of the system that sends this document, as agreed with KernelCI
    #[arg(long, value_name = "NAME", default_value = "bpf_token_harness")]
    origin: Origin,

    /// Compare with the lines of JSON of an earlier run: which failures are new, mended or still there
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Failures that decide the exit code
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = FailOn::Any, requires = "baseline")]
    fail_on: FailOn,

    /// Also write a static web site to this folder: the page, and one page per operation
    #[arg(long, value_name = "FOLDER")]
    site: Option<PathBuf>,
}

/// A format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text: a line for each scenario, and a table of what differs, with one column per kernel, and image if there are several
    Human,
    /// One JSON object per line, described in docs/results.md
    Json,
    /// JUnit XML: one suite per kernel (and image), one case per scenario
    Junit,
    /// KTAP: one test per kernel (and image), one subtest per scenario
    Ktap,
    /// Matrix with one column per kernel (and image), then everything that differs from its snapshot
    Markdown,
    /// One HTML page: matrix, verdicts, and what operations need on each kernel
    Html,
    /// One document for KernelCI's database (KCIDB 5.3): one build per kernel, one test per scenario
    Kcidb,
}

/// The failures that decide the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Every failure
    Any,
    /// Only failures that the baseline does not have
    New,
}

/// The rows of the Markdown matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// One row per scenario
    Scenario,
    /// One row per directory of scenarios
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

/// Where results go, checked before anything runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    printed: Format,
    files: Vec<(Format, PathBuf)>,
    site: Option<PathBuf>,
    by: report::By,
    origin: Origin,
    baseline: Option<Baseline>,
    fail_on: FailOn,
}

impl OutputOptions {
    /// Checks that each format has its own destination, which can be written, so that no run is wasted.
    pub(crate) fn resolve(&self) -> Result<Delivery> {
        let mut delivery = self.delivery().map_err(Wrong::input)?;
        delivery.baseline = self.baseline.as_deref().map(read_baseline).transpose().map_err(Wrong::input)?;
        delivery.files.iter().try_for_each(|(_, path)| atomic_write::check(path))?;
        if let Some(folder) = &delivery.site {
            make_folder(folder)?;
            atomic_write::check(&folder.join("index.html"))?;
        }
        Ok(delivery)
    }

    fn delivery(&self) -> Result<Delivery> {
        let named = [
            (Format::Junit, &self.junit),
            (Format::Ktap, &self.ktap),
            (Format::Json, &self.json),
            (Format::Markdown, &self.markdown),
            (Format::Html, &self.html),
            (Format::Kcidb, &self.kcidb),
        ];
        let mut printed = self.format;
        let mut files: Vec<(Format, PathBuf)> = Vec::new();
        for (format, path) in named.into_iter().filter_map(|(format, path)| Some((format, path.as_ref()?))) {
            if path == Path::new("-") {
                match printed.replace(format) {
                    None => {}
                    Some(other) => return Err(two(other, format, "standard output")),
                }
            } else if let Some((other, _)) = files.iter().find(|(_, taken)| taken == path) {
                return Err(two(*other, format, &path.display().to_string()));
            } else {
                files.push((format, path.clone()));
            }
        }
        Ok(Delivery {
            printed: printed.unwrap_or(Format::Human),
            files,
            site: self.site.clone(),
            by: self.by.into(),
            origin: self.origin.clone(),
            baseline: None,
            fail_on: self.fail_on,
        })
    }
}

fn two(one: Format, other: Format, destination: &str) -> anyhow::Error {
    let name = |format: Format| format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    anyhow!("{} and {} cannot both go to {destination}; name a file for one of them", name(one), name(other))
}

/// The most bytes of a baseline.
const MOST_OF_A_BASELINE: u64 = 1 << 30;

fn read_baseline(path: &Path) -> Result<Baseline> {
    let shown = path.display();
    let mut text = String::new();
    let file = fs::File::open(path).with_context(|| format!("cannot read the baseline {shown}"))?;
    let length = file.take(MOST_OF_A_BASELINE).read_to_string(&mut text);
    let length = length.with_context(|| format!("cannot read the baseline {shown}"))?;
    if length as u64 == MOST_OF_A_BASELINE {
        return Err(anyhow!("the baseline {shown} is larger than {} MiB", MOST_OF_A_BASELINE >> 20));
    }
    Baseline::read(&text).with_context(|| format!("the baseline {shown} cannot be used"))
}

impl Delivery {
    /// Compares the results with the baseline, if there is one.
    pub(crate) fn compare(&self, results: &mut Results) -> Result<()> {
        if let Some(before) = &self.baseline {
            let now = Baseline::read(&report::json_lines(results)?)?;
            results.compared = Some(Baseline::compare(before, &now));
        }
        Ok(())
    }

    /// Whether a result counts for the exit code.
    pub(crate) fn counts(&self, results: &Results, result: &ScenarioResult) -> bool {
        self.fail_on == FailOn::Any || results.is_new(result)
    }

    /// Whether the format on standard output is for people.
    pub(crate) fn is_for_people(&self) -> bool {
        self.printed == Format::Human
    }

    /// Prints and writes the results; text for people is given. If one destination cannot be written, the others still are.
    pub(crate) fn deliver(&self, results: &Results, for_people: impl FnOnce() -> Result<String>) -> Result<()> {
        let text = if self.is_for_people() { for_people() } else { self.text(self.printed, results) };
        let printed = text.and_then(|text| screen::print(&text));
        let write = |(format, path): &(Format, PathBuf)| atomic_write::write(path, &self.text(*format, results)?);
        let written: Vec<Result<()>> = self.files.iter().map(write).collect();
        let site = self.site.iter().map(|folder| write_site(folder, results));
        std::iter::once(printed).chain(written).chain(site).collect()
    }

    /// Returns the Markdown matrix, for a step summary.
    pub(crate) fn matrix(&self, results: &Results) -> String {
        report::markdown(results, self.by)
    }

    /// Returns the text of a format for programs.
    fn text(&self, format: Format, results: &Results) -> Result<String> {
        Ok(match format {
            // It is only printed, and never a file.
            Format::Human => String::new(),
            Format::Json => report::json_lines(results).context("cannot write the results as JSON")?,
            Format::Junit => report::junit(results).context("cannot write the results as JUnit XML")?,
            Format::Ktap => report::ktap(results),
            Format::Markdown => report::markdown(results, self.by),
            Format::Html => report::html(results),
            Format::Kcidb => report::kcidb(results, &self.origin).context("cannot write the results for KCIDB")?,
        })
    }
}

/// Writes all pages of the site; what else is in the folder stays.
fn write_site(folder: &Path, results: &Results) -> Result<()> {
    report::site(results).iter().try_for_each(|page| {
        let path = folder.join(&page.path);
        path.parent().map_or(Ok(()), make_folder)?;
        atomic_write::write(&path, &page.text)
    })
}

fn make_folder(folder: &Path) -> Result<()> {
    let advice = || format!("cannot make the folder {}; name one in a writable directory", folder.display());
    fs::create_dir_all(folder).with_context(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> OutputOptions {
        OutputOptions {
            format: None,
            by: By::Scenario,
            junit: None,
            ktap: None,
            json: None,
            markdown: None,
            html: None,
            kcidb: None,
            origin: "bpf_token_harness".parse().unwrap(),
            baseline: None,
            fail_on: FailOn::Any,
            site: None,
        }
    }

    fn dash() -> Option<PathBuf> {
        Some("-".into())
    }

    #[test]
    fn a_table_is_printed_unless_a_form_takes_its_place() {
        let file = OutputOptions { junit: Some("a.xml".into()), ..outputs() }.delivery().unwrap();
        assert!(file.is_for_people());
        assert_eq!(file.files, [(Format::Junit, "a.xml".into())]);
        let printed = OutputOptions { ktap: dash(), ..outputs() }.delivery().unwrap();
        assert_eq!((printed.printed, printed.files.len()), (Format::Ktap, 0));
    }

    #[test]
    fn only_new_failures_count_if_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.jsonl");
        let results = Results::default();
        fs::write(&file, report::json_lines(&results).unwrap()).unwrap();
        let delivery = OutputOptions { baseline: Some(file.clone()), ..outputs() }.resolve().unwrap();
        let mut compared = results.clone();
        delivery.compare(&mut compared).unwrap();
        assert_eq!(compared.compared, Some(vec![]));
        fs::write(&file, "{}").unwrap();
        let error = OutputOptions { baseline: Some(file), ..outputs() }.resolve().unwrap_err();
        assert!(error.is::<Wrong>(), "{error:#}");
    }

    #[test]
    fn two_forms_in_one_place_are_refused() {
        let format = Some(Format::Json);
        let errors: Vec<String> = [
            OutputOptions { ktap: dash(), junit: dash(), ..outputs() },
            OutputOptions { format, markdown: dash(), ..outputs() },
            OutputOptions { format, json: dash(), ..outputs() },
            OutputOptions { ktap: Some("x".into()), json: Some("x".into()), ..outputs() },
        ]
        .into_iter()
        .map(|both| both.delivery().unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        junit and ktap cannot both go to standard output; name a file for one of them
        json and markdown cannot both go to standard output; name a file for one of them
        json and json cannot both go to standard output; name a file for one of them
        ktap and json cannot both go to x; name a file for one of them
        "#);
        let same = OutputOptions { ktap: Some("x".into()), json: Some("x".into()), ..outputs() };
        assert!(same.resolve().unwrap_err().is::<Wrong>());
    }
}
