//! Sessions with guests that die, hang, flood and violate the protocol: every scenario gets exactly one outcome that is
//! not a wrong verdict, or the session ends with an error. No VM is needed: a guest here is a thread that writes a record.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use harness_protocol::{
    errno::Errno,
    name::ScenarioName,
    outcome::{Answer, ConsoleMark, Control, Event, LONGEST_LINE, RECORD_FILE, Record, ScenarioEnd, ScenarioOutcome},
    plan::{Actor, Attempt, Call, Case, ExpectedKernel, FORMAT, Plan, Scenario, Token},
};
use harness_runner::{
    session::{
        self, Deadlines, GuestFolder, Machine, Notice, ProtocolViolation, RunFolder, Running, Session, SessionError,
    },
    vm::{QemuExit, TimedEvent, VmEnd, VmError, VmEvent},
};

const LONG: Duration = Duration::from_secs(60);

/// Deadlines that no test may reach.
const AMPLE: Deadlines = Deadlines { boot: LONG, between: LONG, patience: 1 };

fn name(text: &str) -> ScenarioName {
    text.parse().unwrap()
}

/// A plan of scenarios with two attempts each.
fn plan(names: &[&str]) -> Plan {
    let call = Attempt::new(Actor::Host, Token::None, Call::BtfLoad);
    let case = Case { sysctls: Default::default(), containers: Vec::new(), attempts: vec![call; 2] };
    let scenario = |text: &&str| Scenario::new(name(text), 60_000, vec![case.clone()]);
    let kernel = ExpectedKernel { release: Some("6.12.0".to_owned()), ..ExpectedKernel::default() };
    Plan { format: FORMAT, kernel, marks_console: true, guard: None, scenarios: names.iter().map(scenario).collect() }
}

/// A guest, as the thread that plays it sees it.
struct Guest {
    record: File,
    share: PathBuf,
    seq: u64,
    plan: Plan,
    events: Sender<TimedEvent>,
    stopped: Arc<AtomicBool>,
}

impl Guest {
    fn write(&mut self, bytes: &[u8]) {
        self.record.write_all(bytes).unwrap();
    }

    fn record_event(&mut self, event: Event) {
        let line = serde_json::to_string(&Record { seq: self.seq, event }).unwrap();
        self.seq += 1;
        self.write(format!("{line}\n").as_bytes());
    }

    fn hello(&mut self) {
        self.record_event(Event::Hello { format: FORMAT, release: "6.12.0".to_owned() });
    }

    fn start(&mut self, scenario: &str) {
        self.console(&format!("[    5.0] {}", ConsoleMark::Scenario(name(scenario))));
        self.record_event(Event::ScenarioStart { scenario: name(scenario) });
    }

    fn attempt(&mut self, attempt: u32) {
        let denied = Answer::Err { errno: Errno::from_raw(1), step: None };
        let root = Control::Made(Answer::Ok { detail: None });
        self.record_event(Event::Attempt { case: 0, attempt, answer: denied, container: root.clone(), root });
    }

    fn witness(&mut self, attempt: u32, record: &str) {
        self.record_event(Event::Guard { case: 0, attempt, records: vec![record.to_owned()] });
    }

    fn end(&mut self, scenario: &str) {
        self.record_event(Event::ScenarioEnd {
            scenario: name(scenario),
            leftovers: Vec::new(),
            fault: None,
            micros: 5,
            tainted: 0,
        });
    }

    fn whole(&mut self, scenario: &str) {
        self.start(scenario);
        self.attempt(0);
        self.attempt(1);
        self.end(scenario);
    }

    fn done(&mut self) {
        self.console(&format!("[    5.0] {}", ConsoleMark::End));
        let scenarios = u32::try_from(self.plan.scenarios.len()).unwrap();
        self.record_event(Event::End { scenarios });
    }

    /// Carries out the plan.
    fn obey(&mut self) {
        self.hello();
        for scenario in self.plan.scenarios.clone() {
            self.whole(scenario.name.as_str());
        }
        self.done();
    }

    fn console(&self, line: &str) {
        self.event(VmEvent::Console(line.to_owned()));
    }

    fn event(&self, event: VmEvent) {
        let _ = self.events.send(TimedEvent { at: Duration::ZERO, event });
    }

