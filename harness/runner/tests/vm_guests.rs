//! Real guests in real VMs that panic, hang, flood and exit, which a fake guest cannot show.

mod built;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use harness_protocol::{
    name::ScenarioName,
    outcome::{ScenarioEnd, ScenarioOutcome},
    plan::{Actor, Attempt, Call, Case, ExpectedKernel, FORMAT, Plan, Sabotage, Scenario, Token},
};
use harness_runner::{session::Session, vm};
use libtest_mimic::{Arguments, Completion, Trial};

use built::Built;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |name: &str, test: fn(&Built)| {
        built::trial(name, move |built| {
            test(built);
            Ok(())
        })
    };
    let splats =
        Trial::ignorable_test("a_warning_and_an_oops_of_a_real_kernel_are_splats", || match Built::of_kernel(LKDTM)? {
            Some(built) => {
                splats(&built);
                Ok(Completion::Completed)
            }
            None => Ok(Completion::ignored_with(format!(
                "kernel {LKDTM} is not built; `cargo xtask kernel build {LKDTM}` builds it"
            ))),
        });
    let trials = vec![
        splats,
        trial("a_guest_that_panics_hangs_floods_or_exits_costs_one_scenario", sabotage),
        trial("two_sessions_side_by_side_do_not_disturb_each_other", side_by_side),
        trial("a_kernel_other_than_the_expected_one_is_refused", wrong_kernel),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn scenario(name: &str, deadline_ms: u64, call: Call) -> Scenario {
    let attempt = Attempt::new(Actor::Host, Token::None, call);
    let cases = vec![Case { sysctls: Default::default(), containers: Vec::new(), attempts: vec![attempt] }];
    Scenario::new(name.parse().unwrap(), deadline_ms, cases)
}

fn good(name: &str) -> Scenario {
    scenario(name, 60_000, Call::BtfLoad)
}

fn bad(name: &str, deadline_ms: u64, how: Sabotage) -> Scenario {
    scenario(name, deadline_ms, Call::Sabotage(how))
}

fn plan(scenarios: Vec<Scenario>) -> Plan {
    Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: true, guard: None, scenarios }
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

fn sabotage(built: &Built) {
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
    let session = built.run(&plan(scenarios)).unwrap();
    for index in [0, 2, 6] {
        assert!(is_finished(&session.outcomes[index]), "{:?}", session.outcomes[index]);
    }
    let (how, console) = crash(&session, "panic");
    assert_eq!(how, "the kernel panicked");
    assert!(console.contains("Kernel panic - not syncing: sysrq triggered crash"), "{console}");
    assert!(crash(&session, "hang").0.starts_with("the guest exceeded its deadline of"));
    assert!(crash(&session, "leave").0.starts_with("the guest program exited before the plan was done"));
    // It writes one endless line, which no console shows.
    assert!(crash(&session, "flood").0.starts_with("the guest exceeded its deadline of"));
    assert_eq!(session.vms.len(), 5, "each of the four costs its VM and no other");
    println!("5 VMs took {:.1} s: {:?}", started.elapsed().as_secs_f64(), session.vms);
}

/// A kernel with `CONFIG_LKDTM` (`Documentation/fault-injection/provoke-crashes.rst`).
const LKDTM: &str = "7.3-sanitize";

fn splats(built: &Built) {
    let scenarios = vec![
        good("before"),
        bad("warn", 60_000, Sabotage::Warn),
        good("between"),
        bad("oops", 60_000, Sabotage::Oops),
        good("after"),
    ];
    let session = built.run(&plan(scenarios)).unwrap();
    let texts = |index: usize| -> Vec<&str> {
        session.outcomes[index].splats.iter().map(|splat| splat.text.as_str()).collect()
    };
    for index in [0, 2, 4] {
        assert!(is_finished(&session.outcomes[index]), "{:?}", session.outcomes[index]);
        assert_eq!(texts(index), [""; 0]);
    }
    assert!(is_finished(&session.outcomes[1]), "{:?}", session.outcomes[1]);
    let [warning] = texts(1)[..] else { panic!("{session:?}") };
    assert!(warning.starts_with("WARNING: ") && warning.contains("lkdtm"), "{warning}");
    assert_eq!(crash(&session, "oops").0, "the kernel panicked");
    let [oops] = texts(3)[..] else { panic!("{session:?}") };
    assert!(oops.starts_with("Oops: ") || oops.starts_with("BUG: "), "{oops}");
    assert_eq!(session.vms.len(), 3, "each splat costs its VM");
}

fn side_by_side(built: &Built) {
    let plans = [plan(vec![good("left/one"), good("left/two")]), plan(vec![good("right/one")])];
    let sessions = std::thread::scope(|scope| {
        let run = |plan| scope.spawn(move || built.run(plan).unwrap());
        plans.each_ref().map(run).map(|thread| thread.join().unwrap())
    });
    for (plan, session) in plans.iter().zip(&sessions) {
        let names = |scenarios: &[Scenario]| scenarios.iter().map(|scenario| scenario.name.clone()).collect::<Vec<_>>();
        let answered: Vec<_> = session.outcomes.iter().map(|outcome| outcome.scenario.clone()).collect();
        assert_eq!(answered, names(&plan.scenarios));
        assert!(session.outcomes.iter().all(is_finished) && session.vms.len() == 1, "{session:?}");
        // The guest stays for 20 s after its last record, so that the host can read the console to the last mark.
        let times = &session.vms[0];
        let after = times.end.checked_sub(times.first_scenario.unwrap()).unwrap();
        assert!(after < Duration::from_secs(15), "the console showed the last mark too late: {times:?}");
    }
}

fn wrong_kernel(built: &Built) {
    let kernel = ExpectedKernel { release: Some("0.1".to_owned()), ..ExpectedKernel::default() };
    let error = built.run(&Plan { kernel, ..plan(vec![good("never")]) }).unwrap_err().to_string();
    assert!(error.starts_with("the guest refuses the plan") && error.contains("0.1"), "{error}");
    assert!(error.contains(built.kernel.release()), "{error}");
}
