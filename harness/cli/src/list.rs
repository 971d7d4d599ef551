//! `list`: shows the scenarios of a folder.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_planner::checked::Checked;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Context, candidates,
    documents::{self, FORMAT, Format},
    exit::Wrong,
    scenario_folder::FolderOption,
    screen, selection,
};

/// Show the scenarios, what each proves, and what it runs on
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Nothing is built or booted.

Examples:
  {program} list
  {program} list --filter 'token/*' --filter 'maps/*'
  {program} list --format json              as docs/scenarios.schema.json says
  {program} list --format json | jq -r '.scenarios[] | select(.kernels == null) | .name'

Exit codes: 0 listed; 2 wrong usage or a bad file; 4 nothing was selected.")]
pub struct Args {
    /// Select only scenarios whose name matches; `*` also matches `/`. May be repeated: one match is enough [default: all]
    #[arg(long, value_name = "GLOB", add = candidates::scenarios())]
    filter: Vec<String>,

    #[command(flatten)]
    folder: FolderOption,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The output of `list --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Scenarios")]
pub(crate) struct Document {
    format: u32,
    /// The scenarios, by name.
    scenarios: Vec<Listed>,
}

/// A scenario.
#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    /// Its name.
    name: String,
    /// What it proves, in a sentence.
    summary: String,
    /// Its file.
    file: String,
    /// The kernels it is for, such as `>=6.9`; null for all.
    kernels: Option<String>,
    /// The options that a kernel must have.
    config: Vec<String>,
    /// The images it is for, as a glob; null for all.
    images: Option<String>,
    /// Whether it has a VM of its own.
    own_vm: bool,
}

impl Listed {
    fn of(checked: &Checked, file: String) -> Self {
        Self {
            name: checked.name().to_string(),
            summary: checked.summary().to_owned(),
            file,
            kernels: checked.kernels().map(ToString::to_string),
            config: checked.config().to_vec(),
            images: checked.images().map(ToString::to_string),
            own_vm: checked.has_own_vm(),
        }
    }

    fn line(&self) -> String {
        let on = runs_on(self.kernels.as_deref(), &self.config, self.images.as_deref(), self.own_vm);
        format!("{:<44} {}{}\n", self.name, self.summary, if on.is_empty() { on } else { format!(" ({on})") })
    }
}

/// Returns what a scenario is for, in a few words; nothing if it runs on everything.
pub(crate) fn runs_on(kernels: Option<&str>, config: &[String], images: Option<&str>, own_vm: bool) -> String {
    let kernels = kernels.map(|kernels| format!("kernels {kernels}"));
    let config = (!config.is_empty()).then(|| format!("with {}", config.join(" ")));
    let images = images.map(|images| format!("images {images}"));
    let own_vm = own_vm.then(|| "a VM of its own".to_owned());
    [kernels, config, images, own_vm].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let runner = args.folder.open(context)?;
    let suite = runner.suite();
    let names = suite.select_any(&args.filter).map_err(Wrong::input)?;
    let scenarios = runner.check(&names).map_err(Wrong::input)?;
    if scenarios.is_empty() {
        return Ok(selection::none_of(suite, &args.filter));
    }
    let listed = |checked: &Checked| Listed::of(checked, suite.path(checked.name()).display().to_string());
    let scenarios: Vec<Listed> = scenarios.iter().map(listed).collect();
    match args.format {
        Format::Human => screen::print(&scenarios.iter().map(Listed::line).collect::<String>())?,
        Format::Json => documents::show(&Document { format: FORMAT, scenarios })?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_scenario_needs() {
        let config = ["CONFIG_IMA".to_owned()];
        assert_eq!(runs_on(None, &[], None, false), "");
        let all = runs_on(Some(">=6.9"), &config, Some("systemd-*"), true);
        assert_eq!(all, "kernels >=6.9, with CONFIG_IMA, images systemd-*, a VM of its own");
    }
}
