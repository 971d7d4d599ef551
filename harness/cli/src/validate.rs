//! `validate`: judges delegation configurations before they ship.

mod proof;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum, ValueHint};
use harness_builder::{progress::Progress, project::Project, vocabularies::Vocabularies};
use harness_findings::{
    fix,
    input::{CheckInput, KernelFacts},
    report::{self, ConfigurationReport, KernelReport},
};
use harness_frontend::Frontend;
use harness_objects::{Named, Object};
use harness_uapi::vocabulary::KnownNames;

use crate::{
    Context, atomic_write, bpf_objects, candidates, configurations, diagnostic, exit,
    exit::Wrong,
    known_kernels,
    proving::Proving,
    screen::{self, print},
};

/// Judge units, instance configurations and mount lines that delegate BPF to a container
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A FILE is a systemd unit (with the drop-ins in FILE.d), the arguments of a systemd-run, the YAML of
an Incus or LXD instance or profile, fstab or a mount command, mountinfo, or what `bpftool token
list --json` prints; `-` is standard input. Without --prove nothing is built, booted or fetched,
and no privilege is needed. With it a service is started by a real systemd in a VM, and anything
else is tried in a container made as its front-end would.
A comment `# bpf-token: allow CODE reason` silences a finding of its line.

Examples:
  {program} validate my.service
  {program} validate my.service --object my.bpf.o
  {program} validate my.service --kernel all --format json
  {program} validate my.service --object my.bpf.o --prove --kernel 6.12 7.3
  {program} validate my.service --prove --image systemd-257
  {program} validate my.service --fix
  incus config show web | {program} validate -
  {program} validate --explain number-erases-names

Exit codes: 0 nothing is refused; 1 a configuration is refused; 2 wrong usage or a file that
cannot be read; 3 a kernel disagrees with what was judged, the harness, QEMU or a build failed, or
a file cannot be written; 4 there is no delegation in the files.")]
pub struct Args {
    /// Configurations to judge
    #[arg(value_name = "FILE", required_unless_present = "explain", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Kernels they are meant for, by name or glob; `all` means every one that has a manifest
    /// [default: those whose manifest says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    /// BPF objects that are to be loaded under each configuration, or programs that carry some
    #[arg(long, value_name = "OBJECT", num_args = 1.., value_hint = ValueHint::FilePath)]
    object: Vec<PathBuf>,

    /// Who reads the files, where neither their names nor their contents tell
    #[arg(long, value_name = "FRONT-END")]
    from: Option<Frontend>,

    /// How findings are told
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Make the changes that grant what is written and nothing else, and tell what is left
    #[arg(long)]
    fix: bool,

    /// Try each configuration in VMs too: its bpffs, its token, and the objects with each call made for
    /// them; a unit under a real systemd
    #[arg(long)]
    prove: bool,

    #[command(flatten)]
    proving: Proving,

    /// Explain a code, or all of them
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "all", conflicts_with = "files")]
    explain: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// One document (docs/findings.schema.json)
    Json,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    let project = context.project()?;
    let bench = ValidationContext::open(args, project)?;
    let mut judgements = judge_all(args, &bench)?;
    // What was changed is judged anew, and tried as it is then.
    if args.fix {
        for judgement in &mut judgements {
            mend(judgement)?;
        }
        judgements = judge_all(args, &bench)?;
    }
    if args.prove {
        let progress = if args.format == Format::Human { Progress::detect() } else { Progress::silent() };
        proof::all(&args.proving, &args.proving.resources(project.clone(), progress)?, &bench.files, &mut judgements)?;
    }
    if judgements.is_empty() {
        eprintln!("there is no delegation in what was named; nothing was judged");
        return Ok(exit::NOTHING_SELECTED.into());
    }
    tell(&judgements, args.format)?;
    if judgements.iter().any(ConfigurationReport::is_contradicted) {
        return Ok(exit::FAILED.into());
    }
    let refused = judgements.iter().any(ConfigurationReport::is_refused);
    Ok(if refused { ExitCode::from(exit::DIFFERS) } else { ExitCode::SUCCESS })
}

/// What configurations are judged by.
struct ValidationContext {
    files: Vec<Named>,
    kernels: Vec<KernelFacts>,
    objects: Vec<(String, Object)>,
    known: KnownNames,
}

impl ValidationContext {
    fn open(args: &Args, project: &Project) -> Result<Self> {
        let files = bpf_objects::read(&args.object)?;
        let objects = files.iter().map(Named::plain).collect();
        let vocabularies = Vocabularies::read(project).map_err(Wrong::input)?;
        let kernels = known_kernels::facts(&args.kernel, project, &vocabularies)?;
        Ok(Self { files, kernels, objects, known: vocabularies.known_names() })
    }
}

fn judge_all(args: &Args, bench: &ValidationContext) -> Result<Vec<ConfigurationReport>> {
    let names = configurations::names(&bench.known);
    let mut judgements = Vec::new();
    for file in &args.files {
        let (sources, configurations) = configurations::read(file, args.from, &names)?;
        for configuration in configurations {
            let subject =
                CheckInput { configuration: &configuration, kernels: &bench.kernels, names, objects: &bench.objects };
            let findings = harness_findings::judge(&subject, &sources);
            let kernels = bench.kernels.iter().map(|kernel| KernelReport::of(kernel, &configuration)).collect();
            judgements.push(ConfigurationReport {
                sources: sources.clone(),
                configuration,
                findings,
                kernels,
                rehearsed: None,
            });
        }
    }
    Ok(judgements)
}

/// Writes the files of a configuration with what can be mended unasked.
fn mend(judgement: &mut ConfigurationReport) -> Result<()> {
    for fixed in fix::apply(&judgement.findings, &judgement.sources) {
        let label = judgement.sources.get(fixed.source).label();
        if label == configurations::STANDARD_INPUT {
            return Err(Wrong::input(anyhow::anyhow!("--fix changes files; standard input is none")));
        }
        atomic_write::write(label.as_ref(), &fixed.text)?;
        eprintln!("{label}: {} changed", fixed.count);
    }
    Ok(())
}

fn tell(judgements: &[ConfigurationReport], format: Format) -> Result<()> {
    match format {
        Format::Human => judgements.iter().try_for_each(tell_people),
        Format::Json => print(&(report::document(judgements)? + "\n")),
        Format::Sarif => print(&(report::log(judgements, env!("CARGO_PKG_VERSION"))? + "\n")),
        Format::Github => judgements.iter().try_for_each(|judgement| print(&report::annotations(judgement))),
    }
}

fn tell_people(judgement: &ConfigurationReport) -> Result<()> {
    if !screen::output_is_on_a_screen() {
        return print(&report::plain(judgement));
    }
    let shown: String = report::underlined(judgement).iter().map(|one| diagnostic::shown(one)).collect();
    print(&(shown + &report::summary(judgement)))
}

fn explain(code: &str) -> Result<ExitCode> {
    let codes: Vec<harness_findings::code::Code> = match code {
        "all" => harness_findings::code::Code::ALL.to_vec(),
        code => vec![code.parse().map_err(|error: String| Wrong::input(anyhow::anyhow!(error)))?],
    };
    let texts: Vec<String> = codes
        .iter()
        .map(|code| {
            let explanation = textwrap::fill(&code.explanation(), screen::width().unwrap_or(100).min(100));
            format!("{code} ({}): {}\n{explanation}\n", code.level(), code.title())
        })
        .collect();
    print(&texts.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}
