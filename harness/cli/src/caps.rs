//! `caps`: computes the least delegation that BPF objects need.

pub(crate) mod page;
mod program;
pub(crate) mod program_document;
mod program_page;
mod table;

use std::{path::PathBuf, process::ExitCode, sync::LazyLock};

use anyhow::{Result, anyhow};
use clap::{Args as ClapArgs, ValueEnum, ValueHint, builder::PossibleValue};
use harness_builder::{progress::Progress, vocabularies::Vocabularies};
use harness_findings::{guard, input::KernelFacts, report};
use harness_frontend::{WritableFrontend, pasted};
use harness_objects::{Named, Object, needs};
use harness_program::NAME;
use harness_runner::{
    proof::needs::{BuiltKernel, Case, Computed, Proved, enough, needs_on, prove},
    resources::Resources,
};

use harness_uapi::{permission::Grant, release::Release};

use crate::{
    Context,
    bpf_objects::{self, LoadingOptions},
    candidates, configurations, exit,
    exit::Wrong,
    known_kernels, order,
    proving::{Proving, blame},
    screen::print,
};

/// Compute the minimal delegation and capabilities that BPF objects need
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
An OBJECT is a BPF object file, as clang writes it, or a program with embedded objects
(skeletons). A model of its loader and of the kernels' permission checks computes what it needs:
libbpf 1.7, unless --loader names another or the program has one built in.
With --prove, VMs load it with the result, and again without each single element of it.
With --exec, VMs run a program of any kind, and what it needs is found by running it with less.

Examples:
  {program} caps my.bpf.o
  {program} caps my.bpf.o --format systemd > my.service.d/bpf.conf
  {program} caps my.bpf.o --format guard-policy > my.guard.toml
  {program} caps /usr/sbin/xdp-loader --kernel all
  {program} caps my.bpf.o --loader cilium-ebpf
  {program} caps my.bpf.o --set events.max_entries=65536 --prove
  {program} caps *.bpf.o --prove --kernel 6.12 7.3
  {program} caps --exec -- bpftool prog load my.bpf.o /sys/fs/bpf/my
  {program} caps --exec --until 'listening' --kernel 7.3 -- ./my-agent --verbose
  {program} caps --table                    write docs/caps.md; takes long

Exit codes: 0 computed, and proved if requested; 1 no delegation makes it work on a kernel;
2 wrong usage or a bad file; 3 a kernel and the model disagree, or the harness, QEMU or a build
failed.")]
pub struct Args {
    /// BPF objects, or programs with embedded ones; the result is for all of them together
    #[arg(value_name = "OBJECT", required_unless_present_any = ["table", "object", "kernel", "exec"], value_hint = ValueHint::FilePath)]
    objects: Vec<PathBuf>,

    /// The same, as `validate` has it
    #[arg(long, value_name = "OBJECT", num_args = 1.., value_hint = ValueHint::FilePath)]
    object: Vec<PathBuf>,

    /// Kernels to compute it for, by name, glob or release (such as 6.9); `all` selects every kernel with a manifest, `host`
    /// the release that runs here [default: those marked as default in their manifests]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    #[command(flatten)]
    loading: LoadingOptions,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Load the objects in VMs with the result, and without each single element of it
    #[arg(long)]
    prove: bool,

    /// Prove what objects of Debian's packages need, and write docs/caps.md
    #[arg(long, conflicts_with_all = ["objects", "object", "format", "prove", "set", "loader"])]
    table: bool,

    #[command(flatten)]
    program: program::ExecOptions,

