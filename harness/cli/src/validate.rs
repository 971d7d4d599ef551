//! `validate`: checks delegation configurations before they ship.

mod proof;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, anyhow};
use clap::{Args as ClapArgs, ValueEnum, ValueHint};
use harness_builder::progress::Progress;
use harness_findings::{
    fix,
    guard::{self, Policy},
    input::{CheckInput, KernelFacts},
    program::ProgramNeeds,
    report::{self, ConfigurationReport, KernelReport},
    trial,
};
use harness_frontend::{Frontend, Sources};
use harness_objects::{Named, Object};
use harness_program::NAME;
use harness_uapi::vocabulary::KnownNames;

use crate::{
    Context, atomic_write,
    bpf_objects::{self, LoadingOptions},
    candidates,
    caps::program_document,
    configurations, diagnostic, exit,
    exit::Wrong,
    grants, known_kernels, order,
    proving::Proving,
    screen::{self, print},
    watch::{self, Watched},
};

/// Check units, instance configurations and mount lines that delegate BPF to a container, and policies of the guard
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A FILE is a systemd unit (with its drop-ins), a systemd-run command, the YAML of an Incus or LXD
instance or profile, a shell script with such commands or files in it, YAML of another program
(cloud-init, Ansible, Kubernetes, CI) with any of these in it, a Terraform or an LXC configuration,
an fstab or mount command, mountinfo, the output of `bpftool token list --json`, or a policy of the
guard (NAME.guard.toml); `-` is standard input. A template, or a file that mentions a delegation in
a form that is not read, is refused. Without --prove nothing is built, booted or fetched, and no
privilege is needed. With --prove a real systemd starts a service in a VM, and everything else is
tried in a container like the one its front-end creates; policies are not tried.
A comment `# bpf-token: allow CODE reason` suppresses a finding on its line.

Examples:
  {program} validate my.service
  {program} validate my.service --object my.bpf.o
  {program} validate my.service --kernel all --format json
  {program} validate my.service --object my.bpf.o --prove --kernel 6.12 7.3
  {program} validate my.service --object my.bpf.o --set events.max_entries=65536
  {program} validate my.service --prove --image systemd-257
  {program} validate my.service --systemd 257
  {program} validate my.service --format github --sarif findings.sarif --html findings.html
  {program} validate my.service --fix
  {program} validate my.service --watch
  {program} validate setup.sh cloud-init.yaml main.tf
  incus config show web | {program} validate -
  {program} validate web.guard.toml --object my.bpf.o
  {program} validate my.service --policy web.guard.toml
  {program} caps --exec --format json -- ./my-agent >needs.json
  {program} validate my.service --program needs.json
  {program} validate --explain number-erases-names

Exit codes: 0 no errors found; 1 a configuration has an error; 2 wrong usage, a file that cannot be
read or is a template, or a value that is not in the file; 3 a kernel disagrees with the prediction,
the harness, QEMU or a build failed, or a file cannot be written; 4 the files have no delegation.")]
pub struct Args {
    /// Configurations to check
    #[arg(value_name = "FILE", required_unless_present_any = ["explain", "kernel", "object", "program", "policy"], value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Kernels to check for, by name, glob or release (such as 6.9); `all` selects every kernel with a manifest, `host`
    /// the release that runs here [default: those marked as default in their manifests]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    /// BPF objects to load under each configuration, or programs with embedded ones
    #[arg(long, value_name = "OBJECT", num_args = 1.., value_hint = ValueHint::FilePath)]
    object: Vec<PathBuf>,

    #[command(flatten)]
    loading: LoadingOptions,

    /// Programs that run under each configuration: what `caps --exec --format json` found that they need
    #[arg(long, value_name = "NEEDS", num_args = 1.., value_hint = ValueHint::FilePath)]
    program: Vec<PathBuf>,

