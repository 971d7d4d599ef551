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
    let guard = Guard::new("version = 1\n");
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
fn a_pinned_guard_needs_a_vm_of_its_own() {
    let pinned = "{ policy = \"x.guard.toml\", pinned = true }";
    insta::assert_snapshot!(complaints(scenario(pinned)), @r#"t.toml:3:45: a pinned guard lasts until the next boot (add `isolation = "vm"`)"#);
    let text = format!("summary = \"x\"\nisolation = \"vm\"\n[vm]\nguard = {pinned}\n{ATTEMPT}");
    let read = |text: &str| parse("t.toml", "a/b".parse().unwrap(), text).unwrap();
    let file = read(&text).with_guard_policy(|_| Ok("version = 1\n".to_owned())).unwrap();
    let Ok(Expansion::Run(expanded)) = kernel("7.3").expand_parsed(&file) else { panic!("skipped") };
    assert!(expanded.plan.guard.unwrap().pinned && expanded.plan.own_vm);
    insta::assert_snapshot!(complaints(read(&text.replace("pinned = true", "pinned = true, early = true"))), @"t.toml:4:45: an early guard is pinned anyway, where no path leads");
}

/// Expands a scenario with an attack and what follows it. Returns the attack's label, or what is wrong.
fn attack(guard: &str, attack: &str, next: &str) -> String {
    let text = format!("summary = \"x\"\nisolation = \"vm\"\n[vm]\n{guard}[[attempt]]\n{attack}\n{next}");
    let file = parse("t.toml", "a/b".parse().unwrap(), &text).unwrap();
    let read = file.with_guard_policy(|_| Ok("version = 1\n".to_owned()));
    match read.and_then(|file| kernel("7.3").expand_parsed(&file)) {
        Ok(Expansion::Run(expanded)) => expanded.cases[0].attempts[0].text.clone(),
        Ok(Expansion::Skipped { reason }) => reason,
        Err(report) => report.to_string(),
    }
}

#[test]
fn an_attack_has_a_guard_and_a_canary() {
    let guard = |how: &str| format!("guard = {{ policy = \"x.guard.toml\"{how} }}\n");
    let by_host = |way: &str| format!("by = \"host\"\nop = \"attack\"\nway = \"{way}\"");
    let canary = "[[attempt]]\nop = \"map_create\"\ntype = \"hash\"\n";
    let pinned = guard(", pinned = true");
    insta::assert_snapshot!(attack(&pinned, &by_host("unlink_pin"), canary), @"by host: attack unlink_pin");
    insta::assert_snapshot!(attack(&guard(", early = true"), &by_host("unlink_pin"), canary), @"by host: attack unlink_pin");
    insta::assert_snapshot!(attack(&guard(""), &by_host("map_by_id"), canary), @"by host: attack map_by_id");
    insta::assert_snapshot!(attack(&guard(", early = true"), &by_host("swap_maps"), canary), @"by host: attack swap_maps");
    insta::assert_snapshot!(attack("", &by_host("kill"), canary), @"t.toml:4:1: there is no guard to attack (add `[vm] guard`)");
    insta::assert_snapshot!(attack(&guard(""), &by_host("umount"), canary), @"t.toml:5:1: this guard has no pins (add `pinned = true` to `[vm] guard`)");
    insta::assert_snapshot!(attack(&guard(", early = true"), &by_host("map_by_id"), canary), @"t.toml:5:1: the ids of an early guard's objects are not known (write `pinned = true` in place of `early = true`)");
    insta::assert_snapshot!(attack(&pinned, &by_host("umount"), ""), @"t.toml:5:1: an attack needs a canary, which shows whether the guard is still in force (let a `map_create` or `prog_load` follow that the policy refuses)");
    insta::assert_snapshot!(attack(&pinned, &by_host("umount"), ATTEMPT), @"t.toml:5:1: an attack needs a canary, which shows whether the guard is still in force (let a `map_create` or `prog_load` follow that the policy refuses)");
    insta::assert_snapshot!(attack(&pinned, "op = \"attack\"\nway = \"umount\"", canary), @r#"t.toml:5:1: only root attacks the guard (add `by = "host"`)"#);
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

/// Expands an attempt under a guard with these copies. Returns its label, or what is wrong.
fn with_copies(copies: &str, attempt: &str) -> String {
    let text = format!(
        "summary = \"x\"\n[vm]\nguard = {{ policy = \"x.guard.toml\", copies = {{ {copies} }} }}\n\
         [containers.process]\nunshare = false\ncaps = []\n[[attempt]]\n{attempt}\n"
    );
    let file = parse("t.toml", "a/b".parse().unwrap(), &text).unwrap();
    let read = file.with_guard_policy(|_| Ok("version = 1\n".to_owned()));
    match read.and_then(|file| kernel("7.3").expand_parsed(&file)) {
        Ok(Expansion::Run(expanded)) => {
            let steps = &expanded.plan.cases[0].attempts[0].steps;
            format!("{} {steps:?}", expanded.cases[0].attempts[0].text)
        }
        Ok(Expansion::Skipped { reason }) => reason,
        Err(report) => report.to_string(),
    }
}

#[test]
fn attempts_execute_copies_that_the_guard_has() {
    let copies = "agent = \"same\", \"folder/agent\" = \"longer\"";
    let exec = |exec: &str| with_copies(copies, &format!("op = \"btf_load\"\nexec = {exec}"));
    insta::assert_snapshot!(exec("[]"), @"btf_load []");
    insta::assert_snapshot!(exec("[\"agent\", \"fork\", \"folder/agent\"]"), @r#"btf_load exec=agent,fork,folder/agent [Exec("agent"), Fork, Exec("folder/agent")]"#);
    insta::assert_snapshot!(exec("[\"agnt\"]"), @"t.toml:9:9: there is no copy `agnt` (did you mean `agent`?)");
    insta::assert_snapshot!(exec("[\"fork\", \"agent\"]"), @"t.toml:9:9: the first step must execute a copy");
    insta::assert_snapshot!(with_copies("", "op = \"btf_load\"\nexec = [\"agent\"]"), @"t.toml:9:9: there is no copy `agent` (add `copies` to `[vm] guard`)");
    insta::assert_snapshot!(with_copies(copies, "by = \"process\"\nop = \"btf_load\"\nexec = [\"agent\"]"), @"t.toml:10:8: `process` cannot execute a copy and keep its capabilities (let a container with namespaces of its own make the attempt, or `host`)");
}

#[test]
fn copies_have_plain_names_and_kinds() {
    let named = |name: &str| with_copies(&format!("\"{name}\" = \"same\""), "op = \"btf_load\"");
    insta::assert_snapshot!(named("../agent"), @"t.toml:3:60: `../agent` is no name of a copy (write a path of letters, digits and `-` such as `agent` or `folder/agent`)");
    insta::assert_snapshot!(named("fork"), @"t.toml:3:56: `fork` is no name of a copy (write a path of letters, digits and `-` such as `agent` or `folder/agent`)");
    assert!(["a/b/c", "/a", "a/", "", "-a", "a b"].iter().all(|name| named(name).contains("is no name of a copy")));
    insta::assert_snapshot!(with_copies("agent = \"other\"", "op = \"btf_load\""), @"t.toml:3:55: `other` is not a value of this key (one of `same`, `longer`, `written`, `replaced`, `verity`)");
    let many: Vec<String> = (0..9).map(|number| format!("a{number} = \"same\"")).collect();
    insta::assert_snapshot!(with_copies(&many.join(", "), "op = \"btf_load\""), @"t.toml:3:45: these are 9 copies; the limit is 8");
    let early = "summary = \"x\"\nisolation = \"vm\"\n[vm]\n\
                 guard = { policy = \"x.guard.toml\", early = true, copies = { agent = \"same\" } }\n";
    let early = parse("t.toml", "a/b".parse().unwrap(), &format!("{early}{ATTEMPT}")).unwrap();
    insta::assert_snapshot!(complaints(early), @"t.toml:4:59: an early guard is in force before there are copies (write `pinned = true` in place of `early = true`)");
}

#[test]
fn a_process_that_executes_a_copy_can_be_attacked() {
    let attack = |way: &str| {
        let canary = "[[attempt]]\nop = \"map_create\"\ntype = \"hash\"";
        let attempt = format!("by = \"host\"\nop = \"attack\"\nway = \"{way}\"\ncopy = \"agent\"\n{canary}");
        with_copies("agent = \"same\"", &attempt)
    };
    insta::assert_snapshot!(attack("ptrace"), @"by host: attack ptrace copy=agent []");
    insta::assert_snapshot!(attack("map_by_id"), @"t.toml:11:8: `map_by_id` is not an attack on a process (leave `copy` out, or write another `way` such as `ptrace`)");
}
