//! Who acts, with which capabilities, and what stands in the way: from scenario text to plan.

mod common;

use harness_protocol::plan::{Actor, Call, Filter, FilterErrno, Holding, Lockdown, Refused, SystemCall, Token};

use common::{expanded, problems};

#[test]
fn a_process_of_the_initial_namespaces_is_planned_without_any_of_its_own() {
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
fn a_process_without_namespaces_has_nothing_that_belongs_to_one() {
    let found = problems(
        r#"summary = "x"
[containers.a]
unshare = false
namespaces = ["net"]
delegate = { cmds = ["map_create"] }
[containers.b]
parent = "a"
[[attempt]]
op = "btf_load"
"#,
    )
    .join("\n");
    for part in [
        "every capability is `host`",
        "namespaces of its own are asked for",
        "nothing can be delegated to it",
        "no namespaces of its own that anything could be made in",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
}

#[test]
fn capabilities_in_effect_are_some_of_those_the_actor_has() {
    let text = |caps: &str| {
        format!("summary = \"x\"\n[container]\ncaps = [\"bpf\"]\n[[attempt]]\nop = \"btf_load\"\ncaps = {caps}\n")
    };
    let run = expanded(&text("[]"), "6.12");
    assert_eq!(run.plan.cases[0].attempts[0].caps, Some(vec![]));
    assert_eq!(run.cases[0].attempts[0].text, "btf_load with no capability");
    assert_eq!(expanded(&text("[\"CAP_BPF\"]"), "6.12").plan.cases[0].attempts[0].caps, Some(vec![39]));
    let found = problems(&text("[\"net_admin\"]")).join("\n");
    assert!(found.contains("the container does not have `net_admin`"), "{found}");
}

#[test]
fn filters_name_calls_and_commands() {
    let text = |refuse: &str| {
        format!(
            "summary = \"x\"\n[container]\nno_new_privs = true\nseccomp = {{ refuse = {refuse}, errno = \"ENOSYS\" }}\n\
             [[attempt]]\nop = \"btf_load\"\n"
        )
    };
    let run = expanded(&text("[\"fsconfig\", \"bpf:prog_load\"]"), "6.12");
    let restrictions = &run.plan.cases[0].containers[0].restrictions;
    let refused = vec![
        Refused { call: SystemCall::Fsconfig, command: None },
        Refused { call: SystemCall::Bpf, command: Some(5) },
    ];
    assert!(restrictions.no_new_privs);
    assert_eq!(restrictions.filter, Some(Filter { refused, answer: FilterErrno::Enosys }));
    for (refuse, why) in [
        ("[\"read\"]", "no filter refuses `read`"),
        ("[\"fsopen:prog_load\"]", "`fsopen` has no commands"),
        ("[\"bpf:prog_lod\"]", "prog_lod"),
        ("[]", "this list is empty"),
    ] {
        let found = problems(&text(refuse)).join("\n");
        assert!(found.contains(why), "{why} is not in\n{found}");
    }
}

#[test]
fn a_locked_down_kernel_is_used_for_one_scenario() {
    let text = "summary = \"x\"\nvm.lockdown = \"integrity\"\n[[attempt]]\nop = \"btf_load\"\n";
    assert!(problems(text).join("\n").contains("isolation = \"vm\""));
    let alone = format!("isolation = \"vm\"\n{text}");
    assert_eq!(expanded(&alone, "6.12").plan.lockdown, Some(Lockdown::Integrity));
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
fn who_was_ended_makes_no_attempt_and_leaves_no_container_behind() {
    let after = problems("summary = \"x\"\nattempt = [{ op = \"exit\" }, { op = \"btf_load\" }]\n").join("\n");
    assert!(after.contains("the container was ended by an earlier `exit`"), "{after}");
    let host = problems("summary = \"x\"\nattempt = [{ op = \"exit\", by = \"host\" }]\n").join("\n");
    assert!(host.contains("`host` cannot be ended"), "{host}");
    let outer = problems(
        "summary = \"x\"\n[containers.inner]\nparent = \"container\"\n[[attempt]]\nop = \"exit\"\n[[attempt]]\nop = \"btf_load\"\nby = \"inner\"\n",
    )
    .join("\n");
    assert!(outer.contains("before the containers inside it"), "{outer}");
}

#[test]
fn anything_is_handed_over_as_a_token_where_the_kernel_is_to_refuse_it() {
    let text = |expect: &str| {
        format!(
            "summary = \"x\"\n[[attempt]]\nop = \"btf_load\"\nsave = \"b\"\n\
             [[attempt]]\nop = \"btf_load\"\ntoken = \"b\"\nexpect = \"{expect}\"\n"
        )
    };
    assert_eq!(expanded(&text("denied"), "6.12").plan.cases[0].attempts[1].token, Token::Saved("b".into()));
    let found = problems(&text("allowed")).join("\n");
    assert!(found.contains("`b` is a type description, not a token"), "{found}");
}