    /// Policies of the guard that the processes of each configuration run under: also report what one
    /// grants and the other refuses
    #[arg(long, value_name = "POLICY", num_args = 1.., value_hint = ValueHint::FilePath)]
    policy: Vec<PathBuf>,

    /// Front-end of the files, if it cannot be recognized by their names or contents
    #[arg(long, value_name = "FRONT-END")]
    from: Option<Frontend>,

    /// Version of systemd that runs the units [default: 262; warns if a kernel's distribution ships one without delegation]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..1000))]
    systemd: Option<u32>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Also write one HTML page to this file, which loads nothing
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    html: Option<PathBuf>,

    /// Also write SARIF 2.1.0 to this file
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    sarif: Option<PathBuf>,

    /// Also write the JSON document to this file
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    json: Option<PathBuf>,

    /// Also show what each token grants, as `grants` does; only in text for people
    #[arg(long)]
    grants: bool,

    /// Apply fixes that grant what is written and nothing else, then report the remaining findings
    #[arg(long)]
    fix: bool,

    /// Also try each configuration in VMs: its bpffs, its token, and every call that loads the objects;
    /// a real systemd starts units
    #[arg(long)]
    prove: bool,

    #[command(flatten)]
    proving: Proving,

    /// Check again whenever one of the files changes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["fix", "explain"])]
    watch: bool,

    /// Explain a code, or all codes
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "all", conflicts_with = "files")]
    explain: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    Human,
    /// One JSON document (docs/findings.schema.json)
    Json,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
    /// Annotations for GitHub Actions
    Github,
    /// One HTML page that loads nothing, with what each token grants
    Html,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    args.files_to_write().try_for_each(|(_, path)| atomic_write::check(path))?;
    let inputs = Inputs::of(args, context)?;
    if !args.watch {
        return once(args, &inputs, context);
    }
    let progress = if args.format == Format::Human { Progress::detect() } else { Progress::silent() };
    watch::repeat(&inputs.watched()?, &progress, || once(args, &inputs, &context.anew()))
}

fn once(args: &Args, inputs: &Inputs, context: &Context) -> Result<ExitCode> {
    let checked = ValidationContext::open(args, inputs, context)?;
    let mut reports = check_all(args, &inputs.files, &checked)?;
    if args.prove && reports.iter().any(|report| report.configuration.is_none()) {
        return Err(Wrong::input(anyhow!("--prove tries configurations, and a policy of the guard is none")));
    }
    // Changed files are checked again, and tried in their new form.
    if args.fix {
        for report in &mut reports {
            apply_fixes(report)?;
        }
        reports = check_all(args, &inputs.files, &checked)?;
    }
    if args.prove {
        let progress = if args.format == Format::Human { Progress::detect() } else { Progress::silent() };
        let resources = args.proving.resources(context.project()?.clone(), progress)?;
        proof::all(&args.proving, &resources, &checked.files, &mut reports)?;
    }
    if reports.is_empty() {
        eprintln!("the files have no delegation; nothing was checked");
        return Ok(exit::NOTHING_SELECTED.into());
    }
    print_reports(&reports, args.format, &checked.kernels)?;
    for (format, path) in args.files_to_write() {
        atomic_write::write(path, &document(&reports, format, &checked.kernels)?)?;
    }
    if args.grants && args.format == Format::Human {
        print_grants(&reports, &checked.kernels)?;
    }
    if reports.iter().any(ConfigurationReport::is_contradicted) {
        return Ok(exit::FAILED.into());
    }
    if reports.iter().any(ConfigurationReport::is_refused) {
        return Ok(exit::DIFFERS.into());
    }
    Ok(if reports.iter().any(ConfigurationReport::is_open) { exit::WRONG_INPUT.into() } else { ExitCode::SUCCESS })
}

impl Args {
    /// Returns the files to write, each with its format.
    fn files_to_write(&self) -> impl Iterator<Item = (Format, &PathBuf)> {
        let named = [(Format::Html, &self.html), (Format::Sarif, &self.sarif), (Format::Json, &self.json)];
        named.into_iter().filter_map(|(format, path)| Some((format, path.as_ref()?)))
    }
}

