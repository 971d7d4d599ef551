//! Units of a real systemd that hang, do not start, have similar names, and take long to stop.

mod built;

use std::process::ExitCode;

use harness_protocol::{
    outcome::{ScenarioEnd, ScenarioOutcome, UnitFact},
    plan::{
        Actor, Assignment, Attempt, Call, Case, Container, ExpectedKernel, FORMAT, Manager, Plan, Scenario, Token, Unit,
    },
};
use harness_runner::{session::Session, vm};
use libtest_mimic::{Arguments, Trial};

use built::Built;

/// The image, whose systemd delegates.
const IMAGE: &str = "systemd-262";

/// The deadline of scenarios that do not hang, in milliseconds.
const ENOUGH: u64 = 120_000;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |name: &str, test: fn(&Built)| -> Trial {
        built::trial_in(IMAGE, name, move |built| {
            test(built);
            Ok(())
        })
    };
    let trials = vec![
        trial("a_unit_that_hangs_costs_its_own_scenario", hangs),
        trial("a_unit_that_does_not_start_has_its_result", does_not_start),
        trial("units_with_similar_names_have_their_own_warnings", similar_names),
        trial("the_end_of_a_unit_that_takes_long_to_stop_is_awaited", stops_slowly),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs scenarios in VMs with systemd.
fn run(built: &Built, scenarios: Vec<Scenario>) -> Session {
    let plan = Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: true, guard: None, scenarios };
    built.run(&plan).unwrap()
}

/// A scenario whose containers are units with these assignments, and each makes an attempt.
fn scenario(name: &str, deadline_ms: u64, units: &[&[(&str, &str)]]) -> Scenario {
    let assignment = |&(key, value): &(&str, &str)| Assignment { key: key.to_owned(), value: value.to_owned() };
    let container = |(number, unit): (usize, &&[(&str, &str)])| Container {
        name: format!("unit{number}").parse().unwrap(),
        parent: None,
        unshare: true,
        uid: 0,
        gid: 0,
        loginuid: None,
        namespaces: Vec::new(),
        caps: Vec::new(),
        options: Vec::new(),
        token: false,
        restrictions: Default::default(),
        unit: Some(Unit {
            service: unit.iter().map(assignment).collect(),
            drop_ins: Vec::new(),
            instance: None,
            manager: Manager::System,
            nspawn: None,
        }),
    };
    let containers: Vec<Container> = units.iter().enumerate().map(container).collect();
    let attempt = |unit: &Container| Attempt::new(Actor::Container(unit.name.clone()), Token::None, Call::BtfLoad);
    let attempts = containers.iter().map(attempt).collect();
    Scenario::new(name.parse().unwrap(), deadline_ms, vec![Case { sysctls: Default::default(), containers, attempts }])
}

/// What systemd says of each unit of a scenario that finished.
fn units(outcome: &ScenarioOutcome) -> &[UnitFact] {
    let ScenarioEnd::Finished { .. } = outcome.end else { panic!("{outcome:?}") };
    assert_eq!(outcome.attempts.len(), outcome.units.len(), "{outcome:?}");
    &outcome.units
}

/// Whether a unit ran and ended, its result and its status.
fn end(unit: &UnitFact) -> (bool, &str, &str) {
    (unit.ran, &unit.result, &unit.status)
}

const SUCCESS: (bool, &str, &str) = (true, "success", "0");

fn hangs(built: &Built) {
    let never: &[(&str, &str)] = &[("ExecStartPre", "/usr/bin/busybox sleep 3600"), ("TimeoutStartSec", "infinity")];
    let session = run(
        built,
        vec![scenario("before", ENOUGH, &[&[]]), scenario("hangs", 5000, &[never]), scenario("after", ENOUGH, &[&[]])],
    );
    let ScenarioEnd::Crashed { how, .. } = &session.outcomes[1].end else { panic!("{:?}", session.outcomes[1]) };
    assert!(how.starts_with("the guest exceeded its deadline of"), "{how}");
    for index in [0, 2] {
        assert_eq!(end(&units(&session.outcomes[index])[0]), SUCCESS);
    }
    assert_eq!(session.vms.len(), 2, "only what hangs costs its VM");
}

fn does_not_start(built: &Built) {
    let late: &[(&str, &str)] = &[("ExecStartPre", "/usr/bin/busybox sleep 3600"), ("TimeoutStartSec", "2")];
    // systemd loads no service with two programs.
    let bad: &[(&str, &str)] = &[("ExecStart", "/usr/bin/busybox true")];
    let units_of_it: [&[(&str, &str)]; 4] = [late, &[("User", "nobody-has-this-name")], bad, &[]];
    let session = run(built, vec![scenario("does-not-start", ENOUGH, &units_of_it)]);
    let ended: Vec<_> = units(&session.outcomes[0]).iter().map(end).collect();
    let expected = [(false, "timeout", "0"), (false, "exit-code", "217"), (false, "bad-setting", "0"), SUCCESS];
    assert_eq!(ended, expected, "{:?}", session.outcomes[0].units);
}

/// The name of the second unit is the beginning of that of the last, which fails.
fn similar_names(built: &Built) {
    let mut all: Vec<&[(&str, &str)]> = vec![&[]; 10];
    all.push(&[("User", "nobody-has-this-name")]);
    let session = run(built, vec![scenario("similar-names", ENOUGH, &all)]);
    let (failed, others) = units(&session.outcomes[0]).split_last().unwrap();
    assert_eq!(end(failed), (false, "exit-code", "217"));
    assert!(failed.warnings.iter().any(|line| line.contains("unit.service")), "{failed:?}");
    for other in others {
        assert_eq!((end(other), &*other.warnings), (SUCCESS, &[][..]), "{other:?}");
    }
}

/// It takes longer than one wait for a message, and its result is known only at the end.
fn stops_slowly(built: &Built) {
    let slow: &[(&str, &str)] = &[("ExecStopPost", "/usr/bin/busybox sh -c 'sleep 13; exit 3'")];
    let session = run(built, vec![scenario("stops-slowly", ENOUGH, &[slow]), scenario("after", ENOUGH, &[&[]])]);
    assert_eq!(end(&units(&session.outcomes[0])[0]), (true, "exit-code", "0"));
    assert_eq!(end(&units(&session.outcomes[1])[0]), SUCCESS);
    assert_eq!(session.vms.len(), 1);
}
