//! From the text of a scenario to the plan for a kernel, with the names of the committed kernels.

mod common;

use harness_planner::expand::Expansion;
use harness_protocol::plan::{Actor, Body, BpffsFd, Call, LinkTarget, MapTypes, Namespace, ObjectKind, Token};
use harness_scenario::{expect::Expect, spec::Isolation};

use common::{expanded, kernel, problems};

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
fn a_scenario_becomes_a_plan() {
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
    assert_eq!(reason, "kernel 7.3 is 7.3, but the scenario is for >=6.9, <7.0");
}

#[test]
fn a_name_of_another_kernel_is_attempted_and_marked_as_missing() {
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
    assert_eq!(old[0].as_deref(), Some("this kernel has no map type `insn_array`"));
    assert_eq!(old[1].as_deref(), Some("this kernel has no `fd_by_id_token_fd` in union bpf_attr"));
    assert_eq!(old[2], None);
    assert_eq!(old[3].as_deref(), Some("this kernel has no struct bpf_token_info"));
    assert_eq!(missing("7.3"), [None, None, None, None]);
    let call = &expanded(text, "6.12").plan.cases[0].attempts[0].call;
    assert!(matches!(call, Call::MapCreate { map_type: 34, .. }), "{call:?}");
}

#[test]
fn a_delegated_name_the_kernel_lacks_cannot_be_set_up() {
    let text = "summary = 'x'\n[delegate]\nmaps = ['insn_array']\n[[attempt]]\nop = 'map_create'\ntype = 'hash'\n";
    let error = kernel("6.12").expand(text).unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"x.toml:3:9: 6.12 has no map type `insn_array`, so its bpffs cannot delegate it (add `kernels = ">6.12"`, or the first release that has it)"#);
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
fn parents_come_before_their_children() {
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
    assert_eq!(case.attempts[0].call, Call::TokenCreate { from, fd: BpffsFd::OPath, flags: 0 });
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

/// A kernel before 6.9 has neither the command nor the fields for a token.
#[test]
fn a_kernel_before_tokens_gets_the_attempts_that_need_none() {
    let old = kernel("6.12").without(&["token_create"], &["map_token_fd"]);
    let text = format!("{FIRST}\n[[attempt]]\nop = 'map_create'\ntype = 'hash'\ntoken = false\n");
    let Ok(Expansion::Run(run)) = old.expand(&text) else { panic!() };
    let container = &run.plan.cases[0].containers[0];
    assert!(!container.token && container.options.is_empty());
    let missing: Vec<bool> = run.cases[0].attempts.iter().map(|attempt| attempt.missing.is_some()).collect();
    let with_token: Vec<bool> =
        run.plan.cases[0].attempts.iter().map(|a| a.token != harness_protocol::plan::Token::None).collect();
    assert!(missing == with_token && missing.contains(&true) && missing.last() == Some(&false), "{missing:?}");
    let error = old.expand("summary = 'x'\n[sweep]\nof = 'map_types'\narms = ['granted']\n").unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"x.toml:2:1: a sweep needs tokens, which this kernel does not have (add `kernels = ">=6.9"`: 6.9 was the first release with tokens)"#);
    let text = "summary = 'x'\n[[attempt]]\nop = 'token_create'\n";
    let Ok(Expansion::Run(run)) = old.expand(text) else { panic!() };
    assert_eq!(run.cases[0].attempts[0].missing.as_deref(), Some("this kernel has no bpf command `token_create`"));
}

/// One attempt of each operation, with objects that others saved.
const EVERYTHING: &str = r#"
summary = "x"
delegate = { cmds = ["any"], maps = ["any"], progs = ["any"], attachs = ["any"] }
container = { namespaces = ["net"] }
attempt = [
    { op = "btf_load", save = "btf" },
    { op = "map_create", type = "task_storage", btf = "btf", btf_value = 2 },
    { op = "map_create", type = "struct_ops", btf = "btf", save = "ops" },
    { op = "map_create", type = "hash", max_entries = 16, save = "h" },
    { op = "map_create", type = "sockmap", save = "s" },
    { op = "map_create", type = "prog_array", save = "pa" },
    { op = "prog_load", type = "socket_filter", instructions = ["b7000000 02000000", "9500000000000000"], save = "f" },
    { op = "map_update", map = "pa", holds = "f" },
    { op = "map_delete", map = "h" },
    { op = "map_next_key", map = "h", key = "01 00 00 00" },
    { op = "map_lookup_and_delete", map = "h" },
    { op = "map_batch", batch = "lookup_and_delete", map = "h", count = 4 },
    { op = "map_freeze", map = "h" },
    { op = "prog_load", type = "tracing", attach = "trace_iter", target = "func:bpf_iter_bpf_map_elem", save = "i" },
    { op = "link_create", prog = "i", target = "elements:h", save = "il" },
    { op = "iter_create", link = "il" },
    { op = "link_update", link = "il", prog = "i" },
    { op = "link_detach", link = "il" },
    { op = "prog_load", type = "sk_msg", save = "m" },
    { op = "prog_attach", prog = "m", target = "map:s" },
    { op = "prog_detach", prog = "m", target = "map:s" },
    { op = "prog_query", attach = "tcx_ingress", target = "interface:dummy0" },
    { op = "prog_load", type = "xdp", btf = "btf", functions = [2], maps = ["h"], save = "p" },
    { op = "prog_load", type = "ext", replaces = "p", btf = "btf" },
    { op = "prog_load", type = "struct_ops", target = "member:tcp_congestion_ops.ssthresh" },
    { op = "prog_load", type = "kprobe", attach = "trace_kprobe_multi", save = "k" },
    { op = "link_create", prog = "k", target = "kprobe:bpf_fentry_test1" },
    { op = "link_create", prog = "ops", target = "struct-ops" },
    { op = "prog_bind_map", prog = "p", map = "h" },
    { op = "prog_stream_read", prog = "p" },
    { op = "prog_assoc_struct_ops", prog = "p", map = "ops" },
    { op = "prog_load", type = "raw_tracepoint", save = "r" },
    { op = "raw_tracepoint_open", prog = "r", name = "sys_enter", save = "rl" },
    { op = "task_fd_query", object = "rl" },
    { op = "fd_by_id", object = "il" },
    { op = "obj_info", object = "btf" },
    { op = "next_id", kind = "link" },
    { op = "enable_stats" },
]
"#;

#[test]
fn every_operation_becomes_a_call_with_saved_objects() {
    let run = expanded(EVERYTHING, "6.12");
    let calls: Vec<&Call> = run.plan.cases[0].attempts.iter().map(|attempt| &attempt.call).collect();
    assert_eq!(calls.len(), 38);
    assert!(calls.iter().zip(&run.cases[0].attempts).all(|(call, described)| call.op() == described.op));
    let of = |op: &str| calls.iter().rev().find(|call| call.op() == op).unwrap();
    let types = MapTypes::Saved { btf: "btf".into(), key: 1, value: 2 };
    assert!(matches!(calls[1], Call::MapCreate { types: found, .. } if *found == types));
    assert!(
        matches!(calls[6], Call::ProgLoad { body: Body::Instructions(body), .. } if *body == [0x2_0000_00b7, 0x95])
    );
    assert_eq!(calls[7].objects(), ["pa", "f"]);
    assert_eq!(calls[22].objects(), ["btf", "h"]);
    assert_eq!(calls[23].objects(), ["p", "btf"]);
    assert_eq!(of("prog_detach").objects(), ["m", "s"]);
    assert_eq!(of("fd_by_id"), &&Call::FdById { kind: ObjectKind::Link, object: "il".into() });
    let kprobe = LinkTarget::Kprobes(vec!["bpf_fentry_test1".into()]);
    assert_eq!(calls[26], &Call::LinkCreate { prog: "k".into(), attach_type: 42, target: kprobe });
    assert_eq!(calls[27], &Call::LinkCreate { prog: "ops".into(), attach_type: 44, target: LinkTarget::StructOps });
    assert_eq!(of("prog_query").target(), Some(&LinkTarget::Interface("dummy0".into())));
}

#[test]
fn commands_newer_than_the_kernel_are_marked_as_missing() {
    let missing = |kernel: &str| -> Vec<&'static str> {
        let run = expanded(EVERYTHING, kernel);
        run.cases[0].attempts.iter().filter(|attempt| attempt.missing.is_some()).map(|attempt| attempt.op).collect()
    };
    assert_eq!(missing("6.12"), ["prog_stream_read", "prog_assoc_struct_ops"]);
    assert!(missing("7.3").is_empty());
}

#[test]
fn a_scenario_is_skipped_without_an_option_that_it_requires() {
    let text = "summary = 's'\nconfig = ['CONFIG_A', 'CONFIG_B']\n[[attempt]]\nop = 'btf_load'\n";
    let on = |config: &str| kernel("7.3").configured(config).expand(text).unwrap();
    assert!(matches!(on("CONFIG_A=y\nCONFIG_B=m\n"), Expansion::Run(_)));
    let Expansion::Skipped { reason } = on("CONFIG_A=y\n") else { panic!() };
    assert_eq!(reason, "kernel 7.3 is built without CONFIG_B, which the scenario requires");
}

#[test]
fn a_type_without_its_option_is_marked_as_missing() {
    let text = "summary = 's'\n[[attempt]]\nop = 'prog_load'\ntype = 'lirc_mode2'\n";
    let Ok(Expansion::Run(run)) = kernel("7.3").configured("").expand(text) else { panic!() };
    let missing = run.cases[0].attempts[0].missing.as_deref();
    assert_eq!(missing, Some("this kernel is built without CONFIG_BPF_LIRC_MODE2"));
}

#[test]
fn a_program_can_be_made_longer_by_instructions_that_are_never_executed() {
    let text = |keys: &str| {
        let load = "summary = 'x'\n[[attempt]]\nop = 'prog_load'\ntype = 'xdp'\n";
        format!("{load}{keys}\n")
    };
    let planned = expanded(&text("length = 9\ninstructions = ['b700000002000000 9500000000000000']"), "6.12");
    let Call::ProgLoad { body: Body::Padded { length: 9, instructions }, .. } = &planned.plan.cases[0].attempts[0].call
    else {
        panic!("{planned:?}")
    };
    assert_eq!(*instructions, [0x2_0000_00b7, 0x95]);
    insta::assert_snapshot!(planned.cases[0].attempts[0].text, @"prog_load xdp length=9 instructions=b7000000020000009500000000000000");
    let complaints = |keys: &str| problems(&text(keys)).join("\n");
    insta::assert_snapshot!(complaints("length = 9"), @"5:10: `length` needs `instructions`, which end the program");
    insta::assert_snapshot!(complaints("length = 1\ninstructions = ['b700000002000000 9500000000000000']"), @"5:10: the program has 2 instructions already");
}

#[test]
fn a_signature_covers_the_instructions_and_the_contents_of_maps() {
    let text = |signature: &str| {
        format!(
            "summary = \"s\"\n[[attempt]]\nop = \"map_create\"\ntype = \"array\"\nexclusive = [\"b700000000000000\"]\n\
             [[attempt]]\nop = \"prog_load\"\ntype = \"xdp\"\ninstructions = [\"95000000 00000000\"]\nsignature = {signature}\n"
        )
    };
    let signature = |written: &str| {
        let planned = expanded(&text(written), "7.3").plan;
        let [map, prog] = &planned.cases[0].attempts[..] else { panic!("two attempts") };
        assert!(
            matches!(&map.call, Call::MapCreate { exclusive: Some(sum), .. } if sum[..2] == [0xf5, 0xf3]),
            "{map:?}"
        );
        let Call::ProgLoad { signature: Some(signature), .. } = &prog.call else { panic!("{prog:?}") };
        signature.clone()
    };
    let own = signature("{}");
    assert_eq!(
        (own.signed.as_slice(), own.key.name(), own.keyring.name()),
        (&[0x95, 0, 0, 0, 0, 0, 0, 0][..], "own", "session")
    );
    let other = signature(
        "{ key = \"builtin\", keyring = \"secondary\", instructions = [\"9500000001000000\"], contents = \"2a 2b\" }",
    );
    assert_eq!(other.signed, [0x95, 0, 0, 0, 1, 0, 0, 0, 0x2a, 0x2b]);
    assert!(other.file.starts_with("builtin-") && other.file != own.file, "{}", other.file);
    assert_eq!(other.files().count(), 1, "the kernel has the key");
    assert_eq!(own.files().collect::<Vec<_>>(), [own.file.as_str(), "own.x509"]);
    let complaints = |keys: &str| {
        let load = "summary = 'x'\n[[attempt]]\nop = 'prog_load'\ntype = 'xdp'\n";
        problems(&format!("{load}{keys}\n")).join("\n")
    };
    insta::assert_snapshot!(complaints("signature = {}"), @"5:13: `signature` needs `instructions`, and cannot be combined with `length`");
    insta::assert_snapshot!(complaints("instructions = ['9500000000000000']\nsignature = { contents = '2' }"), @r#"6:26: expected hexadecimal bytes (write pairs of hexadecimal digits, for example "01 00 00 00")"#);
}
