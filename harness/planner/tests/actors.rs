//! Actors, their capabilities and restrictions: from scenario text to plan.

mod common;

use harness_protocol::plan::{Actor, Call, Filter, FilterErrno, Holding, Lockdown, Refused, SystemCall, Token};

use common::{expanded, problems};

#[test]
fn a_process_without_namespaces_of_its_own_is_planned() {
    let text = r#"
summary = "x"
delegate = { cmds = ["map_create"], maps = ["hash"] }
[containers.owner]
unshare = false
caps = []
[containers.helper]
parent = "container"
unshare = false
uid = 5
[[attempt]]
op = "token_create"
save = "t"
[[attempt]]
by = "owner"
op = "map_create"
type = "hash"
token = "t"
[[attempt]]
by = "helper"
op = "obj_pin"
object = "t"
path = "p"
[[attempt]]
op = "obj_get"
path = "p"
"#;
    let case = &expanded(text, "6.12").plan.cases[0];
    let facts: Vec<_> = case.containers.iter().map(|c| (c.name.as_str(), c.unshare, c.uid, c.caps.len())).collect();
    assert_eq!(facts, [("container", true, 1000, 41), ("owner", false, 1000, 0), ("helper", false, 5, 41)]);
    assert_eq!(case.attempts[1].token, Token::Saved("t".into()));
}

#[test]
fn an_attempt_has_the_capabilities_that_it_lists() {
    let text = |caps: &str| {
        format!("summary = \"x\"\n[container]\ncaps = [\"bpf\"]\n[[attempt]]\nop = \"btf_load\"\ncaps = {caps}\n")
    };
    let run = expanded(&text("[]"), "6.12");
    assert_eq!(run.plan.cases[0].attempts[0].caps, Some(vec![]));
    assert_eq!(run.cases[0].attempts[0].text, "btf_load with no capability");
    assert_eq!(expanded(&text("[\"CAP_BPF\"]"), "6.12").plan.cases[0].attempts[0].caps, Some(vec![39]));
}

#[test]
fn filters_name_calls_and_commands() {
    let text = r#"
summary = "x"
[container]
no_new_privs = true
seccomp = { refuse = ["fsconfig", "bpf:prog_load"], errno = "ENOSYS" }
[[attempt]]
op = "btf_load"
"#;
    let run = expanded(text, "6.12");
    let restrictions = &run.plan.cases[0].containers[0].restrictions;
    let refused = vec![
        Refused { call: SystemCall::Fsconfig, command: None },
        Refused { call: SystemCall::Bpf, command: Some(5) },
    ];
    assert!(restrictions.no_new_privs);
    assert_eq!(restrictions.filter, Some(Filter { refused, answer: FilterErrno::Enosys }));
}

#[test]
fn a_locked_down_kernel_has_a_boot_of_its_own() {
    let text = "summary = 'x'\nisolation = 'vm'\nvm.lockdown = 'integrity'\n[[attempt]]\nop = 'btf_load'\n";
    assert_eq!(expanded(text, "6.12").plan.lockdown, Some(Lockdown::Integrity));
}

#[test]
fn a_vm_with_another_memory_is_the_scenarios_own() {
    let text = "summary = 'x'\nisolation = 'vm'\nvm.memory_mib = 2048\n[[attempt]]\nop = 'btf_load'\n";
    assert_eq!(expanded(text, "6.12").plan.memory_mib, Some(2048));
    let complaints = |text: &str| problems(text).join("\n");
    insta::assert_snapshot!(complaints(&text.replace("isolation = 'vm'\n", "")), @r#"2:17: other scenarios of the boot have another memory (add `isolation = "vm"`)"#);
}

#[test]
fn a_container_belongs_to_a_login_from_the_start() {
    let text = "summary = 'x'\n[container]\nloginuid = 1500\n[[attempt]]\nop = 'btf_load'\n";
    assert_eq!(expanded(text, "6.12").plan.cases[0].containers[0].loginuid, Some(1500));
    let complaints = |text: &str| problems(text).join("\n");
    let inside = "[containers.outer]\n[container]\nparent = 'outer'\n";
    insta::assert_snapshot!(complaints(&text.replace("[container]\n", inside)), @"5:12: `loginuid` cannot be combined with `parent`: a process logs in before it has namespaces");
}

#[test]
fn mounts_are_changed_and_processes_ended_between_attempts() {
    let text = r#"
summary = "x"
[[attempt]]
by = "host"
op = "remount"
from = "container"
options = ["delegate_cmds=any"]
[[attempt]]
op = "umount"
holding = "token"
[[attempt]]
op = "exit"
"#;
    let run = expanded(text, "6.12");
    let calls: Vec<&Call> = run.plan.cases[0].attempts.iter().map(|attempt| &attempt.call).collect();
    let Call::Remount { from: Actor::Container(from), options } = calls[0] else { panic!("{calls:?}") };
    assert_eq!((from.as_str(), options[0].value.as_str()), ("container", "any"));
    assert_eq!(calls[1..], [&Call::Umount { holding: Holding::Token }, &Call::Exit]);
    let texts: Vec<&str> = run.cases[0].attempts.iter().map(|attempt| attempt.text.as_str()).collect();
    assert_eq!(texts, ["by host: remount from=container delegate_cmds=any", "umount holding=token", "exit"]);
}

#[test]
fn an_attempt_that_must_fail_can_pass_any_object_as_a_token() {
    let text = r#"
summary = "x"
[[attempt]]
op = "btf_load"
save = "b"
[[attempt]]
op = "btf_load"
token = "b"
expect = "denied"
"#;
    assert_eq!(expanded(text, "6.12").plan.cases[0].attempts[1].token, Token::Saved("b".into()));
}