/// The lists of the command line, with each file where it belongs.
struct Inputs {
    kernels: Vec<String>,
    objects: Vec<PathBuf>,
    programs: Vec<PathBuf>,
    policies: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Inputs {
    /// Returns what to watch: all files, with the drop-ins of units.
    fn watched(&self) -> Result<Watched> {
        if self.files.iter().any(|file| file.as_path() == Path::new("-")) {
            return Err(Wrong::input(anyhow!("--watch watches files, but the input is standard input")));
        }
        let drop_ins = self.files.iter().map(|file| PathBuf::from(format!("{}.d", file.display())));
        let folders = drop_ins.filter(|folder| folder.is_dir()).collect();
        Ok(Watched { folders, files: [&self.files[..], &self.objects, &self.programs, &self.policies].concat() })
    }

    fn of(args: &Args, context: &Context) -> Result<Self> {
        let (kernels, after_kernels) = order::after_kernels(&args.kernel, context);
        let (objects, after_objects) = order::after_objects(&args.object);
        let (programs, after_programs) = order::after_programs(&args.program);
        let (policies, after_policies) = order::after_policies(&args.policy);
        let files = [args.files.clone(), after_kernels, after_objects, after_programs, after_policies].concat();
        if files.is_empty() {
            return Err(Wrong::input(anyhow!("no FILE to check; `{NAME} validate --help` lists what a FILE can be")));
        }
        Ok(Self { kernels, objects, programs, policies, files })
    }
}

/// The kernels, objects and names that configurations are checked with.
struct ValidationContext {
    files: Vec<Named>,
    kernels: Vec<KernelFacts>,
    objects: Vec<(String, Object)>,
    elsewhere: Vec<(String, Object)>,
    programs: Vec<ProgramNeeds>,
    policies: Vec<(String, Policy)>,
    known: KnownNames,
    systemd: Option<u32>,
}

impl ValidationContext {
    fn open(args: &Args, inputs: &Inputs, context: &Context) -> Result<Self> {
        let files = bpf_objects::read(&inputs.objects, &args.loading)?;
        if args.prove {
            LoadingOptions::check_provable(&files)?;
        }
        let objects = bpf_objects::labelled(&files);
        let elsewhere = bpf_objects::elsewhere(&files, &args.loading);
        let vocabularies = known_kernels::vocabularies(context)?;
        let kernels = known_kernels::facts(&inputs.kernels, context, &vocabularies)?;
        let programs = inputs.programs.iter().map(|path| program_document::read(path)).collect::<Result<_>>();
        let programs = programs.map_err(Wrong::input)?;
        let policies = inputs.policies.iter().map(|file| {
            let sources = configurations::sources(file)?;
            let policy = guard::read(&sources).map_err(Wrong::input)?;
            Ok((sources.get(0).label().to_owned(), policy))
        });
        let policies = policies.collect::<Result<_>>()?;
        let systemd =
            args.systemd.map_or_else(|| Ok(context.defaults()?.systemd), |version| anyhow::Ok(Some(version)))?;
        Ok(Self { systemd, files, kernels, objects, elsewhere, programs, policies, known: vocabularies.known_names() })
    }
}

fn check_all(args: &Args, files: &[PathBuf], context: &ValidationContext) -> Result<Vec<ConfigurationReport>> {
    let names = configurations::names(&context.known);
    let mut reports = Vec::new();
    let mut read: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in files {
        let sources = configurations::sources(file)?;
        // A unit and its drop-in are one unit, by whichever of them it is named.
        if !read.insert(sources.iter().map(|source| source.label().to_owned()).collect()) {
            continue;
        }
        if args.from.is_none() && guard::is_policy(sources.get(0)) {
            reports.push(policy(sources, context)?);
            continue;
        }
        let configurations = configurations::read(&sources, args.from, &names)?;
        for configuration in configurations {
            let input = CheckInput {
                configuration: &configuration,
                kernels: &context.kernels,
                names,
                objects: &context.objects,
                elsewhere: &context.elsewhere,
                programs: &context.programs,
                policies: &context.policies,
            };
            let mut findings = harness_findings::check(&input, &sources);
            findings.extend(trial::with_systemd(&configuration, context.systemd, &context.kernels));
            let kernels = context.kernels.iter().map(|kernel| KernelReport::of(kernel, &configuration)).collect();
            reports.push(ConfigurationReport {
                sources: sources.clone(),
                configuration: Some(configuration),
                findings,
                kernels,
                tried_unit: None,
            });
        }
    }
    Ok(reports)
}

/// Checks a policy of the guard.
fn policy(sources: Sources, context: &ValidationContext) -> Result<ConfigurationReport> {
    let findings = guard::check(&sources, &context.kernels, &context.objects).map_err(Wrong::input)?;
    Ok(ConfigurationReport { sources, configuration: None, findings, kernels: Vec::new(), tried_unit: None })
}

/// Writes the files of a configuration with all safe fixes.
fn apply_fixes(report: &mut ConfigurationReport) -> Result<()> {
    for fixed in fix::apply(&report.findings, &report.sources) {
        let label = report.sources.get(fixed.source).label();
        if label == configurations::STANDARD_INPUT {
            return Err(Wrong::input(anyhow!("--fix changes files, but the input is standard input")));
        }
        atomic_write::write(label.as_ref(), &fixed.text)?;
        eprintln!(
            "{label}: {} applied",
            if fixed.count == 1 { "1 fix".to_owned() } else { format!("{} fixes", fixed.count) }
        );
    }
    Ok(())
}

fn print_reports(reports: &[ConfigurationReport], format: Format, kernels: &[KernelFacts]) -> Result<()> {
    match format {
        Format::Human => reports.iter().try_for_each(print_for_people),
        _ => print(&document(reports, format, kernels)?),
    }
}

/// Returns the reports in a format.
fn document(reports: &[ConfigurationReport], format: Format, kernels: &[KernelFacts]) -> Result<String> {
    Ok(match format {
        Format::Human => reports.iter().map(report::plain).collect(),
        Format::Json => report::document(reports)? + "\n",
        Format::Sarif => report::log(reports, env!("CARGO_PKG_VERSION"))? + "\n",
        Format::Github => reports.iter().map(report::annotations).collect(),
        Format::Html => {
            let shown: Vec<report::Shown<'_>> =
                reports.iter().map(|report| report::Shown { report, grants: granted(report, kernels) }).collect();
            report::page(&shown, env!("CARGO_PKG_VERSION"))
        }
    })
}

/// Prints what the configurations grant whose values are all known.
fn print_grants(reports: &[ConfigurationReport], kernels: &[KernelFacts]) -> Result<()> {
    reports.iter().filter_map(|report| granted(report, kernels)).try_for_each(|text| print(&screen::wrapped(&text)))
}

/// Returns what a configuration grants, if all its values are known.
fn granted(report: &ConfigurationReport, kernels: &[KernelFacts]) -> Option<String> {
    let configuration = report.configuration.as_ref().filter(|_| !report.is_open())?;
    Some(grants::shown(report.name(), &grants::of(configuration, kernels), kernels))
}

fn print_for_people(report: &ConfigurationReport) -> Result<()> {
    if !screen::output_is_styled() {
        return print(&report::plain(report));
    }
    let shown: String = report::underlined(report).iter().map(|one| diagnostic::shown(one)).collect();
    print(&(shown + &screen::wrapped(&report::summary(report))))
}

fn explain(code: &str) -> Result<ExitCode> {
    let codes: Vec<harness_findings::code::Code> = match code {
        "all" => harness_findings::code::Code::ALL.to_vec(),
        code => vec![code.parse().map_err(|error: String| Wrong::input(anyhow!(error)))?],
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
