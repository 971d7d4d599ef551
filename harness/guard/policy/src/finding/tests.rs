use super::*;
use crate::parse;

fn read(text: &str) -> Policy {
    parse("x.guard.toml", text).unwrap_or_else(|report| panic!("{report}")).0
}

fn found(text: &str) -> Vec<(&'static str, String)> {
    let text = format!("version = 1\n{text}");
    findings(&read(&text)).into_iter().map(|finding| (finding.kind.id(), text[finding.span].to_owned())).collect()
}

/// The numbers of the rules that are never reached.
fn never(rules: &[&str]) -> Vec<u16> {
    let text: String = rules.iter().map(|rule| format!("[[rule]]\ndeny = true\n{rule}\n")).collect();
    let policy = read(&format!("version = 1\n{text}"));
    policy.rules.iter().filter(|rule| never_reached(&policy, rule).is_some()).map(|rule| rule.number).collect()
}

#[test]
fn a_rule_is_never_reached_if_one_before_it_takes_all_its_calls() {
    assert_eq!(never(&["", "uid = 0"]), [2]);
    assert_eq!(never(&["uid = 0", ""]), [] as [u16; 0]);
    assert_eq!(never(&["uid = '5-9'", "uid = '5-9'", "uid = '6-9'", "uid = '5-10'", "uid = '4-9'"]), [2, 3]);
    // Adjacent ranges make one, with or without overlap, in any order.
    assert_eq!(never(&["uid = ['8-20', '0-7']", "uid = '3-12'", "uid = ['0-2', '19-20']", "uid = '20-21'"]), [2, 3]);
    assert_eq!(never(&["uid = ['0-6', '8-20']", "uid = '3-12'"]), [] as [u16; 0]);
    assert_eq!(never(&["uid = '0-4294967295'", ""]), [2]);
    assert_eq!(never(&["loginuid = 'unset'", "loginuid = '4294967295'", "loginuid = '4294967294'"]), [2]);
    assert_eq!(never(&["cmds = ['map_create', 'prog_load']", "cmds = 'map_create'", "cmds = '@map'"]), [2]);
    assert_eq!(never(&["userns = 'initial'", "userns = 'initial'", "userns = 'not-initial'", ""]), [2]);
    assert_eq!(never(&["", "userns = 'not-initial'"]), [2]);
    let cgroups = ["cgroup = '/a/b'", "cgroup = ['/a/b/c', '/a/b']", "cgroup = '/a/bc'", "cgroup = '/a'", ""];
    assert_eq!(never(&cgroups), [2]);
    // Each condition counts.
    assert_eq!(
        never(&["uid = 0\ncmds = 'map_create'", "uid = 0", "uid = 0\ncmds = 'map_create'\nuserns = 'initial'"]),
        [3]
    );
    // Two rules that only together take all its calls.
    assert_eq!(never(&["userns = 'initial'", "userns = 'not-initial'", ""]), [] as [u16; 0]);
}

#[test]
fn what_has_no_effect_or_gets_past_the_guard_is_found() {
    let text = "[guard]\nself_protection = false\nreload = 'root'\n[profiles.open]\nprogs = 'any'\nhelpers = 'any'\ntargets = 'any'\nmodules = true\n\
                [profiles.idle]\n[[rule]]\nprofile = 'open'\n[[rule]]\nuid = 0\nallow = true\n";
    let expected = [
        ("unprotected-guard", "false"),
        ("reload-by-root", "'root'"),
        ("rule-never-reached", "[[rule]]"),
        ("allows-everything", "[[rule]]"),
        ("unused-profile", "[profiles.idle]"),
        ("allows-lsm-programs", "'any'"),
        ("allows-interference", "'any'"),
        ("allows-any-target", "'any'"),
        ("allows-modules", "true"),
    ];
    assert_eq!(found(text), expected.map(|(id, text)| (id, text.to_owned())));
    let careful = "[profiles.p]\nprogs = { except = ['lsm'] }\nhelpers = { except = ['@interfere'] }\n\
                   targets = ['do_unlinkat']\n[[rule]]\nprofile = 'p'\n[[rule]]\ncmds = '@read'\nallow = true\n";
    assert_eq!(found(careful), [("rule-never-reached", "[[rule]]".to_owned())]);
    // Without programs there is nothing to call helpers from.
    assert_eq!(found("[profiles.p]\nhelpers = 'any'\ntargets = 'any'\nmodules = true\n[[rule]]\nprofile = 'p'\n"), []);
    // One helper, one type.
    let one =
        "[profiles.p]\nprogs = ['ext']\nhelpers = ['override_return']\ntargets = 'any'\n[[rule]]\nprofile = 'p'\n";
    let messages: Vec<String> =
        findings(&read(&format!("version = 1\n{one}"))).into_iter().map(|finding| finding.message).collect();
    insta::assert_snapshot!(messages.join("\n"), @"
    profile `p` allows the helpers `override_return`
    profile `p` allows programs of type `ext` at any function
    ");
}

#[test]
fn rules_of_loaders_are_reached_unless_a_rule_before_takes_them() {
    let loaders = "[loaders.a]\nfile = '/a'\nidentity = 'inode'\n[loaders.b]\nfile = '/b'\nidentity = 'inode'\n";
    let never = |rules: &[&str]| {
        let rules: String = rules.iter().map(|rule| format!("[[rule]]\ndeny = true\n{rule}\n")).collect();
        let found = found(&format!("{loaders}{rules}"));
        found.iter().filter(|(kind, _)| *kind == "rule-never-reached").count()
    };
    assert_eq!(never(&["loader = 'a'", "loader = 'b'", "loader = 'any'", ""]), 0);
    assert_eq!(never(&["loader = 'any'", "loader = 'b'", "loader = ['a', 'b']"]), 2);
    assert_eq!(never(&["loader = ['a', 'b']", "loader = 'b'", "loader = 'any'"]), 1);
    assert_eq!(never(&["", "loader = 'b'"]), 1);
    let by_inode = ("identity-by-inode", "'inode'".to_owned());
    assert_eq!(found(loaders), [by_inode.clone(), by_inode]);
}

#[test]
fn a_policy_comes_with_its_findings_except_notes() {
    let (_, problems) = parse("x", "version = 1\n[profiles.p]\n[[rule]]\nuid = 0\nallow = true\n").unwrap();
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message()).collect();
    assert_eq!(messages, ["no rule refers to profile `p`"]);
}

#[test]
fn names_that_a_kernel_lacks_are_noted() {
    let vocabulary: Vocabulary =
        serde_json::from_str(include_str!("../../../../../kernels/vocabulary/6.12.json")).unwrap();
    let text = "version = 1\n[profiles.p]\ncmds = ['map_create', 'prog_stream_read_by_fd', '@read']\n\
                maps.types = ['hash', 'insn_array']\nprogs = [{ type = 'tracing', attach = ['trace_fsession'] }]\n\
                helpers = ['map_lookup_elem']\ntoken_caps = ['bpf']\n";
    let spans: Vec<&str> =
        not_on_kernel(&read(text), &vocabulary).into_iter().map(|finding| &text[finding.span]).collect();
    assert_eq!(spans, ["'prog_stream_read_by_fd'", "'insn_array'", "'trace_fsession'"]);
}
