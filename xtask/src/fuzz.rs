//! `cargo xtask fuzz`: builds the fuzz targets of `harness/fuzz`, and runs each for some seconds on its corpus.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use harness_builder::{
    cache::{Area, Cache},
    host::Purpose,
    progress::{Progress, seconds},
};
use harness_cli::{Context, exit, exit::Wrong, screen::print, setup::Installation};
use harness_runner::preparation::prepare_host;

use crate::steps::{Tally, cargo};

/// Run the fuzz targets, each for some seconds on its corpus
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
As many targets run at once as there are processors. Inputs that a target cannot cope with stay in
the cache; the message says where, and how to try one again.

Examples:
  cargo xtask fuzz
  cargo xtask fuzz scenario record --seconds 600

Exit codes: 0 nothing was found; 1 a target cannot cope with an input; 2 wrong usage; 3 the targets
cannot be built or started.")]
pub(crate) struct Args {
    /// Targets, by the names of their folders in harness/fuzz/corpus [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// How long each target runs
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    seconds: u32,

    #[command(flatten)]
    installation: Installation,
}

/// How long each target runs unless told otherwise.
const SECONDS: u32 = 10;

/// The most memory that a target may use, in MiB.
const MOST_MEMORY: u32 = 1024;

/// How long a target may take for one input, in seconds.
const LONGEST_INPUT: u32 = 10;

/// How many lines of a target's output are shown if it fails.
const TAIL_LINES: usize = 30;

/// The only target triple that the project is built for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Flags that count which code an input reaches, as libFuzzer reads it; stable Rust has them without a sanitizer.
const FLAGS: [&str; 7] = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let root = context.project()?.root();
    let all = targets(root)?;
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        return Err(Wrong::input(anyhow::anyhow!("there is no target `{unknown}`; available: {}", all.join(", "))));
    }
    prepare_host(&[Purpose::Fuzzing], args.installation.mode(), &Progress::detect())?;
    let mut tally = Tally::default();
    let targets = if args.targets.is_empty() { all } else { args.targets.clone() };
    run_targets(root, &targets, args.seconds, &mut tally)?;
    print(&format!("{tally}\n"))?;
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}

/// Builds all targets, and runs each; every target is a check.
pub(crate) fn all(root: &Path, seconds: u32, tally: &mut Tally) -> Result<()> {
    run_targets(root, &targets(root)?, seconds, tally)
}

