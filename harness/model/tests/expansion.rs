//! From the text of a scenario to what a kernel is asked, with the names the committed kernels know.

mod common;

use common::{expanded, kernel, problems};
use harness_model::{
    expand::Expansion,
    plan::{Actor, BpffsFd, Call, LinkTarget, Namespace, Token},
    scenario::Isolation,
    verdict::Expect,
};

const FIRST: &str = r#"
summary = "A token grants exactly the map types its bpffs delegates"
kernels = ">=6.9"

[delegate]
cmds = ["map_create"]
maps = ["hash"]

[container]
caps = ["bpf"]

[[attempt]]
op = "map_create"
type = "hash"
expect = "allowed"

[[attempt]]
op = "map_create"
type = "BPF_MAP_TYPE_ARRAY"
expect = "denied"

[[attempt]]
op = "map_create"
type = "hash"
token = false
expect = "denied"
"#;

#[test]
fn the_scenario_of_the_design_becomes_a_plan() {
    let run = expanded(FIRST, "6.12");
    let case = &run.plan.cases[0];
    let container = &case.containers[0];
    assert_eq!((container.name.as_str(), container.uid, container.token), ("container", 1000, true));
    assert_eq!(container.caps, [39]);
    let options: Vec<String> = container.options.iter().map(|o| format!("{}={}", o.key, o.value)).collect();
    assert_eq!(options, ["delegate_cmds=map_create", "delegate_maps=hash"]);
    let tokens: Vec<&Token> = case.attempts.iter().map(|attempt| &attempt.token).collect();
    assert_eq!(tokens, [&Token::Own, &Token::Own, &Token::None]);
    let Call::MapCreate { map_type, key_size, value_size, max_entries, map_flags, .. } = &case.attempts[1].call else {
        panic!("{case:?}")
    };
    assert_eq!((*map_type, *key_size, *value_size, *max_entries, *map_flags), (2, 4, 4, 1, 0));
    let texts: Vec<&str> = run.cases[0].attempts.iter().map(|attempt| attempt.text.as_str()).collect();
    assert_eq!(texts, ["map_create hash", "map_create array", "map_create hash, no token"]);
    assert_eq!(run.cases[0].attempts[0].expect, Some(Expect::Allowed));
    assert_eq!((run.isolation, run.plan.deadline_ms), (Isolation::Shared, 20_000));
}

#[test]
fn a_kernel_outside_the_range_is_skipped_with_the_reason() {
    let text = FIRST.replace(">=6.9", ">=6.9, <7.0");
    let Expansion::Skipped { reason } = kernel("7.3").expand(&text).unwrap() else { panic!() };
    assert_eq!(reason, "kernel 7.3 is 7.3, and the scenario is for >=6.9, <7.0");
}

#[test]
fn what_only_another_kernel_knows_is_attempted_and_said_to_be_missing() {
    let text = r#"
summary = "x"
[delegate]
cmds = ["any"]
maps = ["any"]
progs = ["any"]
[[attempt]]
op = "map_create"
type = "insn_array"
[[attempt]]
op = "btf_get_fd_by_id"
[[attempt]]
op = "btf_get_fd_by_id"
token = false
[[attempt]]
op = "token_info"
"#;
    let missing = |kernel: &str| -> Vec<Option<String>> {
        expanded(text, kernel).cases[0].attempts.iter().map(|attempt| attempt.missing.clone()).collect()
    };
    let old = missing("6.12");
    assert_eq!(old[0].as_deref(), Some("6.12 has no map type `insn_array`"));
    assert_eq!(old[1].as_deref(), Some("6.12 has no `fd_by_id_token_fd` in union bpf_attr"));
    assert_eq!(old[2], None);
    assert_eq!(old[3].as_deref(), Some("6.12 has no struct bpf_token_info"));
    assert_eq!(missing("7.3"), [None, None, None, None]);
    let call = &expanded(text, "6.12").plan.cases[0].attempts[0].call;
    assert!(matches!(call, Call::MapCreate { map_type: 34, .. }), "{call:?}");
}

#[test]
fn a_delegated_name_the_kernel_lacks_cannot_be_set_up() {
    let text = "summary = 'x'\n[delegate]\nmaps = ['insn_array']\n[[attempt]]\nop = 'map_create'\ntype = 'hash'\n";
    let error = kernel("6.12").expand(text).unwrap_err().to_string();
    assert!(error.starts_with("x.toml:3:9: 6.12 does not know the map type `insn_array`"), "{error}");
    assert!(error.contains("add `kernels = \">6.12\"`"), "{error}");
    assert!(matches!(kernel("7.3").expand(text), Ok(Expansion::Run(_))));
}

#[test]
fn a_matrix_makes_a_case_of_each_combination() {
    let text = r#"
summary = "x"
[matrix]
type = ["hash", "array"]
granted = ["map_create", "prog_load"]
[delegate]
cmds = ["{granted}"]
maps = ["{type}"]
[[attempt]]
op = "map_create"
type = "{type}"
"#;
    let run = expanded(text, "6.12");
    let labels: Vec<&str> = run.cases.iter().map(|case| case.label.as_str()).collect();
    let expected = [
        "granted=map_create type=hash",
        "granted=map_create type=array",
        "granted=prog_load type=hash",
        "granted=prog_load type=array",
    ];
    assert_eq!(labels, expected);
    assert_eq!(run.plan.cases[3].containers[0].options[0].value, "prog_load");
    assert_eq!(run.cases[3].attempts[0].text, "map_create array");
}

