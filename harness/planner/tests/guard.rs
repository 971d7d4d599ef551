//! The guard of a scenario: its policy is read from a file beside the scenario and becomes part of the plan.

mod common;

use harness_planner::expand::Expansion;
use harness_protocol::plan::{Guard, GuardMode, Reader};
use harness_scenario::file::{ScenarioFile, parse};

use common::kernel;

const ATTEMPT: &str = "[[attempt]]\nop = \"btf_load\"\n";

fn scenario(guard: &str) -> ScenarioFile {
    let text = format!("summary = \"x\"\n[vm]\nguard = {guard}\n{ATTEMPT}");
    parse("t.toml", "a/b".parse().unwrap(), &text).unwrap()
}

fn complaints(file: ScenarioFile) -> String {
    let read = file.with_guard_policy(|_| Ok("version = 1\n".to_owned()));
    read.and_then(|file| kernel("7.3").expand_parsed(&file)).unwrap_err().to_string()
}

#[test]
fn the_text_of_the_policy_is_part_of_the_plan() {
    let planned = |guard: &str| {
        let read = scenario(guard).with_guard_policy(|name| {
            assert_eq!(name, "x.guard.toml");
            Ok("version = 1\n".to_owned())
        });
        let Ok(Expansion::Run(expanded)) = kernel("7.3").expand_parsed(&read.unwrap()) else { panic!("skipped") };
        expanded.plan.guard
    };
    let guard = Guard { policy: "version = 1\n".to_owned(), mode: None, early: false, reader: Default::default() };
    assert_eq!(planned("{ policy = \"x.guard.toml\" }"), Some(guard.clone()));
    let enforced = Guard { mode: Some(GuardMode::Enforce), ..guard };
    assert_eq!(planned("{ policy = \"x.guard.toml\", mode = \"enforce\" }"), Some(enforced));
    let none = format!("summary = \"x\"\n{ATTEMPT}");
    let none = parse("t.toml", "a/b".parse().unwrap(), &none).unwrap().with_guard_policy(|_| panic!("it is read"));
    let Ok(Expansion::Run(expanded)) = kernel("7.3").expand_parsed(&none.unwrap()) else { panic!("skipped") };
    assert_eq!(expanded.plan.guard, None);
}

#[test]
fn a_policy_that_cannot_be_read_is_a_problem_of_its_key() {
    let missing = scenario("{ policy = \"x.guard.toml\" }").with_guard_policy(|_| Err("it is gone".to_owned()));
    insta::assert_snapshot!(missing.unwrap_err(), @"t.toml:3:20: it is gone");
    let elsewhere = ["../x.guard.toml", "x.toml", ".guard.toml", "a/b.guard.toml"].map(|name| {
        let read = scenario(&format!("{{ policy = \"{name}\" }}")).with_guard_policy(|_| panic!("it is read"));
        read.unwrap_err().to_string()
    });
    insta::assert_snapshot!(elsewhere[0], @"t.toml:3:20: not the name of a policy beside the scenario, such as `narrow.guard.toml`");
    assert!(elsewhere.iter().all(|report| *report == elsewhere[0]), "{elsewhere:?}");
}

#[test]
fn its_keys_are_checked() {
    insta::assert_snapshot!(complaints(scenario("{ policy = \"x.guard.toml\", modus = \"audit\" }")), @"t.toml:3:36: unknown key `modus` (did you mean `mode`?)");
    insta::assert_snapshot!(complaints(scenario("{ policy = \"x.guard.toml\", mode = \"permissive\" }")), @"t.toml:3:43: `permissive` is not a value of this key (one of `audit`, `enforce`)");
    insta::assert_snapshot!(complaints(scenario("{ mode = \"audit\" }")), @"t.toml:3:9: the key `policy` is missing");
}

#[test]
fn an_early_guard_needs_a_vm_of_its_own() {
    let early = "{ policy = \"x.guard.toml\", early = true }";
    insta::assert_snapshot!(complaints(scenario(early)), @r#"t.toml:3:44: an early guard lasts until the next boot (add `isolation = "vm"`)"#);
    let text = format!("summary = \"x\"\nisolation = \"vm\"\n[vm]\nguard = {early}\n{ATTEMPT}");
    let file = parse("t.toml", "a/b".parse().unwrap(), &text).unwrap();
    let read = file.with_guard_policy(|_| Ok("version = 1\n".to_owned())).unwrap();
    let Ok(Expansion::Run(expanded)) = kernel("7.3").expand_parsed(&read) else { panic!("skipped") };
    assert!(expanded.plan.guard.unwrap().early && expanded.plan.own_vm);
}

#[test]
fn a_reader_that_is_stopped_is_that_of_a_guard_in_the_running_system() {
    let policy = "policy = \"x.guard.toml\"";
    let text = format!("summary = \"x\"\n[vm]\nguard = {{ {policy}, reader = \"full\" }}\n{ATTEMPT}");
    let file = parse("t.toml", "a/b".parse().unwrap(), &text).unwrap();
    let read = file.with_guard_policy(|_| Ok("version = 1\n".to_owned())).unwrap();
    let Ok(Expansion::Run(expanded)) = kernel("7.3").expand_parsed(&read) else { panic!("skipped") };
    assert_eq!(expanded.plan.guard.unwrap().reader, Reader::Full);
    let text = text.replace("\n[vm]", "\nisolation = \"vm\"\n[vm]").replace("reader", "early = true, reader");
    let early = parse("t.toml", "a/b".parse().unwrap(), &text).unwrap();
    insta::assert_snapshot!(complaints(early), @"t.toml:4:59: `reader` cannot be combined with `early`: that guard lets nobody stop its reader");
    let other = scenario(&format!("{{ {policy}, reader = \"gone\" }}"));
    insta::assert_snapshot!(complaints(other), @"t.toml:3:45: `gone` is not a value of this key (one of `reads`, `stopped`, `full`)");
}