    fn die(&self, end: VmEnd) {
        self.event(VmEvent::Ended(end));
    }
}

/// Records that violate the protocol, with a name.
type Violations<const N: usize> = [(&'static str, fn(&mut Guest)); N];

type Life = Box<dyn FnOnce(&mut Guest) + Send>;

/// Boots guests that behave as given, one after the other.
struct Stage {
    lives: RefCell<VecDeque<Life>>,
    plans: RefCell<Vec<Plan>>,
}

impl Stage {
    fn new(lives: impl IntoIterator<Item = Life>) -> Self {
        Self { lives: RefCell::new(lives.into_iter().collect()), plans: RefCell::default() }
    }
}

fn life(life: impl FnOnce(&mut Guest) + Send + 'static) -> Life {
    Box::new(life)
}

fn obedient() -> Life {
    life(Guest::obey)
}

impl Machine for Stage {
    fn boot(&self, folder: &GuestFolder) -> Result<Box<dyn Running>, VmError> {
        let text = std::fs::read(folder.share().join("plan.json")).unwrap();
        let plan: Plan = serde_json::from_slice(&text).unwrap();
        self.plans.borrow_mut().push(plan.clone());
        let record = OpenOptions::new().append(true).create_new(true).open(folder.share().join(RECORD_FILE)).unwrap();
        let (events, receiver) = channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let share = folder.share();
        let mut guest = Guest { record, share, seq: 0, plan, events: events.clone(), stopped: stopped.clone() };
        let life = self.lives.borrow_mut().pop_front().expect("no further guest is wanted");
        let thread = thread::spawn(move || life(&mut guest));
        Ok(Box::new(Player { events: receiver, _open: events, stopped, thread: Some(thread) }))
    }
}

/// A running guest.
struct Player {
    events: Receiver<TimedEvent>,
    /// A machine does not end when its guest stops writing.
    _open: Sender<TimedEvent>,
    stopped: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running for Player {
    fn next_event(&mut self, wait: Duration) -> Option<TimedEvent> {
        self.events.recv_timeout(wait).ok()
    }

    fn complaints(&self) -> String {
        "qemu: a complaint".to_owned()
    }

    fn stop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.take().expect("stopped once").join().expect("the guest's thread does not fail");
    }
}

fn play(plan: &Plan, deadlines: Deadlines, lives: impl IntoIterator<Item = Life>) -> Result<Session, SessionError> {
    play_allowing(plan, deadlines, lives, &|_, _| false)
}

fn play_allowing(
    plan: &Plan,
    deadlines: Deadlines,
    lives: impl IntoIterator<Item = Life>,
    is_allowed: session::IsAllowed<'_>,
) -> Result<Session, SessionError> {
    let runs = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(runs.path()).unwrap();
    let stage = Stage::new(lives);
    let result = session::run_allowing(plan, &stage, &folder, deadlines, is_allowed, &mut |_| {});
    assert!(stage.lives.borrow().is_empty(), "a guest was not needed: {result:?}");
    result
}

fn ends(session: &Session) -> Vec<&ScenarioEnd> {
    session.outcomes.iter().map(|outcome| &outcome.end).collect()
}

fn finished(outcome: &ScenarioOutcome) -> bool {
    outcome.end == ScenarioEnd::Finished { micros: 5 } && outcome.attempts.len() == 2
}

#[test]
fn an_obedient_guest_gives_every_outcome_in_one_vm_that_is_stopped_at_once() {
    let started = Instant::now();
    let session = play(&plan(&["a", "b/c"]), AMPLE, [obedient()]).unwrap();
    assert!(session.outcomes.iter().all(finished), "{session:?}");
    assert_eq!(session.outcomes[1].scenario, name("b/c"));
    assert_eq!(session.vms.len(), 1);
    assert!(session.vms[0].hello.is_some() && session.vms[0].first_scenario >= session.vms[0].hello);
    assert!(started.elapsed() < LONG / 2, "the session waited for the VM to end");
}

#[test]
fn each_step_is_reported_once() {
    let runs = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(runs.path()).unwrap();
    let (stage, mut seen) = (Stage::new([obedient()]), Vec::new());
    let plan = plan(&["a", "b"]);
    session::run(&plan, &stage, &folder, AMPLE, &mut |notice| {
        seen.push(match notice {
            Notice::Booting { vm } => format!("booting {vm}"),
            Notice::Lost { .. } => "lost".to_owned(),
            Notice::Booted { .. } => "booted".to_owned(),
            Notice::Started(name) => format!("start {name}"),
            Notice::Ended(outcome) => format!("end {}", outcome.scenario),
        });
    })
    .unwrap();
    // An outcome is reported once the console is past its scenario, which may be after the next one began.
    let at = |step: &str| seen.iter().position(|other| other == step).unwrap();
    assert!(at("start a") < at("end a") && at("start b") < at("end b") && at("end a") < at("end b"), "{seen:?}");
    assert_eq!((seen.len(), at("booting 1"), at("booted"), at("start a")), (6, 0, 1, 2), "{seen:?}");
}

#[test]
fn a_guest_that_dies_costs_one_scenario_and_the_rest_goes_on_in_a_new_vm() {
    let dying = life(|guest| {
        guest.hello();
        guest.whole("a");
        guest.start("b");
        guest.attempt(0);
        guest.write(b"{\"seq\":5,\"event\":{\"att");
        guest.console("[    9.1] Kernel panic - not syncing: sysrq triggered crash");
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let session = play(&plan(&["a", "b", "c"]), AMPLE, [dying, obedient()]).unwrap();
    assert!(finished(&session.outcomes[0]) && finished(&session.outcomes[2]), "{session:?}");
    assert_eq!(session.outcomes[1].attempts.len(), 1, "earlier answers are kept");
    let ScenarioEnd::Crashed { how, console } = &session.outcomes[1].end else { panic!("{session:?}") };
    insta::assert_snapshot!(how, @"the kernel panicked; QEMU printed: qemu: a complaint");
    assert_eq!(&console[2..], &["[    9.1] Kernel panic - not syncing: sysrq triggered crash"]);
    assert_eq!(session.vms.len(), 2);
}

#[test]
fn a_further_vm_is_asked_only_for_what_is_left() {
    let runs = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(runs.path()).unwrap();
    let dying = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let stage = Stage::new([dying, obedient()]);
    session::run(&plan(&["a", "b"]), &stage, &folder, AMPLE, &mut |_| {}).unwrap();
    assert_eq!(*stage.plans.borrow(), [plan(&["a", "b"]), plan(&["b"])]);
}

#[test]
fn a_scenario_that_hangs_is_ended_by_its_deadline() {
    let hanging = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.console("spinning");
        while !guest.stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let mut plan = plan(&["a", "b"]);
    plan.scenarios[0].deadline_ms = 100;
    let deadlines = Deadlines { patience: 2, ..AMPLE };
    let session = play(&plan, deadlines, [hanging, obedient()]).unwrap();
    let ScenarioEnd::Crashed { how, console } = &session.outcomes[0].end else { panic!("{session:?}") };
    insta::assert_snapshot!(how, @"the guest exceeded its deadline of 0.2 s; QEMU printed: qemu: a complaint");
    assert_eq!(&console[1..], &["spinning"]);
    assert!(finished(&session.outcomes[1]));
}

#[test]
fn a_death_between_scenarios_costs_none() {
    let dying = life(|guest| {
        guest.hello();
        guest.whole("a");
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let session = play(&plan(&["a", "b"]), AMPLE, [dying, obedient()]).unwrap();
    assert!(session.outcomes.iter().all(finished), "{session:?}");
}

#[test]
fn silence_between_scenarios_ends_too() {
    let silent = life(|guest| {
        guest.hello();
        guest.whole("a");
    });
    let deadlines = Deadlines { between: Duration::from_millis(100), ..AMPLE };
    let session = play(&plan(&["a", "b"]), deadlines, [silent, obedient()]).unwrap();
    assert!(session.outcomes.iter().all(finished), "{session:?}");
}

#[test]
fn a_vm_that_never_boots_is_an_error_with_the_console() {
    let dead = || {
        life(|guest| {
            guest.console("VFS: Unable to mount root fs");
            guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
        })
    };
    let message = play(&plan(&["a"]), AMPLE, [dead()]).unwrap_err().to_string();
    insta::assert_snapshot!(message, @"
    the guest started no scenario: the guest shut down or reset the VM; QEMU printed: qemu: a complaint; run `cargo xtask shell` to inspect such a VM
    the console's last lines:
      | VFS: Unable to mount root fs
    ");
}

#[test]
fn a_vm_that_the_host_loses_before_its_guest_started_is_booted_again() {
    let lost = |end: VmEnd| life(move |guest| guest.die(end));
    let greeted = life(|guest| {
        guest.hello();
        guest.die(VmEnd::QemuGone(Some(QemuExit::Signal(9))));
    });
    let mut lost_vms = Vec::new();
    let runs = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(runs.path()).unwrap();
    let stage = Stage::new([lost(VmEnd::Failed("timed out".to_owned())), greeted, obedient()]);
    let session = session::run(&plan(&["a"]), &stage, &folder, AMPLE, &mut |notice| {
        if let Notice::Lost { during: None, how } = notice {
            lost_vms.push(how.to_owned());
        }
    });
    let session = session.unwrap();
    assert!(session.outcomes.iter().all(finished) && session.vms.len() == 3, "{session:?}");
    insta::assert_snapshot!(lost_vms.join("\n"), @"
    vmtest gave up: timed out; QEMU printed: qemu: a complaint
    QEMU was killed by signal 9; QEMU printed: qemu: a complaint
    ");
}

#[test]
fn a_scenario_whose_vm_the_host_loses_runs_once_more() {
    let lost = |end: VmEnd| {
        life(move |guest| {
            guest.hello();
            if guest.plan.scenarios[0].name == name("a") {
                guest.whole("a");
            }
            guest.start("b");
            guest.attempt(0);
            guest.console("[    5.1] WARNING: of a VM that was lost");
            guest.die(end);
        })
    };
    let ends = || {
        [VmEnd::QemuGone(Some(QemuExit::Signal(9))), VmEnd::QemuGone(Some(QemuExit::Code(1))), VmEnd::QemuGone(None)]
    };
    for end in ends().into_iter().chain([VmEnd::Failed("timed out".to_owned()), VmEnd::WorkerGone("killed".to_owned())])
    {
        let session = play(&plan(&["a", "b", "c"]), AMPLE, [lost(end), obedient()]).unwrap();
        assert!(session.outcomes.iter().all(finished), "{session:?}");
        assert_eq!(session.outcomes[1].attempts.len(), 2, "it began again");
    }
    let [first, second, _] = ends();
    let session = play(&plan(&["a", "b", "c"]), AMPLE, [lost(first), lost(second), obedient()]).unwrap();
    assert!(finished(&session.outcomes[0]) && finished(&session.outcomes[2]), "{session:?}");
    let ScenarioEnd::Fault { message } = &session.outcomes[1].end else { panic!("{session:?}") };
    insta::assert_snapshot!(message, @"the host lost the VM 2 times during this scenario, most recently: QEMU exited with code 1; QEMU printed: qemu: a complaint");
}

#[test]
fn a_guest_that_cannot_write_its_record_is_no_crash() {
    let full = || {
        life(|guest| {
            guest.hello();
            guest.start("a");
            guest.event(VmEvent::Output(
                "error: cannot keep the record /mnt/vmtest/outcomes.jsonl: write: ENOSPC".to_owned(),
            ));
            guest.die(VmEnd::CommandEnded);
        })
    };
    let session = play(&plan(&["a"]), AMPLE, [full(), full()]).unwrap();
    let ScenarioEnd::Fault { message } = &session.outcomes[0].end else { panic!("{session:?}") };
    insta::assert_snapshot!(message, @"the host lost the VM 2 times during this scenario, most recently: the guest program could not write its record; QEMU printed: qemu: a complaint");
}

fn splats(outcome: &ScenarioOutcome) -> Vec<&str> {
    outcome.splats.iter().map(|splat| splat.text.as_str()).collect()
}

#[test]
fn a_splat_is_charged_to_its_scenario_and_the_rest_goes_on_in_a_new_vm() {
    let splatting = life(|guest| {
        guest.hello();
        guest.whole("a");
        guest.start("b");
        guest.console("[    5.1] ------------[ cut here ]------------");
        guest.console("[    5.1] WARNING: kernel/bpf/token.c:12 at bpf_token_get+0x1/0x2, CPU#0: guest/77");
        guest.console("[    5.1] ---[ end trace 0000000000000000 ]---");
        guest.attempt(0);
        guest.attempt(1);
        guest.end("b");
        guest.whole("c");
        guest.done();
    });
    let session = play(&plan(&["a", "b", "c"]), AMPLE, [splatting, obedient()]).unwrap();
    assert!(session.outcomes.iter().all(finished), "{session:?}");
    assert_eq!(
        splats(&session.outcomes[1]),
        ["WARNING: kernel/bpf/token.c:12 at bpf_token_get+0x1/0x2, CPU#0: guest/77"]
    );
    assert_eq!(session.outcomes[1].splats[0].lines.len(), 2);
    assert!(session.outcomes[0].splats.is_empty() && session.outcomes[2].splats.is_empty());
    assert_eq!(session.vms.len(), 2, "c ran again");
}

#[test]
fn a_vm_goes_on_after_a_report_of_ubsan_that_is_allowed_in_all_that_is_left() {
    let text = "UBSAN: shift-out-of-bounds in kernel/bpf/inode.c:756:15";
    let splatting = || {
        life(move |guest| {
            guest.hello();
            guest.start("a");
            guest.console(&format!("[    5.1] {text}"));
            guest.attempt(0);
            guest.attempt(1);
            guest.end("a");
            guest.whole("b");
            guest.done();
        })
    };
    let played = |lives: Vec<Life>, is_allowed: session::IsAllowed<'_>| {
        play_allowing(&plan(&["a", "b"]), AMPLE, lives, is_allowed).unwrap()
    };
    let one = played(vec![splatting()], &|splat, _| splat == text);
    assert_eq!(one.vms.len(), 1);
    assert_eq!(
        (splats(&one.outcomes[0]), splats(&one.outcomes[1])),
        (vec![text], vec![text]),
        "it is not printed again"
    );
    let two = played(vec![splatting(), obedient()], &|_, scenario| *scenario == name("a"));
    assert_eq!((two.vms.len(), splats(&two.outcomes[0]), splats(&two.outcomes[1])), (2, vec![text], vec![]));
}

#[test]
fn an_oops_is_a_crash_with_its_splat() {
    let oopsing = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.console("[    5.1] BUG: kernel NULL pointer dereference, address: 0000000000000000");
        guest.console("[    5.1] Oops: Oops: 0002 [#1] SMP");
        guest.console("[    5.2] Kernel panic - not syncing: Fatal exception");
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let session = play(&plan(&["a"]), AMPLE, [oopsing]).unwrap();
    assert!(matches!(session.outcomes[0].end, ScenarioEnd::Crashed { .. }), "{session:?}");
    assert_eq!(splats(&session.outcomes[0]), ["BUG: kernel NULL pointer dereference, address: 0000000000000000"]);
}

#[test]
fn a_taint_without_a_line_on_the_console_is_a_splat_and_ends_the_vm() {
    let tainting = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.console("[    5.1] UBSAN: shift-out-of-bounds in x.c:1:2");
        guest.attempt(0);
        guest.attempt(1);
        let (leftovers, micros, tainted) = (Vec::new(), 1, 1 << 9 | 1 << 12);
        guest.record_event(Event::ScenarioEnd { scenario: name("a"), leftovers, fault: None, micros, tainted });
        guest.whole("b");
        guest.done();
    });
    let session = play_allowing(&plan(&["a", "b"]), AMPLE, [tainting, obedient()], &|_, _| true).unwrap();
    let ubsan = "UBSAN: shift-out-of-bounds in x.c:1:2";
    assert_eq!(splats(&session.outcomes[0]), ["the kernel became tainted: warning (W)", ubsan]);
    assert_eq!((splats(&session.outcomes[1]).len(), session.vms.len()), (0, 2));
}

#[test]
fn an_outcome_counts_only_once_the_console_is_past_it() {
    let mute = || {
        life(|guest| {
            guest.hello();
            guest.whole("a");
            guest.record_event(Event::End { scenarios: 1 });
        })
    };
    let deadlines = Deadlines { between: Duration::from_millis(100), ..AMPLE };
    let session = play(&plan(&["a"]), deadlines, [mute(), obedient()]).unwrap();
    assert!(session.outcomes.iter().all(finished), "{session:?}");
    let session = play(&plan(&["a"]), deadlines, [mute(), mute()]).unwrap();
    let ScenarioEnd::Fault { message } = &session.outcomes[0].end else { panic!("{session:?}") };
    insta::assert_snapshot!(message, @"a splat of the kernel could be missed, in 2 VMs: the console did not show the guest program's next mark in time; the kernel's arguments must leave the console on and `loglevel` at 5 or more");
    let late = life(|guest| {
        guest.hello();
        guest.whole("a");
        guest.record_event(Event::End { scenarios: 1 });
        thread::sleep(Duration::from_millis(200));
        guest.console("[    9.0] BUG: late");
        guest.console(&format!("[    9.0] {}", ConsoleMark::End));
    });
    assert_eq!(splats(&play(&plan(&["a"]), AMPLE, [late]).unwrap().outcomes[0]), ["BUG: late"]);
}

#[test]
fn a_guest_that_fills_the_hosts_disk_is_a_fault() {
    let filling = life(|guest| {
        guest.hello();
        guest.start("a");
        let large = File::create(guest.share.join("large")).unwrap();
        rustix::fs::fallocate(&large, rustix::fs::FallocateFlags::empty(), 0, (1 << 30) + 4096).unwrap();
        while !guest.stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let session = play(&plan(&["a", "b"]), AMPLE, [filling, obedient()]).unwrap();
    assert!(finished(&session.outcomes[1]), "{session:?}");
    let ScenarioEnd::Fault { message } = &session.outcomes[0].end else { panic!("{session:?}") };
    assert!(message.starts_with("the guest takes more than 1024 MiB of the host's disk, in "), "{message}");
}

#[test]
fn dropped_lines_of_the_console_are_a_fault() {
    let flooding = || {
        life(|guest| {
            guest.hello();
            guest.start("a");
            guest.event(VmEvent::LinesDropped(7));
            guest.attempt(0);
            guest.attempt(1);
            guest.end("a");
            guest.whole("b");
            guest.done();
        })
    };
    let session = play(&plan(&["a", "b"]), AMPLE, [flooding(), flooding(), obedient()]).unwrap();
    assert!(finished(&session.outcomes[1]), "{session:?}");
    let ScenarioEnd::Fault { message } = &session.outcomes[0].end else { panic!("{session:?}") };
    insta::assert_snapshot!(message, @"a splat of the kernel could be missed, in 2 VMs: the guest wrote to its console faster than this host could read, and lines were dropped");
}

#[test]
fn a_kernel_that_panics_while_it_boots_is_not_booted_again() {
    let panicking = life(|guest| {
        guest.console("[    1.0] Kernel panic - not syncing: no init");
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let message = play(&plan(&["a"]), AMPLE, [panicking]).unwrap_err().to_string();
    insta::assert_snapshot!(message, @"
    the guest started no scenario: the kernel panicked; QEMU printed: qemu: a complaint; run `cargo xtask shell` to inspect such a VM
    the console's last lines:
      | [    1.0] Kernel panic - not syncing: no init
    ");
}

#[test]
fn a_vm_that_never_finishes_booting_is_an_error() {
    let deadlines = Deadlines { boot: Duration::from_millis(100), ..AMPLE };
    let message = play(&plan(&["a"]), deadlines, [life(|_| {})]).unwrap_err().to_string();
    insta::assert_snapshot!(message, @r"the guest started no scenario: the guest program did not start within 0.1 s; QEMU printed: qemu: a complaint; run `cargo xtask shell` to inspect such a VM");
}

#[test]
fn a_second_vm_that_never_boots_is_an_error_and_not_a_verdict() {
    let dying = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let result = play(&plan(&["a", "b"]), AMPLE, [dying, life(|guest| guest.die(VmEnd::CommandEnded))]);
    assert!(matches!(result, Err(SessionError::NothingStarted { .. })), "{result:?}");
}

#[test]
fn a_guest_program_that_ends_early_is_a_crash_of_its_scenario() {
    let leaving = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.die(VmEnd::CommandEnded);
    });
    let session = play(&plan(&["a"]), AMPLE, [leaving]).unwrap();
    let ScenarioEnd::Crashed { how, .. } = &session.outcomes[0].end else { panic!("{session:?}") };
    insta::assert_snapshot!(how, @"the guest program exited before the plan was done; QEMU printed: qemu: a complaint");
}

#[test]
fn a_refusal_includes_the_guests_reason() {
    let refusing = life(|guest| guest.record_event(Event::Fault { message: "this is 6.1".to_owned() }));
    let message = play(&plan(&["a"]), AMPLE, [refusing]).unwrap_err().to_string();
    assert_eq!(message, "the guest refuses the plan: this is 6.1");
}

#[test]
fn a_guest_that_gives_up_costs_one_scenario_and_gives_its_reason() {
    let failing = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.attempt(0);
        guest.record_event(Event::Fault { message: "no memory".to_owned() });
    });
    let session = play(&plan(&["a", "b"]), AMPLE, [failing, obedient()]).unwrap();
    assert_eq!(ends(&session)[0], &ScenarioEnd::Fault { message: "the guest gave up: no memory".to_owned() });
    assert!(finished(&session.outcomes[1]));
}

#[test]
fn a_complete_record_counts_even_if_the_vm_dies() {
    let hasty = life(|guest| {
        guest.obey();
        guest.die(VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
    });
    let session = play(&plan(&["a", "b"]), AMPLE, [hasty]).unwrap();
    assert!(session.outcomes.iter().all(finished), "{session:?}");
}

#[test]
fn a_flooded_console_does_not_hide_the_record() {
    let flooding = life(|guest| {
        guest.hello();
        guest.start("a");
        (0..200_000).for_each(|_| guest.console("flood"));
        guest.attempt(0);
        guest.attempt(1);
        guest.end("a");
        guest.done();
    });
    let session = play(&plan(&["a"]), AMPLE, [flooding]).unwrap();
    assert!(finished(&session.outcomes[0]), "{session:?}");
}

#[test]
fn leftovers_are_a_fault_of_their_scenario() {
    let messy = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.attempt(0);
        guest.attempt(1);
        let leftovers = vec!["map 7".to_owned(), "mount /x".to_owned()];
        guest.record_event(Event::ScenarioEnd { scenario: name("a"), leftovers, fault: None, micros: 1, tainted: 0 });
        guest.done();
    });
    let session = play(&plan(&["a"]), AMPLE, [messy]).unwrap();
    assert_eq!(ends(&session), [&ScenarioEnd::Fault { message: "not cleaned up: map 7, mount /x".to_owned() }]);
}

#[test]
fn records_of_the_guard_belong_to_the_attempt_before() {
    let guarded = life(|guest| {
        guest.hello();
        guest.start("a");
        guest.attempt(0);
        guest.witness(0, "one");
        guest.witness(0, "two");
        guest.attempt(1);
        guest.witness(1, "three");
        guest.end("a");
        guest.done();
    });
    let session = play(&plan(&["a"]), AMPLE, [guarded]).unwrap();
    let kept: Vec<&[String]> = session.outcomes[0].attempts.iter().map(|fact| fact.guard.as_slice()).collect();
    assert_eq!(kept, [&["one".to_owned(), "two".to_owned()][..], &["three".to_owned()]]);
}

#[test]
fn a_violation_within_a_scenario_is_a_fault_of_that_scenario_alone() {
    let violations: Violations<12> = [
        ("another scenario's end", |guest| guest.end("b")),
        ("another scenario's start", |guest| guest.start("b")),
        ("an attempt before its turn", |guest| guest.attempt(1)),
        ("an attempt that does not exist", |guest| guest.attempt(7)),
        ("an end before the attempts", |guest| guest.end("a")),
        ("the end of all", Guest::done),
        ("a second introduction", Guest::hello),
        ("a gap in the sequence", |guest| {
            guest.seq += 1;
            guest.attempt(0);
        }),
        ("a guard's records of a later attempt", |guest| {
            guest.attempt(0);
            guest.witness(1, "x");
        }),
        ("a line that is not a record", |guest| guest.write(b"boo\n")),
        ("a line without end", |guest| guest.write(&vec![b'x'; LONGEST_LINE + 1])),
        ("a record without end", |guest| {
            while !guest.stopped.load(Ordering::Relaxed) {
                guest.attempt(0);
            }
        }),
    ];
    let mut messages = Vec::new();
    for (what, violation) in violations {
        let violating = life(move |guest| {
            guest.hello();
            guest.start("a");
            violation(guest);
        });
        let session = play(&plan(&["a", "b"]), AMPLE, [violating, obedient()]).unwrap();
        let ScenarioEnd::Fault { message } = &session.outcomes[0].end else { panic!("{what}: {session:?}") };
        messages.push(format!("{what}\n  {message}"));
        assert!(finished(&session.outcomes[1]), "{what}");
    }
    insta::assert_snapshot!(messages.join("\n"), @r#"
    another scenario's end
      invalid guest record: unexpected `scenario_end` record; expected attempt 0 of case 0 of `a`
    another scenario's start
      invalid guest record: unexpected `scenario_start` record; expected attempt 0 of case 0 of `a`
    an attempt before its turn
      invalid guest record: unexpected `attempt` record; expected attempt 0 of case 0 of `a`
    an attempt that does not exist
      invalid guest record: unexpected `attempt` record; expected attempt 0 of case 0 of `a`
    an end before the attempts
      invalid guest record: the scenario ended after 0 of 2 attempts without a fault
    the end of all
      invalid guest record: unexpected `end` record; expected attempt 0 of case 0 of `a`
    a second introduction
      invalid guest record: unexpected `hello` record; expected attempt 0 of case 0 of `a`
    a gap in the sequence
      invalid guest record: line 3 has sequence number 3 instead of 2
    a guard's records of a later attempt
      invalid guest record: unexpected `guard` record; expected attempt 1 of case 0 of `a`
    a line that is not a record
      invalid guest record: line 3 is not a record: expected value at line 1 column 1; it begins with "boo"
    a line without end
      invalid guest record: line 3 is longer than 393216 bytes
    a record without end
      invalid guest record: unexpected `attempt` record; expected attempt 1 of case 0 of `a`
    "#);
}

#[test]
fn a_violation_outside_of_scenarios_is_an_error() {
    let violations: Violations<5> = [
        ("no introduction", |guest| guest.start("a")),
        ("another kernel", |guest| guest.record_event(Event::Hello { format: FORMAT, release: "6.1.0".to_owned() })),
        ("another format", |guest| {
            guest.record_event(Event::Hello { format: FORMAT + 1, release: "6.12.0".to_owned() })
        }),
        ("a scenario that is not in the plan", |guest| {
            guest.hello();
            guest.whole("z");
        }),
        ("the end before the scenarios", |guest| {
            guest.hello();
            guest.done();
        }),
    ];
    let mut messages = Vec::new();
    for (what, violation) in violations {
        match play(&plan(&["a"]), AMPLE, [life(violation)]) {
            Err(error @ SessionError::Untrusted(_)) => messages.push(format!("{what}\n  {error}")),
            other => panic!("{what}: {other:?}"),
        }
    }
    let formats = format!("format is {}, not {FORMAT}", FORMAT + 1);
    let messages = messages.join("\n").replace(&formats, "format is NEXT, not CURRENT");
    insta::assert_snapshot!(messages, @"
    no introduction
      invalid guest record: unexpected `scenario_start` record; expected a `hello` record
    another kernel
      invalid guest record: the guest program's kernel is 6.1.0, not 6.12.0
    another format
      invalid guest record: the guest program's format is NEXT, not CURRENT
    a scenario that is not in the plan
      invalid guest record: unexpected `scenario_start` record; expected the start of `a`
    the end before the scenarios
      invalid guest record: unexpected `end` record; expected the start of `a`
    ");
}

#[test]
fn a_wrong_count_at_the_end_is_an_error_that_names_both() {
    let miscounting = life(|guest| {
        guest.hello();
        guest.whole("a");
        guest.record_event(Event::End { scenarios: 2 });
    });
    let result = play(&plan(&["a"]), AMPLE, [miscounting]);
    assert!(
        matches!(result, Err(SessionError::Untrusted(ProtocolViolation::Count { expected: 1, found: 2 }))),
        "{result:?}"
    );
}

#[test]
fn a_plan_of_another_format_boots_nothing() {
    let plan = Plan { format: FORMAT + 1, ..plan(&["a"]) };
    assert!(matches!(play(&plan, AMPLE, []), Err(SessionError::Format(_))));
}
