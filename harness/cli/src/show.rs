//! `show`: shows one scenario: its plan on kernels, and its snapshots.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, ValueEnum};
use harness_builder::image::catalogue::Catalogue;
use harness_findings::input::KernelFacts;
use harness_planner::{
    checked::Checked,
    expand::{self, Expansion},
};
use harness_protocol::{
    name::{ImageName, KernelName},
    plan,
};
use harness_runner::{environments::first_image, scenario_runner::Runner};
use harness_scenario::{expanded::Expanded, layout::AttemptRole};
use harness_snapshot::recorded::Recorded;
use harness_uapi::{configuration::Configuration, resolver::KernelProfile};
use harness_verdict::verdict::Class;
use serde::Serialize;

use crate::{
    Context, candidates,
    exit::Wrong,
    known_kernels, list,
    scenario_folder::{self, FolderOption},
    screen,
};

/// Show a scenario: what it attempts on each kernel, and its snapshots
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Nothing is built or booted: names and numbers are those of the kernels' vocabularies, and every kernel
is taken to have all options.

Examples:
  {program} show maps/no-token
  {program} show maps/no-token --kernel 6.9 7.3
  {program} show maps/no-token --kernel 7.3 --format json | jq '.[].plan'

Exit codes: 0 shown; 2 no such scenario or kernel, or a bad file.")]
pub struct Args {
    /// The scenario
    #[arg(value_name = "SCENARIO", add = candidates::scenarios())]
    scenario: String,

    /// Kernels to show its plan for, by name, glob or release (such as 6.9); `all` selects every kernel with a manifest
    /// [default: those marked as default in their manifests]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    #[command(flatten)]
    folder: FolderOption,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    Human,
    /// A JSON list with the guest's plan for each kernel, as the guest program gets it
    Json,
}

/// The plan of a scenario for a kernel.
#[derive(Serialize)]
struct Planned {
    kernel: KernelName,
    /// Why the scenario does not run there, if so.
    skipped: Option<String>,
    plan: Option<plan::Scenario>,
    /// What each attempt is called in tables and snapshots.
    #[serde(skip)]
    text: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let runner = args.folder.open(context)?;
    let checked = scenario_folder::scenario(&runner, &args.scenario)?;
    let vocabularies = known_kernels::vocabularies(context)?;
    let kernels = known_kernels::facts(&args.kernel, context, &vocabularies)?;
    let images = Catalogue::of_folder(&context.project()?.images()).map_err(Wrong::input)?;
    let names = |manifests: Vec<harness_builder::image::Manifest>| -> Vec<ImageName> {
        manifests.into_iter().map(|manifest| manifest.name).collect()
    };
    let all = names(images.named(["all"]).map_err(Wrong::input)?);
    let defaults = names(images.defaults().map_err(Wrong::input)?);
    let image = first_image(&checked, &defaults, &all).or(all.first()).context("there are no images")?;
    let plans: Vec<Planned> = kernels.iter().map(|kernel| planned(&checked, kernel, image)).collect::<Result<_>>()?;
    let text = match args.format {
        Format::Human => for_people(&runner, &checked, &plans)?,
        Format::Json => serde_json::to_string_pretty(&plans).context("cannot write the plans as JSON")? + "\n",
    };
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn planned(checked: &Checked, kernel: &KernelFacts, image: &ImageName) -> Result<Planned> {
    let configuration = Configuration::complete();
    let (name, vocabulary) = (&kernel.name, &kernel.vocabulary);
    let target = KernelProfile { name, image, release: kernel.release, vocabulary, configuration: &configuration };
    let expansion = expand::expand(checked, target).map_err(Wrong::input)?;
    let kernel = name.clone();
    Ok(match expansion {
        Expansion::Skipped { reason } => {
            Planned { kernel, text: format!("  not run: {reason}\n"), skipped: Some(reason), plan: None }
        }
        Expansion::Run(expanded) => {
            Planned { kernel, text: attempts(&expanded), skipped: None, plan: Some(expanded.plan) }
        }
    })
}

/// Lists the attempts of a plan as snapshots number them; of a sweep, its rows and columns.
fn attempts(expanded: &Expanded) -> String {
    let mut text = String::new();
    if let Some(grid) = &expanded.grid {
        let columns: Vec<&str> = grid.columns.iter().map(|column| column.meaning.as_str()).collect();
        let _ = writeln!(text, "  a sweep of {} {}: {}", grid.rows.len(), grid.of, columns.join("; "));
        return text;
    }
    for case in &expanded.cases {
        if !case.label.is_empty() {
            let _ = writeln!(text, "  {}:", case.label);
        }
        for (index, attempt) in case.attempts.iter().enumerate() {
            if attempt.part == AttemptRole::Preparation {
                continue;
            }
            let expect =
                attempt.expect.map(|expect| format!("  expects {}", Class::from(expect).as_str())).unwrap_or_default();
            let missing = attempt.missing.as_ref().map(|missing| format!("  {missing}")).unwrap_or_default();
            let _ = writeln!(text, "  {:>3}  {}{expect}{missing}", index + 1, attempt.text);
        }
    }
    text
}

fn for_people(runner: &Runner, checked: &Checked, plans: &[Planned]) -> Result<String> {
    let mut text = format!("{}  {}\n", checked.name(), checked.summary());
    let _ = writeln!(text, "file: {}", runner.suite().path(checked.name()).display());
    let kernels = checked.kernels().map(ToString::to_string);
    let images = checked.images().map(ToString::to_string);
    let on = list::runs_on(kernels.as_deref(), checked.config(), images.as_deref(), checked.has_own_vm());
    if !on.is_empty() {
        let _ = writeln!(text, "for: {on}");
    }
    for group in plans.chunk_by(|a, b| a.text == b.text) {
        let names: Vec<&str> = group.iter().map(|planned| planned.kernel.as_str()).collect();
        let _ = write!(text, "\non {}:\n{}", names.join(", "), group[0].text);
    }
    Ok(text + &snapshots(&runner.suite().recorded(checked.name()).map_err(Wrong::input)?))
}

fn snapshots(recorded: &Recorded) -> String {
    if recorded.texts.is_empty() {
        return "\nno snapshot yet: `bless` records one\n".to_owned();
    }
    let mut text = String::new();
    for (owner, recorded) in &recorded.texts {
        let of = if owner.is_everybody() { "every kernel and image without its own".to_owned() } else { owner.words() };
        let _ = writeln!(text, "\nsnapshot of {of}:");
        recorded.trim_end().lines().for_each(|line| text += &format!("  {line}\n"));
    }
    text
}