#[test]
fn a_matrix_of_all_the_kernel_knows_differs_by_kernel() {
    let text = "summary = 'x'\n[matrix]\nm = '@map_types'\n[[attempt]]\nop = 'map_create'\ntype = '{m}'\n";
    let labels =
        |kernel: &str| -> Vec<String> { expanded(text, kernel).cases.iter().map(|case| case.label.clone()).collect() };
    assert!(labels("7.3").contains(&"m=insn_array".to_owned()));
    assert!(!labels("6.12").contains(&"m=insn_array".to_owned()));
    assert!(!labels("6.12").iter().any(|label| label == "m=unspec" || label == "m=sk_storage"));
    assert!(labels("6.12").len() > 25);
}

#[test]
fn containers_stand_in_an_order_in_which_parents_come_first() {
    let text = r#"
summary = "x"
[container]
parent = "outer"
namespaces = ["net"]
[containers.outer]
parent = "outermost"
uid = 2000
delegate = { raw = { delegate_cmds = ["0x1", "prog_load"] } }
[containers.outermost]
caps = []
[[attempt]]
op = "token_create"
by = "outer"
from = "container"
fd = "o_path"
save = "t"
"#;
    let case = &expanded(text, "7.3").plan.cases[0];
    let names: Vec<&str> = case.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["outermost", "outer", "container"]);
    assert_eq!((case.containers[0].caps.len(), case.containers[1].caps.len()), (0, 41));
    assert_eq!((case.containers[1].uid, case.containers[1].options.len()), (2000, 2));
    assert_eq!(case.containers[2].namespaces, [Namespace::Net]);
    assert!(case.containers.iter().all(|container| !container.token));
    let from = Actor::Container("container".parse().unwrap());
    assert_eq!(case.attempts[0].call, Call::TokenCreate { from, fd: BpffsFd::OPath });
}

#[test]
fn objects_are_used_by_the_names_they_were_saved_under() {
    let text = r#"
summary = "x"
[delegate]
cmds = ["any"]
[container]
namespaces = ["net"]
[[attempt]]
op = "token_create"
save = "t"
[[attempt]]
op = "map_create"
type = "queue"
by = "host"
token = "t"
save = "q"
[[attempt]]
op = "map_update"
map = "q"
value = "01 02 03 04"
[[attempt]]
op = "obj_pin"
object = "q"
path = "queue"
[[attempt]]
op = "obj_get"
path = "queue"
save = "again"
[[attempt]]
op = "map_lookup"
map = "again"
[[attempt]]
op = "prog_load"
type = "xdp"
save = "p"
[[attempt]]
op = "link_create"
prog = "p"
target = "interface:dummy0"
[[attempt]]
op = "prog_load"
type = "netfilter"
save = "n"
[[attempt]]
op = "link_create"
prog = "n"
target = "netfilter:ipv4:local_out:0"
"#;
    let run = expanded(text, "6.12");
    let attempts = &run.plan.cases[0].attempts;
    assert_eq!(attempts[1].token, Token::Saved("t".into()));
    assert_eq!(
        attempts[2].call,
        Call::MapUpdate { map: "q".into(), key: vec![], value: vec![1, 2, 3, 4], parts: vec![] }
    );
    assert_eq!(attempts[5].call, Call::MapLookup { map: "again".into(), key: vec![], value_size: 4 });
    let target = LinkTarget::Interface("dummy0".into());
    assert_eq!(attempts[7].call, Call::LinkCreate { prog: "p".into(), attach_type: 37, target });
    assert!(matches!(attempts[9].call, Call::LinkCreate { attach_type: 45, .. }));
    assert_eq!(run.cases[0].attempts[1].text, "by host: map_create queue, token t");
}

#[test]
fn settings_may_be_written_with_dots_or_quotes() {
    let dotted = "summary = 'x'\n[vm.sysctl]\nkernel.unprivileged_bpf_disabled = 0\n'net.core.bpf_jit_harden' = '1'\n\
                  [[attempt]]\nop = 'btf_load'\n";
    let plan = expanded(dotted, "6.12").plan;
    let settings: Vec<(&str, &str)> = plan.sysctls.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("kernel.unprivileged_bpf_disabled", "0"), ("net.core.bpf_jit_harden", "1")]);
    assert!(problems(dotted).is_empty());
}

/// What a kernel before 6.9 knows: neither the command nor the descriptors of a token.
#[test]
fn a_kernel_before_tokens_gets_no_container_that_makes_one() {
    let old = kernel("6.12").without(&["token_create"], &["map_token_fd"]);
    let error = old.expand(FIRST).unwrap_err().to_string();
    assert!(error.contains("`container` would make a token, but 6.12 has no bpf command `token_create`"), "{error}");
    assert!(error.contains("add `kernels = \">=6.9\"`"), "{error}");
    let Ok(Expansion::Run(run)) =
        old.expand(&FIRST.replace("type = ", "token = false\ntype = ").replace("token = false\nexpect", "expect"))
    else {
        panic!()
    };
    assert!(!run.plan.cases[0].containers[0].token);
    let text = "summary = 'x'\n[[attempt]]\nop = 'token_create'\n";
    let Ok(Expansion::Run(run)) = old.expand(text) else { panic!() };
    assert_eq!(run.cases[0].attempts[0].missing.as_deref(), Some("6.12 has no bpf command `token_create`"));
}
