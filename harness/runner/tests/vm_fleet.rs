//! A fleet of five VMs, one of which is killed at a random time: no other outcome changes.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `BPF_TOKEN_HARNESS_ROUNDS` | the number of rounds, each with another victim and time; unset: one |
//! | `BPF_TOKEN_HARNESS_SEED` | the seed that a failed run printed, for the same victims and times again |

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use harness_builder::{cache::Area, kernel::Kernel, progress::Progress, project::Project};
use harness_planner::checked::Checked;
use harness_protocol::name::{ImageName, KernelName, ScenarioName};
use harness_runner::{
    fleet::Jobs,
    report::{ScenarioResult, Status, omissions},
    resources::Resources,
    scenario_runner::{EnvironmentTask, Runner},
    store::{Freshness, RunId, Store},
    testbed::Testbed,
    vm,
};
use harness_verdict::judgement::Judgement;
use libtest_mimic::{Arguments, Completion, Trial};
use rustix::process::{Pid, Signal, kill_process};

/// The image they run in.
const IMAGE: &str = "minimal";

/// The number of VMs at once.
const VMS: usize = 5;

/// The scenarios that each of them runs.
const SCENARIOS: &str = "token/*";

/// The rendered judgements of all VMs.
type Texts = BTreeMap<(KernelName, ScenarioName), String>;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let name = "a_vm_of_five_that_is_killed_costs_at_most_the_scenario_it_ran";
    let trials = vec![trial(name, kill_rounds), trial("a_kernel_that_does_not_boot_fails_alone", no_boot)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: fn() -> anyhow::Result<()>) -> Trial {
    Trial::ignorable_test(name, move || match built() {
        Ok(()) => test().map(|()| Completion::Completed).map_err(|error| format!("{error:#}").into()),
        Err(reason) if env::var_os("CI").is_some() => Err(format!("{reason:#}").into()),
        Err(reason) => Ok(Completion::ignored_with(format!("{reason:#}"))),
    })
}

/// Errors if a kernel, the image or the guest program is not built; these tests build nothing.
fn built() -> anyhow::Result<()> {
    let resources = Resources::open(Project::find()?, Freshness::ThisRun, Progress::silent())?;
    let kernels = resources.default_kernels()?;
    kernels.iter().try_for_each(|kernel| resources.built(kernel, &IMAGE.parse()?).map(drop).map_err(Into::into))
}

fn number(variable: &str) -> anyhow::Result<Option<u64>> {
    match env::var(variable) {
        Err(_) => Ok(None),
        Ok(text) => {
            text.parse().map(Some).map_err(|_| anyhow::anyhow!("{variable} is `{text}`, which is not a number"))
        }
    }
}

fn kill_rounds() -> anyhow::Result<()> {
    let rounds = number("BPF_TOKEN_HARNESS_ROUNDS")?.unwrap_or(1);
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seed = number("BPF_TOKEN_HARNESS_SEED")?.unwrap_or_else(by_clock);
    println!("BPF_TOKEN_HARNESS_SEED={seed}");
    let mut random = Random(seed);
    let started = Instant::now();
    let undisturbed = round(None)?;
    let length = started.elapsed();
    anyhow::ensure!(undisturbed.crashed.is_empty() && !undisturbed.texts.is_empty(), "undisturbed: {undisturbed:?}");
    println!("undisturbed: {} outcomes of {VMS} VMs in {:.1} s", undisturbed.texts.len(), length.as_secs_f64());
    let (mut killed, mut in_vain) = (0, 0);
    while killed < rounds {
        // Rarely after the last one has ended: how long a fleet takes varies.
        let plan = Kill { after: length.mul_f64(0.8 * random.fraction()), victim: random.below(VMS) };
        let story = round(Some(plan))?;
        let Some((folder, at)) = &story.killed else {
            println!("all VMs ended before {:.1} s; repeating the round", plan.after.as_secs_f64());
            in_vain += 1;
            anyhow::ensure!(in_vain < 10 + rounds, "no QEMU of this process was found in {in_vain} rounds");
            continue;
        };
        killed += 1;
        check(&story, &undisturbed).map_err(|error| error.context(format!("round {killed}, {folder} killed")))?;
        let crashed: Vec<String> = story.crashed.iter().map(|(kernel, name)| format!("{name} on {kernel}")).collect();
        let crashed = if crashed.is_empty() { "nothing".to_owned() } else { crashed.join(", ") };
        let (complete, at) = (story.texts.len(), at.as_secs_f64());
        println!("round {killed}: killed after {at:.1} s; crashed: {crashed}; complete: {complete} outcomes");
    }
    Ok(())
}

/// Pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to 1.
    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }
}

/// Errors if more is missing than the scenario that the killed VM ran, or if anything else changed.
fn check(story: &Story, undisturbed: &Story) -> anyhow::Result<()> {
    anyhow::ensure!(story.crashed.len() <= 1, "more than one crashed: {:?}", story.crashed);
    for (key, text) in &undisturbed.texts {
        match story.texts.get(key) {
            Some(now) => anyhow::ensure!(now == text, "{key:?} changed:\n{now}\n{text}"),
            None => anyhow::ensure!(story.crashed.contains(key), "{key:?} is missing"),
        }
    }
    Ok(())
}

/// When to kill which VM.
#[derive(Clone, Copy, Debug)]
struct Kill {
    after: Duration,
    /// Its index among the VMs that run then.
    victim: usize,
}

/// The results of five VMs.
#[derive(Debug)]
struct Story {
    texts: Texts,
    crashed: Vec<(KernelName, ScenarioName)>,
    /// The folder of the killed VM and the time.
    killed: Option<(String, Duration)>,
}

/// Runs five VMs with an empty store, and kills one of them.
fn round(kill: Option<Kill>) -> anyhow::Result<Story> {
    let project = Project::find()?;
    let image: ImageName = IMAGE.parse()?;
    let folder = tempfile::tempdir()?;
    let store = Store::new(folder.path().to_owned(), RunId::current(), Freshness::ThisRun);
    let resources = Resources::open(project.clone(), Freshness::ThisRun, Progress::silent())?;
    let resources = resources.with_store(store).with_jobs(VMS.to_string().parse::<Jobs>()?);
    let runner = Runner::open(&project, &project.scenarios())?;
    let checked = runner.check(&runner.suite().select(SCENARIOS)?)?;
    let testbeds = testbeds(&resources, &image)?;
    let tasks: Vec<EnvironmentTask<'_>> = testbeds.iter().map(|testbed| task(testbed, &checked)).collect();
    let runs = resources.cache().folder(Area::Runs)?;
    let (over, is_over) = channel::<()>();
    let (results, killed) = thread::scope(|scope| {
        let killer = scope.spawn(move || kill.and_then(|kill| kill.carry_out(&runs, &is_over)));
        let results = runner.results_of(&tasks);
        drop(over);
        (results, killer.join())
    });
    let killed = killed.map_err(|_| anyhow::anyhow!("the killer panicked"))?;
    let mut story = Story { texts: Texts::new(), crashed: Vec::new(), killed };
    results?.iter().try_for_each(|result| story.add(result))?;
    Ok(story)
}

/// A kernel that cannot mount its root does not affect another one; all its scenarios are not run for one reason.
fn no_boot() -> anyhow::Result<()> {
    let (project, folder) = (Project::find()?, tempfile::tempdir()?);
    let store = Store::new(folder.path().to_owned(), RunId::current(), Freshness::ThisRun);
    let resources = Resources::open(project.clone(), Freshness::ThisRun, Progress::silent())?.with_store(store);
    let runner = Runner::open(&project, &project.scenarios())?;
    let checked = runner.check(&runner.suite().select("token/not*")?)?;
    let mut kernels = testbeds(&resources, &IMAGE.parse()?)?;
    let (sound, mut broken) = (kernels.swap_remove(0), kernels[0].kernel().clone());
    broken.args.push("rootfstype=none-such".to_owned());
    let broken = resources.with_kernel(broken, &IMAGE.parse()?)?;
    let results = runner.results_of(&[task(&broken, &checked), task(&sound, &checked)])?;
    let omissions = omissions(&results);
    anyhow::ensure!(omissions.len() == 1 && omissions[0].environment == broken.environment(), "{omissions:?}");
    anyhow::ensure!(omissions[0].scenarios.len() == checked.len() && checked.len() > 1, "{omissions:?}");
    anyhow::ensure!(omissions[0].cause.contains("the kernel panicked"), "{}", omissions[0].cause);
    anyhow::ensure!(
        omissions[0].cause.contains("  | ") && omissions[0].cause.contains("Kernel panic"),
        "{}",
        omissions[0].cause
    );
    let judged = |result: &&ScenarioResult| matches!(result.status, Status::Judged { .. });
    anyhow::ensure!(results.iter().filter(judged).count() == checked.len(), "{results:?}");
    Ok(())
}

