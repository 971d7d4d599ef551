//! `cargo xtask bench token-test`: the kernel's own test of tokens beside this project's scenarios.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use harness_builder::progress::{Progress, Unit};
use harness_cli::{Context, candidates, exit::Wrong, setup::Installation};
use harness_protocol::name::Environment;
use harness_runner::{
    measure::{TokenTest, UnprivilegedBpf},
    preparation::prepare_for,
    resources::Resources,
    scenario_runner::Runner,
    store::Freshness,
};

use super::{IMAGE, figures::Workload, host, page::row, sample::Sample, section, workload::Scenarios};

/// Run the kernel's own `test_progs -t token`, and write what it takes and covers into docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
kernels/README.md says how the program is built from the kernel's source, linked statically.

Examples:
  cargo xtask bench token-test tools/testing/selftests/bpf/test_progs
  cargo xtask bench token-test ./test_progs --kernel 7.3 --runs 1 --print

Exit codes: 0 measured; 2 no such kernel or program; 3 the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// The program `test_progs`
    #[arg(value_name = "PROGRAM", value_hint = clap::ValueHint::ExecutablePath)]
    program: PathBuf,

    /// The kernel to run it on [default: the first default kernel]
    #[arg(long, value_name = "NAME", add = candidates::kernels())]
    kernel: Option<String>,

    /// How often to run it
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,

    /// Print the section only
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    installation: Installation,
}

/// How the section begins.
pub(super) const HEADING: &str = "\n## The kernel's own test of tokens\n";

/// What was measured.
struct Measured {
    subject: Workload,
    /// `vmtest` with the command `true`, in turns with the test.
    bare: Sample,
    tests: Vec<TokenTest>,
    /// A run without unprivileged BPF.
    restricted: TokenTest,
    load: [String; 2],
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if !args.program.is_file() {
        return Err(Wrong::input(anyhow::anyhow!("there is no program {}", args.program.display())));
    }
    let project = context.project()?;
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?.with_guard(None, true);
    let measured = measure(args, &resources)?;
    section::deliver(&resources, &section(&measured)?, args.print)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, resources: &Resources) -> Result<Measured> {
    let kernels = super::kernels(resources, args.kernel.as_slice())?;
    let kernel = kernels.into_iter().next().context("there is no kernel in kernels/")?;
    let environment = Environment { kernel, image: IMAGE.parse()? };
    prepare_for(resources, std::slice::from_ref(&environment), args.installation.mode())?;
    let testbed = resources.build(&environment.kernel, &environment.image)?;
    let runner = Runner::open(resources.project(), &resources.project().scenarios()).map_err(Wrong::input)?;
    let scenarios = Scenarios::all(&runner, &testbed)?;
    let (bench, before) = (&scenarios.bench, host::load());
    let task = resources.progress().task("test_progs -t token", Unit::Things("runs"), Some(args.runs.into()));
    let (mut bare, mut tests) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        bare.push(bench.vmtest_alone()?);
        tests.push(bench.token_test(&args.program, UnprivilegedBpf::On)?);
        task.advance(1);
    }
    let restricted = bench.token_test(&args.program, UnprivilegedBpf::Off)?;
    task.finish("measured");
    let bare = Sample::of(bare).context("nothing was run")?;
    Ok(Measured { subject: scenarios.subject(), bare, tests, restricted, load: [before, host::load()] })
}

fn section(measured: &Measured) -> Result<String> {
    let Measured { subject, bare, tests, restricted, load: [before, after] } = measured;
    let Workload { kernel, release, scenarios, attempts, .. } = subject;
    let facts = host::without_qemu();
    let sample = |of: fn(&TokenTest) -> Duration| Sample::of(tests.iter().map(of)).context("nothing was run");
    let mut text = format!(
        "{HEADING}\nWritten by `cargo xtask bench token-test`: `test_progs -t token` of the kernel's `tools/testing/selftests/bpf`, \
         built from the source of {kernel} ({release}) as [kernels/README.md](../kernels/README.md#the-kernels-own-test-of-tokens) \
         says, in VMs of that kernel that plain `vmtest` boots. {}, {}; load average of a minute {before} before and {after} \
         after.\n\n| what | runs | fastest | median | slowest |\n| --- | --: | --: | --: | --: |\n",
        facts.machine(),
        facts.date,
    );
    row::<&str>(&mut text, "plain `vmtest`: the command `true`", Ok(bare));
    row::<&str>(&mut text, "plain `vmtest`: `test_progs -t token`", Ok(&sample(|test| test.took)?));
    row::<&str>(&mut text, "of that, `test_progs` itself, by the guest's clock", Ok(&sample(|test| test.inside)?));
    let _ = writeln!(
        text,
        "\nIts subtests: {}. With unprivileged BPF disabled, as distributions and our kernels have it: {}. Some of them first load a \
         program that needs no privilege.\n\nBeside it, {scenarios} scenarios with {attempts} attempts of this project run on the same kernel \
         and image; the first table has their time.",
        told(tests),
        told(std::slice::from_ref(restricted)),
    );
    Ok(text)
}

/// Says how many subtests passed in all runs, and names the others.
fn told(tests: &[TokenTest]) -> String {
    let mut all: Vec<(&str, bool)> = Vec::new();
    for (name, passed) in tests.iter().flat_map(|test| &test.subtests) {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, before)) => *before &= *passed,
            None => all.push((name, *passed)),
        }
    }
    let failed: Vec<&str> = all.iter().filter(|(_, passed)| !passed).map(|(name, _)| *name).collect();
    match failed.as_slice() {
        [] => format!("all {} pass", all.len()),
        _ => format!("{} of {} pass, not `{}`", all.len() - failed.len(), all.len(), failed.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(seconds: u64, verdicts: [bool; 2]) -> TokenTest {
        let subtests = ["map_token", "btf_token"].map(str::to_owned).into_iter().zip(verdicts).collect();
        TokenTest { took: Duration::from_secs(seconds), inside: Duration::from_secs(1), subtests }
    }

    #[test]
    fn a_subtest_passes_if_it_passed_in_all_runs() {
        assert_eq!(told(&[test(1, [true, true])]), "all 2 pass");
        assert_eq!(told(&[test(1, [true, true]), test(1, [true, false])]), "1 of 2 pass, not `btf_token`");
    }

    #[test]
    fn the_section_has_times_and_what_passed() {
        let [kernel, release, image] = ["6.12", "6.12.107", IMAGE].map(str::to_owned);
        let subject = Workload { kernel, release, image, scenarios: 270, attempts: 5687, memory_mib: 512 };
        let bare = Sample::of([2, 3, 4].map(Duration::from_secs)).unwrap();
        let tests = vec![test(6, [true, true]), test(7, [true, true])];
        let load = ["0.10", "0.90"].map(str::to_owned);
        let measured = Measured { subject, bare, tests, restricted: test(5, [true, false]), load };
        let text = section(&measured).unwrap();
        for line in [
            "| plain `vmtest`: the command `true` | 3 | 2.00 s | 3.00 s | 4.00 s |",
            "| of that, `test_progs` itself, by the guest's clock | 2 | 1.00 s | 1.00 s | 1.00 s |",
        ] {
            assert!(text.lines().any(|other| other == line), "{text}");
        }
        assert!(text.contains("Its subtests: all 2 pass. With") && text.contains("1 of 2 pass, not `btf_token`. Some"));
    }
}
