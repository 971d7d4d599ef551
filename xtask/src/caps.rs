//! `cargo xtask caps`: the least delegation that BPF objects need.

mod page;
mod proof;
mod table;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::LazyLock};

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum, ValueHint, builder::PossibleValue};
use harness_builder::{progress::Progress, project::Project};
use harness_findings::subject::KernelFacts;
use harness_frontend::{Names, Target, frontend::Makes, write::Wanted};
use harness_model::{
    name::KernelName,
    permission::{Element, Grant},
};
use harness_objects::{Needs, Object, needs};
use harness_runner::supplies::Supplies;

use crate::{
    bpf_objects::{self, Named},
    candidates, configurations, exit,
    known_kernels::{self, Vocabularies},
    proving::Proving,
    run::print,
};
use proof::{Case, Proved};

/// Compute the least delegation and capabilities that BPF objects need
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
An OBJECT is a BPF object as clang makes it, or a program that carries some as skeletons. What it
needs is read from it and computed by a model of libbpf 1.7 and of the kernels' permission checks;
with --prove VMs load it with that, and with each element of it left out.

Examples:
  cargo xtask caps my.bpf.o
  cargo xtask caps my.bpf.o --format systemd > my.service.d/bpf.conf
  cargo xtask caps /usr/sbin/xdp-loader --kernel all
  cargo xtask caps *.bpf.o --prove --kernel 6.12 7.3
  cargo xtask caps --table                    writes docs/caps.md; takes long

Exit codes: 0 computed, and proved if asked for; 1 an object needs what nothing can delegate, or is
not loaded; 2 wrong usage or a bad file; 3 the kernel and the model disagree, or the harness, QEMU
or a build failed.")]
pub(crate) struct Args {
    /// Objects, or programs that carry some; what is computed is for all of them together
    #[arg(value_name = "OBJECT", required_unless_present = "table", value_hint = ValueHint::FilePath)]
    objects: Vec<PathBuf>,

    /// Kernels to compute it for, by name or glob; `all` means every one that has a manifest
    /// [default: those whose manifest says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    /// What is printed: for people, or to be pasted
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Load the objects in VMs with what was computed, and without each single element of it
    #[arg(long)]
    prove: bool,

    /// Prove what objects of Debian's packages need, and write docs/caps.md
    #[arg(long, conflicts_with_all = ["objects", "format", "prove"])]
    table: bool,

    #[command(flatten)]
    proving: Proving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Human,
    Json,
    Pasted(Target),
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Format>> = LazyLock::new(|| {
            [Format::Human, Format::Json].into_iter().chain(Target::all().map(Format::Pasted)).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Human => ("human", "For people"),
            Self::Json => ("json", "One document"),
            Self::Pasted(target) => (target.frontend().name, target.writes()),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// What is needed on each kernel, in the order of the command line.
struct Computed {
    kernel: KernelName,
    needs: Needs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let project = Project::find()?;
    let objects = bpf_objects::read(&args.objects)?;
    let vocabularies = Vocabularies::read(&project)?;
    let kernels = known_kernels::facts(&args.kernel, &project, &vocabularies)?;
    let progress = if args.format == Format::Human { Progress::detect() } else { Progress::silent() };
    if args.table {
        return table::write(&args.proving, &args.proving.supplies(project, progress)?, &kernels);
    }
    let plain: Vec<(String, Object)> = objects.iter().map(|one| (one.name.clone(), one.object.clone())).collect();
    let (computed, proofs) = match args.prove {
        true => proved(&args.proving, &args.proving.supplies(project, progress)?, &kernels, &objects, &plain)?,
        false => (kernels.iter().map(|kernel| compute(kernel, &plain)).collect(), BTreeMap::new()),
    };
    let known = vocabularies.known_names();
    let names = configurations::names(&known);
    print(&match args.format {
        Format::Pasted(target) => pasted(target, &grant(&computed, &proofs), &names),
        Format::Json => page::json(&plain, &computed, &proofs)? + "\n",
        Format::Human => page::human(&computed, &proofs, &pasted(Target::SYSTEMD, &grant(&computed, &proofs), &names)),
    })?;
    Ok(code(&computed, &proofs))
}

fn compute(kernel: &KernelFacts, objects: &[(String, Object)]) -> Computed {
    Computed { kernel: kernel.name.clone(), needs: needs(objects, kernel.release.into()) }
}

/// Computes what is needed by the types of kernels that are built, and has them prove it.
fn proved(
    proving: &Proving,
    supplies: &Supplies,
    kernels: &[KernelFacts],
    objects: &[Named],
    plain: &[(String, Object)],
) -> Result<(Vec<Computed>, BTreeMap<KernelName, Proved>)> {
    let grounds = proof::grounds(proving, supplies, kernels)?;
    let needs = proof::needs_on(&grounds, &proof::types(&grounds)?, plain);
    let case = Case { name: "the objects".to_owned(), objects: objects.iter().collect(), needs: needs.clone() };
    let found = proof::prove(&grounds, &[case])?;
    let found = found.into_iter().filter_map(|mut of_kernel| of_kernel.pop());
    let names = || kernels.iter().map(|kernel| kernel.name.clone());
    let computed = names().zip(needs).map(|(kernel, needs)| Computed { kernel, needs }).collect();
    Ok((computed, names().zip(found).collect()))
}

/// What is enough on all kernels: what was proved where something was, and what was computed elsewhere.
fn grant(computed: &[Computed], proofs: &BTreeMap<KernelName, Proved>) -> Grant {
    let elements = computed.iter().flat_map(|one| -> Vec<Element> {
        match proofs.get(&one.kernel).and_then(Proved::grant) {
            Some(grant) => grant.elements().collect(),
            None => one.needs.elements.keys().copied().collect(),
        }
    });
    Grant::of(elements.chain(computed.iter().flat_map(|one| one.needs.attaching.keys().copied())))
}

/// What a person pastes: the delegation, and the capabilities as the front-end sets them.
fn pasted(target: Target, grant: &Grant, names: &Names<'_>) -> String {
    let wanted = Wanted { name: "", path: "/sys/fs/bpf", delegation: grant.delegation };
    let (text, lost) = harness_frontend::write(target, &wanted, names);
    let lost: String = lost.iter().map(|lost| format!("# lost: {}\n", lost.0)).collect();
    let inside: Vec<String> = grant.capabilities.iter().map(ToString::to_string).collect();
    let inside = match target.frontend().makes {
        // For a service that is not root; root has them by the bounding set.
        Makes::Unit => format!("AmbientCapabilities={0}\nCapabilityBoundingSet={0}\n", inside.join(" ")),
        _ => format!("# inside: {}\n", inside.join(" ")),
    };
    format!("{text}{inside}{lost}")
}

fn code(computed: &[Computed], proofs: &BTreeMap<KernelName, Proved>) -> ExitCode {
    if proofs.values().any(Proved::disagrees) {
        return exit::FAILED.into();
    }
    let stuck = |one: &Computed| one.needs.undelegable.iter().any(page::is_in_the_way);
    if computed.iter().any(stuck) { ExitCode::from(exit::DIFFERS) } else { ExitCode::SUCCESS }
}