    #[command(flatten)]
    proving: Proving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Human,
    Json,
    GuardPolicy,
    Pasted(WritableFrontend),
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Format>> = LazyLock::new(|| {
            [Format::Human, Format::Json, Format::GuardPolicy]
                .into_iter()
                .chain(WritableFrontend::all().map(Format::Pasted))
                .collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Human => ("human", "Text for people"),
            Self::Json => ("json", "One JSON document (docs/caps.schema.json)"),
            Self::GuardPolicy => (report::POLICY, "A policy of the guard, with the profile that the objects need"),
            Self::Pasted(target) => (target.frontend().name, target.writes()),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let (names, after) = order::after_kernels(&args.kernel, context);
    if args.program.exec {
        return run_program(args, &names, context);
    }
    let paths = [args.objects.clone(), args.object.clone(), after].concat();
    if paths.is_empty() && !args.table {
        return Err(Wrong::input(anyhow!("no OBJECT to compute for; `{NAME} caps --help` shows how to name one")));
    }
    let objects = bpf_objects::read(&paths, &args.loading)?;
    let vocabularies = known_kernels::vocabularies(context)?;
    let kernels = known_kernels::facts(&names, context, &vocabularies)?;
    let progress = if args.format == Format::Human { Progress::detect() } else { Progress::silent() };
    if args.table {
        let Some(checkout) = context.checkout() else {
            return Err(Wrong::input(anyhow!("--table writes a page of the repository: run it in a checkout")));
        };
        return table::write(&args.proving, &args.proving.resources(checkout.clone(), progress)?, &kernels);
    }
    if args.prove {
        LoadingOptions::check_provable(&objects)?;
    }
    let plain: Vec<(String, Object)> = objects.iter().map(Named::plain).collect();
    if args.format == Format::GuardPolicy {
        return guard_policy(args, &kernels, &plain);
    }
    let computed = match args.prove {
        true => {
            let resources = args.proving.resources(context.project()?.clone(), progress)?;
            proved(&args.proving, &resources, &kernels, &objects, &plain)?
        }
        false => kernels.iter().map(|kernel| computed(kernel, &plain)).collect(),
    };
    let found = (enough(&computed), &vocabularies);
    deliver(args.format, found, || page::json(&plain, &computed), |pasted| page::human(&computed, pasted))?;
    if let Some(never) = page::never_load(&computed).filter(|_| args.format != Format::Human) {
        eprintln!("error: {never}; `--format human` shows why");
    }
    Ok(exit_code(&computed))
}

/// Runs a program in VMs and prints what it needs.
fn run_program(args: &Args, names: &[String], context: &Context) -> Result<ExitCode> {
    if args.format == Format::GuardPolicy {
        return Err(Wrong::input(anyhow!("a policy of the guard is made of objects, and --exec runs a program")));
    }
    let vocabularies = known_kernels::vocabularies(context)?;
    let kernels = known_kernels::facts(names, context, &vocabularies)?;
    let progress = if args.format == Format::Human { Progress::detect() } else { Progress::silent() };
    let resources = args.proving.resources(context.project()?.clone(), progress)?;
    let found = program::find(&args.program, &args.proving, &resources, &kernels)?;
    let grant = (found.grant(), &vocabularies);
    deliver(args.format, grant, || program_document::json(&found), |pasted| program_page::human(&found, pasted))?;
    Ok(found.exit_code())
}

/// Prints a result in a format: a page for people has the text to paste for systemd, if there is a grant.
fn deliver(
    format: Format,
    (grant, vocabularies): (Option<Grant>, &Vocabularies),
    json: impl FnOnce() -> Result<String>,
    human: impl FnOnce(Option<&str>) -> String,
) -> Result<()> {
    let known = vocabularies.known_names();
    let names = configurations::names(&known);
    let text = |target| grant.as_ref().map(|grant| pasted(target, grant, &names));
    print(&match format {
        Format::Pasted(target) => text(target).unwrap_or_default(),
        Format::Json => json()? + "\n",
        Format::Human | Format::GuardPolicy => human(text(WritableFrontend::SYSTEMD).as_deref()),
    })
}

/// Prints a policy of the guard with the profile that the objects need on all of the kernels.
fn guard_policy(args: &Args, kernels: &[KernelFacts], objects: &[(String, Object)]) -> Result<ExitCode> {
    if args.prove {
        return Err(Wrong::input(anyhow!("--prove tries a delegation, and a policy of the guard is none")));
    }
    let releases: Vec<Release> = kernels.iter().map(|kernel| kernel.release).collect();
    print(&guard::profile(objects, &releases))?;
    Ok(ExitCode::SUCCESS)
}

fn computed(kernel: &KernelFacts, objects: &[(String, Object)]) -> Computed {
    Computed { kernel: kernel.name.clone(), needs: needs(objects, kernel.release.into()), proved: None }
}

/// Computes what the objects need with the BTF of built kernels, and proves it on them.
fn proved(
    proving: &Proving,
    resources: &Resources,
    kernels: &[KernelFacts],
    objects: &[Named],
    plain: &[(String, Object)],
) -> Result<Vec<Computed>> {
    let environments = proving.environments(resources, kernels)?;
    let types = environments.iter().map(BuiltKernel::types).collect::<Result<Vec<_>, _>>()?;
    let needs = needs_on(&environments, &types, plain);
    let case = Case { name: "the objects".to_owned(), objects: objects.iter().collect(), needs: needs.clone() };
    let proofs = prove(&environments, &[case]).map_err(blame)?;
    let proofs = proofs.into_iter().map(|mut of_kernel| of_kernel.pop());
    let all = kernels.iter().zip(needs).zip(proofs);
    Ok(all.map(|((kernel, needs), proved)| Computed { kernel: kernel.name.clone(), needs, proved }).collect())
}

fn exit_code(computed: &[Computed]) -> ExitCode {
    if computed.iter().filter_map(|one| one.proved.as_ref()).any(Proved::disagrees) {
        return exit::FAILED.into();
    }
    if computed.iter().any(Computed::never_load) { ExitCode::from(exit::DIFFERS) } else { ExitCode::SUCCESS }
}
