//! Real guests in real VMs that panic, hang, flood and leave: what a fake one cannot show.
//!
//! A kernel, the image `minimal` and the guest program must have been built (`cargo xtask test` sees to that); where they
//! are not, these tests are skipped, except in CI.

use std::{io, path::Path, process::ExitCode, time::Instant};

use harness_builder::{
    cache::{Area, Cache},
    guest_program::{self, GuestProgram},
    image::{self, Image, KERNEL_ARGUMENTS},
    kernel::{self, Kernel},
    project::Project,
};
use harness_model::{
    name::ScenarioName,
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan::{Actor, Attempt, Call, Case, ExpectedKernel, FORMAT, Plan, Sabotage, Scenario, Token},
};
use harness_runner::{
    accel,
    qemu::Qemu,
    session::{self, Deadlines, QemuMachine, RunFolder, Session, SessionError},
    vm::{self, VmSpec},
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |name: &str, test: fn(&Supplies)| {
        Trial::ignorable_test(name, move || match supplies() {
            Ok(supplies) => {
                test(&supplies);
                Ok(Completion::Completed)
            }
            Err(reason) if std::env::var_os("CI").is_some() => Err(Failed::from(reason)),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        })
    };
    let trials = vec![
        trial("a_guest_that_panics_hangs_floods_or_leaves_costs_one_scenario", sabotage),
        trial("two_sessions_side_by_side_do_not_disturb_each_other", side_by_side),
        trial("a_kernel_that_is_not_the_one_asked_for_is_refused", wrong_kernel),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What was built.
struct Supplies {
    cache: Cache,
    kernel: Kernel,
    image: Image,
    guest: GuestProgram,
}

fn supplies() -> Result<Supplies, String> {
    find_supplies().map_err(|error| error.to_string())
}

fn find_supplies() -> Result<Supplies, Box<dyn std::error::Error>> {
    let (project, cache) = (Project::find()?, Cache::from_env()?);
    let kernels = kernel::catalogue::Catalogue::of_folder(&project.kernels())?;
    let mut kernel = None;
    for name in kernels.names() {
        let manifest = kernels.get(name)?;
        if manifest.is_default {
            kernel = kernel.or(kernel::find_built(&manifest, &cache)?);
        }
    }
    let image = image::catalogue::Catalogue::of_folder(&project.images())?.get("minimal")?;
    let kernel = kernel.ok_or("no kernel is built: `cargo xtask kernel build 6.12`")?;
    let image = image::find_built(&image, &cache)?.ok_or("the image is not built: `cargo xtask image build`")?;
    let guest = guest_program::find_built(project.root(), &cache)?;
    let guest = guest.ok_or("the guest program is not built: `cargo xtask image build`")?;
    Ok(Supplies { cache, kernel, image, guest })
}

impl Supplies {
    fn run(&self, plan: &Plan) -> Result<Session, SessionError> {
        let runs = self.cache.folder(Area::Runs).unwrap();
        let folder = RunFolder::create(&runs).unwrap();
        let qemu = Qemu::find().unwrap();
        let accel = accel::choose(&qemu, &runs).unwrap().accel;
        let arguments = self.kernel.args.iter().map(String::as_str).chain(KERNEL_ARGUMENTS);
        let spec = VmSpec {
            qemu: qemu.path().to_owned(),
            qemu_args: Vec::new(),
            accel,
            cpus: 1,
            memory_mib: 512,
            kernel: self.kernel.boot_image(),
            kernel_args: arguments.map(str::to_owned).collect(),
            root: Default::default(),
            share: Default::default(),
            command: Default::default(),
        };
        let make_root = |into: &Path| self.image.private_copy(&self.guest, into).map(drop).map_err(io::Error::other);
        let machine = QemuMachine { spec, make_root: &make_root, fill_share: &|_| Ok(()) };
        session::run(plan, &machine, &folder, Deadlines::of(accel), &mut |_| {})
    }
}

fn scenario(name: &str, deadline_ms: u64, call: Call) -> Scenario {
    let attempt = Attempt { actor: Actor::Host, caps: None, token: Token::None, call, save: None, controls_of: None };
    let cases = vec![Case { sysctls: Default::default(), containers: Vec::new(), attempts: vec![attempt] }];
    let (sysctls, lsm) = Default::default();
    Scenario { name: name.parse().unwrap(), deadline_ms, sysctls, lsm, lockdown: None, own_vm: false, cases }
}

fn good(name: &str) -> Scenario {
    scenario(name, 60_000, Call::BtfLoad)
}

fn bad(name: &str, deadline_ms: u64, how: Sabotage) -> Scenario {
    scenario(name, deadline_ms, Call::Sabotage(how))
}

fn plan(scenarios: Vec<Scenario>) -> Plan {
    Plan { format: FORMAT, kernel: ExpectedKernel::default(), scenarios }
}

fn is_finished(outcome: &ScenarioOutcome) -> bool {
    matches!(outcome.end, ScenarioEnd::Finished { .. }) && outcome.attempts.len() == 1
}

fn crash<'a>(session: &'a Session, name: &str) -> (&'a str, String) {
    let name: ScenarioName = name.parse().unwrap();
    let outcome = session.outcomes.iter().find(|outcome| outcome.scenario == name).expect("every scenario has one");
    match &outcome.end {
        ScenarioEnd::Crashed { how, console } => (how, console.join("\n")),
        other => panic!("{name}: {other:?}"),
    }
}

fn sabotage(supplies: &Supplies) {
    let scenarios = vec![
        good("before"),
        bad("panic", 60_000, Sabotage::Panic),
        good("between"),
        bad("hang", 500, Sabotage::Hang),
        bad("leave", 60_000, Sabotage::Exit),
        bad("flood", 1000, Sabotage::Flood),
        good("after"),
    ];
    let started = Instant::now();
    let session = supplies.run(&plan(scenarios)).unwrap();
    for index in [0, 2, 6] {
        assert!(is_finished(&session.outcomes[index]), "{:?}", session.outcomes[index]);
    }
    let (how, console) = crash(&session, "panic");
    assert_eq!(how, "the kernel panicked");
    assert!(console.contains("Kernel panic - not syncing: sysrq triggered crash"), "{console}");
    assert!(crash(&session, "hang").0.starts_with("nothing came to an end within"));
    assert!(crash(&session, "leave").0.starts_with("the guest program ended before it was done"));
    // It writes one line without end, which no console shows.
    assert!(crash(&session, "flood").0.starts_with("nothing came to an end within"));
    assert_eq!(session.vms.len(), 5, "each of the four costs its VM and no other");
    println!("5 VMs took {:.1} s: {:?}", started.elapsed().as_secs_f64(), session.vms);
}

fn side_by_side(supplies: &Supplies) {
    let plans = [plan(vec![good("left/one"), good("left/two")]), plan(vec![good("right/one")])];
    let sessions = std::thread::scope(|scope| {
        let run = |plan| scope.spawn(move || supplies.run(plan).unwrap());
        plans.each_ref().map(run).map(|thread| thread.join().unwrap())
    });
    for (plan, session) in plans.iter().zip(&sessions) {
        let names = |scenarios: &[Scenario]| scenarios.iter().map(|scenario| scenario.name.clone()).collect::<Vec<_>>();
        let answered: Vec<_> = session.outcomes.iter().map(|outcome| outcome.scenario.clone()).collect();
        assert_eq!(answered, names(&plan.scenarios));
        assert!(session.outcomes.iter().all(is_finished) && session.vms.len() == 1, "{session:?}");
    }
}

fn wrong_kernel(supplies: &Supplies) {
    let kernel = ExpectedKernel { release: Some("0.1".to_owned()), ..ExpectedKernel::default() };
    let error = supplies.run(&Plan { kernel, ..plan(vec![good("never")]) }).unwrap_err().to_string();
    assert!(error.starts_with("the guest refuses the plan") && error.contains("0.1"), "{error}");
    assert!(error.contains(supplies.kernel.release()), "{error}");
}
