//! Real programs that load BPF: those of the images ask of a kernel what `docs/programs.md` says, and one of the host runs
//! where nothing but its own files are.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;
#[path = "programs/guarded.rs"]
mod guarded;
#[path = "programs/same_calls.rs"]
mod same_calls;

use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use harness_builder::{
    cache::Cache,
    guest_program::loaders::{self, Loaders},
    objects::{self, Objects},
    program_files::{self, Kind, ProgramFile},
    progress::Progress,
    project::Project,
};
use harness_objects::Needs;
use harness_proof::minimizer::{Minimal, Reduction};
use harness_protocol::plan::Exec;
use harness_runner::{
    proof::{self, Program, ProgramContent, prove_program},
    resources::Resources,
    session::RunFolder,
    store::Freshness,
    vm::{self, VmSpec},
};
use harness_uapi::{
    permission::{Capability, Element},
    release::Release,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use built::{Built, MINIMAL};

/// The kernels, and the images with programs.
const KERNELS: [&str; 2] = ["6.12", "7.3"];
const IMAGES: [&str; 4] = ["programs-bookworm", "programs-trixie", "programs-forky", "tracers"];

/// The objects that the programs load.
const OBJECTS: [&str; 3] = ["classifier", "xdp", "xdp-data"];

/// The limit for a VM under software emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The folder shared with the host.
const SHARE: &str = "/mnt/vmtest";

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let mut trials = vec![built::trial("a_program_of_the_host_runs_with_what_was_collected_for_it", |built| {
        foreign(built).map_err(|error| Failed::from(format!("{error:#}")))
    })];
    trials.push(built::trial_in("programs-trixie", "a_program_needs_what_its_object_needs_of_its_library", |built| {
        needs_of_objects(built).map_err(|error| Failed::from(format!("{error:#}")))
    }));
    trials.push(built::trial_in("tracers", "where_a_program_makes_a_call_is_told", |built| {
        sites(built).map_err(|error| Failed::from(format!("{error:#}")))
    }));
    for (kernel, image) in KERNELS.into_iter().flat_map(|kernel| IMAGES.map(|image| (kernel, image))) {
        let name = format!("programs_ask_what_the_page_says::{kernel}::{image}");
        trials.push(trial_on(kernel, image, name, move |built, files| counted(built, files, image)));
    }
    for kernel in KERNELS {
        let name = format!("an_object_asks_the_same_of_a_program_and_of_the_guest_program::{kernel}");
        trials.push(trial_on(kernel, MINIMAL, name, same_calls::compared));
        let name = format!("the_guard_counts_as_strace_does_and_more_of_a_loader_program::{kernel}");
        trials.push(trial_on(kernel, guarded::IMAGE, name, guarded::counted));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Creates a test that is skipped, with the reason, if something is not built.
fn trial_on(
    kernel: &'static str,
    image: &'static str,
    name: String,
    test: impl FnOnce(&Built, &Files) -> Result<()> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match find(kernel, image) {
        Ok(None) => Ok(Completion::ignored_with(format!(
            "kernel {kernel} is not built; `cargo xtask kernel build {kernel}` builds it"
        ))),
        Ok(Some((built, files))) => match test(&built, &files) {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => Err(Failed::from(format!("{error:#}"))),
        },
        Err(error) => match built::gone(image) {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None if env::var_os("CI").is_some() => Err(Failed::from(format!("{error:#}"))),
            None => Ok(Completion::ignored_with(format!("{error:#}"))),
        },
    })
}

/// What the programs load, and programs of this project that load it.
struct Files {
    objects: Objects,
    loaders: Loaders,
}

/// Returns what a VM with the image needs, if the kernel is built.
fn find(kernel: &str, image: &str) -> Result<Option<(Built, Files)>> {
    let Some(built) = Built::of_kernel_in(kernel, image).map_err(|error| anyhow!("{error}"))? else { return Ok(None) };
    let (project, cache) = (Project::find()?, Cache::from_env()?);
    let objects = objects::find_built(&project.objects(), &cache)?;
    let objects = objects.context("the objects are not built: `cargo xtask run --filter 'objects/*'`")?;
    let loaders = loaders::find_built(project.root(), &cache)?;
    let loaders = loaders.context("the loaders of objects are not built: `cargo xtask test` builds them")?;
    Ok(Some((built, Files { objects, loaders })))
}

/// What the page says of a program.
struct Row {
    command: String,
    /// Calls of bpf(2), how many of them ask for a token, and calls of perf_event_open(2).
    counts: [usize; 3],
}

/// Returns what the page says of the programs of an image.
fn rows(image: &str) -> Result<Vec<Row>> {
    let page = Project::find()?.root().join("docs/programs.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let image = format!("`{image}`");
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [_, of, command, calls, asks, events] = cells[..] else { return None };
        let count = |cell: &str| cell.parse::<usize>().ok();
        (of == image).then_some(())?;
        let command = command.trim_matches('`').to_owned();
        Some(Row { command, counts: [count(calls)?, count(asks)?, count(events)?] })
    };
    let rows: Vec<Row> = text.lines().filter_map(row).collect();
    ensure!(!rows.is_empty(), "{} says nothing of the image {image}", page.display());
    Ok(rows)
}

/// Finds the least with which bpftool loads objects, compares it with what the model computes for libbpf 1.5, and looks for what the
/// verifier says where CAP_PERFMON is missing.
fn needs_of_objects(built: &Built) -> Result<()> {
    let (minimal, computed) = needs_of_object(built, "xdp-data")?;
    let shown = |elements: &mut dyn Iterator<Item = Element>| elements.map(|one| one.to_string()).collect::<Vec<_>>();
    let (found, computed) = (shown(&mut minimal.grant.elements()), shown(&mut computed.elements.keys().copied()));
    ensure!(found == computed, "found {found:?}, computed {computed:?}");
    // Not compared: the libbpf in this bpftool is that of a later 6.12.y, which with a token makes no probe of loading.
    let (minimal, _) = needs_of_object(built, "xdp-helpers")?;
    let without = minimal.needed.get(&Element::Capability(Capability::Perfmon)).context("CAP_PERFMON is not needed")?;
    let words = without.iter().map(|failed| failed.defect.to_string()).collect::<String>();
    ensure!(words.contains("the verifier: ") && words.contains("call bpf_get_current_task#35"), "{words}");
    Ok(())
}

fn needs_of_object(built: &Built, name: &str) -> Result<(Minimal, Needs)> {
    const PATH: &str = "/opt/object.bpf.o";
    let resources = Resources::open(Project::find()?, Freshness::Any, Progress::silent())?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?;
    let objects = objects::find_built(&resources.project().objects(), resources.cache())?;
    let bytes = fs::read(objects.context("the objects are not built")?.path(name))?;
    let args = ["prog", "load", PATH, "/sys/fs/bpf/p"].map(str::to_owned).to_vec();
    let exec = Exec { program: "/usr/sbin/bpftool".to_owned(), args, limit_ms: 60_000, ..Exec::default() };
    let content = ProgramContent::File { bytes: bytes.clone().into(), executable: false };
    let files = vec![proof::ProgramFile { path: PATH.to_owned(), content }];
    let (_, proved) = prove_program(&[&testbed], &Program { exec, files, with_losses: true })?.remove(0);
    let Some(Ok(Reduction::Minimal(minimal))) = proved.reduction else { return Err(anyhow!("{proved:?}")) };
    let object = harness_objects::read_for(&bytes, "libbpf-1.5".parse()?)?;
    let release: Release = built.kernel.release().parse()?;
    Ok((minimal, harness_objects::needs(&[("object".to_owned(), object)], release.into())))
}

/// Finds the functions by which bpftrace opens a perf event, in a library that names them and in itself.
fn sites(built: &Built) -> Result<()> {
    let resources = Resources::open(Project::find()?, Freshness::Any, Progress::silent())?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?;
    let args = ["-e", "kprobe:hrtimer_nanosleep { exit(); }", "-c", "/usr/bin/sleep 1"].map(str::to_owned).to_vec();
    let exec = Exec { program: "/usr/bin/bpftrace".to_owned(), args, limit_ms: 60_000, ..Exec::default() };
    let (_, proved) = prove_program(&[&testbed], &Program { exec, files: Vec::new(), with_losses: false })?.remove(0);
    let recording = proved.recording?;
    let calls = recording.not_delegable();
    let event = calls.iter().find(|step| step.cmd == "perf_event_open").context("no perf event was opened")?;
    let site: Vec<String> = recording.container.site(event).iter().map(ToString::to_string).collect();
    let [of_library, .., of_program] = &site[..] else { return Err(anyhow!("{site:?}")) };
    ensure!(of_library.starts_with("bpf_open_perf_buffer_opts in libbcc_bpf.so."), "{site:?}");
    ensure!(of_program.starts_with("0x") && of_program.ends_with(" in bpftrace"), "{site:?}");
    Ok(())
}

/// Runs each program of an image under strace, and compares what it asks with what the page says.
fn counted(built: &Built, files: &Files, image: &str) -> Result<()> {
    let rows = rows(image)?;
    let (folder, console) = run(built, script(&rows), |share| fill(files, share).map(|()| Vec::new()))?;
    let share = folder.path().join("share");
    let mut wrong = String::new();
    for (number, row) in rows.iter().enumerate() {
        let answer = |name: &str| fs::read_to_string(share.join(format!("{number}.{name}"))).unwrap_or_default();
        let status = answer("status");
        let trace = answer("trace");
        let counts = counts(&trace);
        if status != "0\n" || counts != row.counts {
            let Row { command, counts: expected } = row;
            let output = answer("output");
            writeln!(
                wrong,
                "`{command}` ended with {status:?}, counts {counts:?}, not {expected:?}:\n{output}\n{trace}"
            )?;
        }
    }
    ensure!(wrong.is_empty(), "{wrong}\nthe console:\n{console}");
    Ok(())
}

/// Puts what the programs load into the shared folder, and the programs of this project.
fn fill(files: &Files, share: &Path) -> Result<()> {
    for name in OBJECTS {
        fs::copy(files.objects.path(name), share.join(format!("{name}.bpf.o")))?;
    }
    fs::copy(files.loaders.aya(), share.join("load-by-aya"))?;
    fs::copy(files.loaders.libbpf(), share.join("load-by-libbpf"))?;
    Ok(fs::write(share.join("map.py"), include_str!("programs/map.py"))?)
}

/// Counts the calls in what strace wrote: of bpf(2), those of them that ask for a token, and of perf_event_open(2).
///
/// bpftrace reads its maps as often as it has time for, and a load that a signal interrupts (`EAGAIN`) is tried again: neither
/// counts.
fn counts(trace: &str) -> [usize; 3] {
    let count = |text: &str| trace.lines().filter(|line| line.contains(text)).count();
    let again = count("bpf(BPF_MAP_LOOKUP_ELEM") + count("= -1 EAGAIN");
    [count("bpf(") - again, count("bpf(BPF_TOKEN_CREATE"), count("perf_event_open(")]
}

/// Writes what the guest does: each command gets an interface with a place for classifiers.
fn script(rows: &[Row]) -> String {
    let mut script = format!("cd {SHARE}; mount -t bpf bpffs /sys/fs/bpf\n");
    for (number, Row { command, .. }) in rows.iter().enumerate() {
        let traced = format!("strace -f -e trace=bpf,perf_event_open -o {number}.trace bash -c");
        let quoted = command.replace('\'', r"'\''");
        script += "ip link add d0 type dummy\n";
        if command.starts_with("tc ") {
            script += "tc qdisc add dev d0 clsact\n";
        }
        script += &format!("{traced} '{quoted}' >{number}.output 2>&1; echo $? >{number}.status\n");
        script += "ip link del d0; rm -f /sys/fs/bpf/p /sys/fs/bpf/count\n";
    }
    script
}

/// Runs this machine's shell in an image without any library, with what was collected for it.
fn foreign(built: &Built) -> Result<()> {
    let files = program_files::closure(Path::new("/bin/sh"), &[])?;
    let is_library = |path: &str| path.contains(".so") && !path.starts_with("/etc/");
    let paths = files.iter().map(|file| file.path.display().to_string());
    let libraries: Vec<String> = paths.filter(|path| is_library(path)).collect();
    let command = "/bin/sh -c 'while read -r line; do echo \"$line\"; done </proc/$$/maps'".to_owned();
    let (_folder, shown) = run(built, command, |_| Ok(files))?;
    ensure!(libraries.iter().any(|path| shown.contains(path)), "none of {libraries:?} was loaded:\n{shown}");
    Ok(())
}

/// Runs a command in a VM, with the files that `fill` returns in its root and those that it puts into the shared folder.
fn run(
    built: &Built,
    command: String,
    fill: impl FnOnce(&Path) -> Result<Vec<ProgramFile>>,
) -> Result<(RunFolder, String)> {
    let run = RunFolder::create(&built.runs)?;
    let [root, share, worker]: [PathBuf; 3] = ["root", "share", "worker"].map(|name| run.path().join(name));
    [&share, &worker].into_iter().try_for_each(fs::create_dir)?;
    built.image.private_copy(&built.guest, &root)?;
    fill(&share)?.iter().try_for_each(|file| place(file, &root))?;
    let spec = built.spec().map_err(|error| anyhow!("{error}"))?;
    let spec = VmSpec { root, share, command, ..spec };
    let shown = built::shown(&spec, &worker, PATIENCE).map_err(|error| anyhow!("{error}"))?;
    Ok((run, shown))
}

/// Puts a file into the root of an image that has no libraries, in the place of what is there.
fn place(file: &ProgramFile, root: &Path) -> Result<()> {
    let to = root.join(file.path.strip_prefix("/")?);
    if matches!(file.kind, Kind::Folder) {
        return Ok(fs::create_dir_all(&to)?);
    }
    fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
    if to.symlink_metadata().is_ok() {
        fs::remove_file(&to)?;
    }
    match &file.kind {
        Kind::File { from, .. } => fs::copy(from, &to).map(drop)?,
        Kind::Link { to: target } => symlink(target, &to)?,
        Kind::Folder => {}
    }
    Ok(())
}