/// Returns the names of all targets: each has a corpus.
fn targets(root: &Path) -> Result<Vec<String>> {
    let corpus = root.join(FOLDER).join("corpus");
    let entries = fs::read_dir(&corpus).with_context(|| format!("cannot list {}", corpus.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The folder of the targets, below the project's.
const FOLDER: &str = "harness/fuzz";

fn run_targets(root: &Path, targets: &[String], seconds: u32, tally: &mut Tally) -> Result<()> {
    let lock = Cache::from_env()?.entry(Area::Trees, "fuzz")?.lock(&Progress::detect())?;
    let built = lock.entry().path();
    build(root, &built)?;
    let programs = built.join(TRIPLE).join("release");
    let artifacts = built.join("artifacts");
    fs::create_dir_all(&artifacts).with_context(|| format!("cannot create {}", artifacts.display()))?;
    let (queue, results) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    let work = || {
        // The lock is free again before the target runs.
        let next = || queue.lock().expect("no thread panicked").next();
        while let Some(name) = next() {
            let target = Target { program: programs.join(name), corpus: root.join(FOLDER).join("corpus").join(name) };
            let result = target.run(seconds, &artifacts.join(format!("{name}-")));
            results.lock().expect("no thread panicked").push(result.map(|found| (name, found.show(name))));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    for result in results.into_inner().expect("no thread panicked") {
        let (name, passed) = result?;
        tally.add_check(name, passed);
    }
    Ok(())
}

fn build(root: &Path, into: &Path) -> Result<()> {
    let start = Instant::now();
    let manifest = root.join(FOLDER).join("Cargo.toml");
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--target", TRIPLE, "--manifest-path"]).arg(manifest);
    // The strongest of cargo's variables for flags, so that a user's do not replace these.
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")).env("CARGO_TARGET_DIR", into);
    eprintln!("== fuzz targets: cargo build");
    if !command.stdin(Stdio::null()).status().context("cannot run cargo build")?.success() {
        bail!("the fuzz targets do not build");
    }
    eprintln!("== fuzz targets: ok ({})", seconds(start.elapsed()));
    Ok(())
}

/// A built target.
struct Target {
    program: PathBuf,
    corpus: PathBuf,
}

/// What became of a target.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It coped with this many inputs.
    Nothing { inputs: String },
    /// It failed; the end of its output, and the file with the input, if there is one.
    Failure { tail: String, again: Option<String> },
}

impl Target {
    /// Runs it for some seconds. Files with inputs that it cannot cope with begin with `artifacts`.
    fn run(&self, seconds: u32, artifacts: &Path) -> Result<Found> {
        let own = tempfile::tempdir().context("cannot create a folder for a fuzz target")?;
        let new = own.path().join("new");
        fs::create_dir(&new).with_context(|| format!("cannot create {}", new.display()))?;
        let mut command = Command::new(&self.program);
        // New inputs go to the first folder. The seed makes two runs alike, so that a failure comes from a change.
        command
            .arg(&new)
            .arg(&self.corpus)
            .arg(format!("-max_total_time={seconds}"))
            .args(["-seed=1", "-print_final_stats=1"]);
        command.args([format!("-rss_limit_mb={MOST_MEMORY}"), format!("-timeout={LONGEST_INPUT}")]);
        command.arg(format!("-artifact_prefix={}", artifacts.display()));
        // A target ends without removing its temporary folders.
        command.env("TMPDIR", own.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().with_context(|| format!("cannot start {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            let inputs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            let inputs = inputs.context("a fuzz target ended without statistics")?.trim().to_owned();
            return Ok(Found::Nothing { inputs });
        }
        let lines: Vec<&str> = text.lines().collect();
        let again = lines.iter().rev().find_map(|line| line.split_once("Test unit written to "));
        let again = again.map(|(_, file)| format!("{} {file}", self.program.display()));
        Ok(Found::Failure { tail: lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"), again })
    }
}

impl Found {
    /// Shows it, and returns whether nothing was found.
    fn show(&self, name: &str) -> bool {
        match self {
            Self::Nothing { inputs } => eprintln!("== fuzz target {name}: ok ({inputs} inputs)"),
            Self::Failure { tail, again } => {
                let again = again.as_ref().map(|again| format!("to try the input again:\n    {again}\n"));
                eprintln!("{tail}\n{}== fuzz target {name}: FAILED", again.unwrap_or_default());
            }
        }
        matches!(self, Self::Nothing { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn each_target_has_a_program_and_seeds() {
        let names = targets(project()).unwrap();
        let folder = project().join(FOLDER);
        let programs = fs::read_dir(folder.join("fuzz_targets")).unwrap();
        let mut programs: Vec<String> =
            programs.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
        programs.sort();
        assert_eq!(names, programs);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
            assert!(fs::read_dir(folder.join("corpus").join(&name)).unwrap().count() > 0, "{name} has no seeds");
        }
    }

    /// Runs a shell script as a target, with its own folder as corpus.
    fn ran(script: &str) -> Found {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("target");
        // Written by another process: see the test of `host::install` for why.
        let write = r#"printf '#!/bin/sh\n%s\n' "$0" >"$1" && chmod 755 "$1""#;
        assert!(Command::new("sh").args(["-c", write, script]).arg(&program).status().unwrap().success());
        let target = Target { program, corpus: folder.path().to_owned() };
        let found = target.run(7, &folder.path().join("t-")).unwrap();
        let shown = |text: String| text.replace(folder.path().to_str().unwrap(), "FOLDER");
        match found {
            Found::Failure { tail, again } => Found::Failure { tail: shown(tail), again: again.map(shown) },
            nothing => nothing,
        }
    }

    #[test]
    fn a_target_that_fails_says_how_to_try_its_input_again() {
        let stats =
            r#"test -d "$1" && test -d "$2" && test -d "$TMPDIR" && echo "stat::number_of_executed_units: 12" >&2"#;
        assert_eq!(
            ran(&format!("{stats}; case $* in *time=7*) ;; *) exit 1 ;; esac")),
            Found::Nothing { inputs: "12".into() }
        );
        let tail = "panicked at x\nartifact_prefix='FOLDER/t-'; Test unit written to FOLDER/t-crash-1";
        let script = r#"echo "panicked at x" >&2
for a; do case $a in -artifact_prefix=*) a=${a#*=}; echo "artifact_prefix='$a'; Test unit written to ${a}crash-1" >&2 ;; esac; done
exit 77"#;
        let again = Some("FOLDER/target FOLDER/t-crash-1".to_owned());
        assert_eq!(ran(script), Found::Failure { tail: tail.to_owned(), again });
        assert_eq!(ran("kill -9 $$"), Found::Failure { tail: String::new(), again: None });
    }
}
