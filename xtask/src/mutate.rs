//! `cargo xtask mutate`: does the suite notice a kernel with a permission bug?

use std::{fs, io, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use harness_builder::{
    kernel::mutant::{Mutant, Mutants},
    progress::Progress,
    project::Project,
};
use harness_cli::{
    Context, candidates,
    exit::{self, Wrong},
    screen::print,
    selection::{self, Selectors},
};
use harness_planner::checked::Checked;
use harness_protocol::name::KernelName;
use harness_runner::{
    detection::{
        MutationRun, MutationRunError, Subject, page,
        score::{Score, Thoroughness},
    },
    resources::Resources,
    selection::Selection,
    store::Freshness,
};

const PAGE: &str = "docs/detection.md";

/// Build kernels, or guards, with one bug each, and show which scenarios notice
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
kernels/mutants/ describes the mutants. Their kernels and outcomes are cached apart from real ones: an
interrupted run continues where it stopped, and if only a scenario is new, only that one runs.
With --guard the mutants are those of the guard's BPF programs, in guard.toml, and only scenarios
under a guard run.

Examples:
  cargo xtask mutate --list
  cargo xtask mutate --kernel 6.12 --mutant 'bpffs-*' --until-noticed
  cargo xtask mutate --guard --kernel 7.3
  cargo xtask mutate --write-docs

Exit codes: 0 all noticed; 1 a mutant survived, or a scenario fails on the unmodified kernel; 2 a
mutant does not apply; 3 the harness, QEMU or a build failed; 4 nothing was selected.")]
pub(crate) struct Args {
    #[command(flatten)]
    selectors: Selectors,

    /// Only mutants whose name matches
    #[arg(long, value_name = "GLOB", default_value = "*", add = candidates::mutants())]
    mutant: String,

    /// Try mutants of the guard instead of kernels
    #[arg(long)]
    guard: bool,

    /// Show the mutants and build nothing
    #[arg(long)]
    list: bool,

    /// Run slow scenarios only on mutants that the quick ones do not notice
    #[arg(long)]
    until_noticed: bool,

    /// Write the results to docs/detection.md; needs all mutants and all scenarios
    #[arg(long)]
    write_docs: bool,

    /// Build nothing; exit with 1 if docs/detection.md does not match the mutants
    #[arg(long, conflicts_with_all = ["list", "write_docs"])]
    check: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    if args.check {
        return check(project);
    }
    let mutants = mutants(project, subject(args))?;
    let glob = glob::Pattern::new(&args.mutant)
        .map_err(|error| Wrong::input(anyhow::anyhow!("--mutant `{}` is not a glob: {error}", args.mutant)))?;
    let selected: Vec<&Mutant> = mutants.iter().filter(|mutant| glob.matches(mutant.name.as_str())).collect();
    if selected.is_empty() {
        eprintln!("error: no mutant matches `{}`; `cargo xtask mutate --list` shows all", args.mutant);
        return Ok(exit::NOTHING_SELECTED.into());
    }
    if args.list {
        print(&list(&selected))?;
        return Ok(ExitCode::SUCCESS);
    }
    measure(args, context, &selected, selected.len() == mutants.iter().count())
}

fn subject(args: &Args) -> Subject {
    if args.guard { Subject::Guard } else { Subject::Kernel }
}

/// Returns all mutants of the project's kernels, or of its guard.
fn mutants(project: &Project, subject: Subject) -> Result<Mutants> {
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::silent())?;
    let kernels: Vec<KernelName> = resources.default_kernels().map_err(Wrong::input)?;
    let folder = project.kernels().join("mutants");
    let mutants = match subject {
        Subject::Kernel => Mutants::of_folder(&folder, &kernels),
        Subject::Guard => Mutants::of_guard(&folder, &kernels),
    };
    mutants.map_err(Wrong::input)
}

fn list(mutants: &[&Mutant]) -> String {
    let width = mutants.iter().map(|mutant| mutant.name.as_str().len()).max().unwrap_or(0);
    mutants.iter().map(|mutant| format!("{:width$}  {}\n", mutant.name, mutant.bug)).collect()
}

fn measure(args: &Args, context: &Context, mutants: &[&Mutant], all: bool) -> Result<ExitCode> {
    let mut selection = args.selectors.resolve(context, Progress::detect())?;
    let is_whole_suite = selection.is_whole_suite();
    if args.guard {
        selection.scenarios.retain(Checked::has_guard);
    }
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    if selection.has_running_kernel() {
        bail!(Wrong::input(anyhow::anyhow!("cannot build mutants of `host`: it has no manifest")));
    }
    if args.write_docs && !(all && is_whole_suite) {
        bail!(Wrong::input(anyhow::anyhow!(
            "--write-docs needs all mutants and scenarios: remove the options that select some"
        )));
    }
    selection.prepare_host()?;
    let thoroughness = if args.until_noticed { Thoroughness::UntilNoticed } else { Thoroughness::EveryScenario };
    let mut scores: Vec<Score> = Vec::new();
    for kernel in &selection.kernels {
        scores.push(try_all(subject(args), &selection, kernel, mutants, thoroughness).map_err(blame)?);
    }
    scores.iter().try_for_each(|score| print(&score.table()))?;
    if args.write_docs {
        let path = context.project()?.root().join(PAGE);
        let page = page(context.project()?)?;
        let page = match subject(args) {
            Subject::Kernel => page::render(&scores, mutants, &page),
            Subject::Guard => page::render_guard(&scores, mutants, &page),
        };
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(if scores.iter().all(Score::is_perfect) { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}

fn try_all(
    subject: Subject,
    selection: &Selection,
    kernel: &KernelName,
    mutants: &[&Mutant],
    thoroughness: Thoroughness,
) -> Result<Score, MutationRunError> {
    MutationRun::prepare(subject, selection, kernel, mutants, thoroughness)?.run()
}

/// Maps errors to exit codes: a mutant that does not apply is wrong input.
fn blame(error: MutationRunError) -> anyhow::Error {
    match error {
        MutationRunError::Misfits(errors) => {
            let lines = errors.into_iter().map(|error| format!("{:#}", anyhow::Error::from(error)));
            Wrong::input(anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n")))
        }
        MutationRunError::Selection(error) => selection::blame(error),
        // Unchanged, so that each mistake is shown underlined.
        MutationRunError::Runner(error) => error.into(),
        error => error.into(),
    }
}

/// Returns the page as it is; a missing one is empty.
fn page(project: &Project) -> Result<String> {
    let path = project.root().join(PAGE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Checks both parts of the page.
fn check(project: &Project) -> Result<ExitCode> {
    let page = page(project)?;
    let of_kernels = page::complaints(&page, mutants(project, Subject::Kernel)?.iter());
    let of_guard = page::guard_complaints(&page, mutants(project, Subject::Guard)?.iter());
    for (complaints, option) in [(&of_kernels, ""), (&of_guard, " --guard")] {
        for complaint in complaints {
            eprintln!("error: {PAGE}: {complaint}; run `cargo xtask mutate{option} --write-docs`");
        }
    }
    let is_right = of_kernels.is_empty() && of_guard.is_empty();
    Ok(if is_right { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}