fn task<'a>(testbed: &'a Testbed<'a>, checked: &'a [Checked]) -> EnvironmentTask<'a> {
    EnvironmentTask { testbed, scenarios: checked.iter().collect() }
}

/// Returns the default kernels in turn, under different names so that each has its own VM.
fn testbeds<'a>(resources: &'a Resources, image: &ImageName) -> anyhow::Result<Vec<Testbed<'a>>> {
    let names = resources.default_kernels()?;
    let twin = |index: usize| -> anyhow::Result<Testbed<'a>> {
        let kernel = resources.built(&names[index % names.len()], image)?.kernel().clone();
        let name = format!("{}-twin-{index}", kernel.name).parse()?;
        let key = format!("{}-{index}", kernel.key);
        Ok(resources.with_kernel(Kernel { name, key, ..kernel }, image)?)
    };
    (0..VMS).map(twin).collect()
}

impl Story {
    fn add(&mut self, result: &ScenarioResult) -> anyhow::Result<()> {
        let key = (result.environment.kernel.clone(), result.scenario.clone());
        match &result.status {
            Status::Skipped { .. } => {}
            Status::Judged { judgement: Judgement { crash: Some(_), .. }, .. } => self.crashed.push(key),
            Status::Judged { comparison, .. } => drop(self.texts.insert(key, comparison.now().to_owned())),
            Status::Fault { message: cause } => anyhow::bail!("{key:?}: {cause}"),
            Status::NotRun { cause } => anyhow::bail!("{key:?}: {cause}"),
        }
        Ok(())
    }
}

impl Kill {
    /// Kills a QEMU at the given time; `None` if all VMs ended before.
    fn carry_out(self, runs: &Path, is_over: &Receiver<()>) -> Option<(String, Duration)> {
        let started = Instant::now();
        let mut wait = self.after;
        // Before the first VM is up there is nothing to kill.
        while is_over.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let alive = qemus(runs);
            if !alive.is_empty() {
                let (folder, qemu) = &alive[self.victim % alive.len()];
                if kill_process(*qemu, Signal::KILL).is_ok() {
                    return Some((folder.clone(), started.elapsed()));
                }
            }
            wait = Duration::from_millis(20);
        }
        None
    }
}

/// Returns the QEMUs of this process's VMs, by the folders of their sessions.
fn qemus(runs: &Path) -> Vec<(String, Pid)> {
    let ours = format!("{}-", std::process::id());
    let mut found = Vec::new();
    for session in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = session.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&ours) {
            continue;
        }
        for vm in fs::read_dir(session.path()).into_iter().flatten().flatten() {
            let launch = fs::read(vm.path().join("own/launch.json")).unwrap_or_default();
            let pid =
                serde_json::from_slice::<serde_json::Value>(&launch).ok().and_then(|launch| launch["pid"].as_i64());
            let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            found.extend(pid.filter(|pid| is_qemu(*pid)).map(|pid| (name.clone(), pid)));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

/// Returns whether a process is alive and is QEMU; its id may have been reused.
fn is_qemu(process: Pid) -> bool {
    let name = fs::read_to_string(format!("/proc/{}/comm", process.as_raw_nonzero())).unwrap_or_default();
    name.starts_with("qemu")
}
