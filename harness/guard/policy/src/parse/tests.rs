use std::time::Instant;

use super::*;
use crate::Reload;
use crate::{
    file::{Mode, OnFailure, Otherwise, Signed, TokenNeed, Unrecorded, Userns},
    layout,
};

fn problems(text: &str) -> String {
    parse("x.guard.toml", text).unwrap_err().to_string()
}

fn read(text: &str) -> Policy {
    parse("x.guard.toml", text).unwrap_or_else(|report| panic!("{report}")).0
}

const WHOLE: &str = r#"
version = 1
revision = 12
mode = "enforce"
default = "allow"

[guard]
when_full = "deny"
on_no_reader = "deny"
patience = "2m"
count_only = ["@read", "BPF_OBJ_GET"]
on_failure = "halt"
self_protection = false
reload = "secondary"

[profiles.datapath]
cmds = ["map_create", "BPFProgLoad", "@read"]
progs = ["SCHED_CLS", { type = "xdp", attach = ["xdp"] }]
maps = { types = ["hash", "BPF_MAP_TYPE_ARRAY"], max_entries = 1_000_000, max_bytes = "256MiB" }
helpers = ["@map", "bpf_ktime_get_ns"]
kfuncs = ["bpf_cpumask_create", "bpf_cpumask_create"]
targets = "any"
max_insns = 200_000
token = "required"
token_caps = ["CAP_BPF"]
modules = true
own_maps = true
signed = "secondary"
tags = ["0123456789abcdef", "0123456789ABCDEF"]

[loaders.agent]
file = "/usr/sbin/agent"
identity = "ima"
digest = ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "sha256:0000000000000000000000000000000000000000000000000000000000000000"]

[loaders.tool]
file = "/bin/tool"
identity = "inode"

[profiles.rest]
cmds = { except = ["token_create"] }
helpers = { except = ["@interfere"] }

[[rule]]
uid = ["0", 5, "1000-1999"]
loginuid = ["unset", "1000"]
cgroup = ["/machine.slice/web", "/a"]
userns = "not-initial"
cmds = ["@map"]
profile = "datapath"
mode = "audit"

[[rule]]
cgroup = "/a"
loader = ["tool", "agent", "any"]
profile = "rest"
"#;

#[test]
fn each_key_is_read() {
    let policy = read(WHOLE);
    assert_eq!((policy.mode, policy.default), (Mode::Enforce, Otherwise::Allow));
    let Guard { when_full, on_no_reader, patience, count_only, on_failure, unprotected, reload, by_root } =
        &policy.guard;
    assert_eq!((policy.revision, *reload, by_root), (12, Reload::Secondary, &None));
    assert_eq!(unprotected.clone().map(|span| &WHOLE[span]), Some("false"));
    assert_eq!((*when_full, *on_no_reader, *on_failure), (Unrecorded::Deny, Unrecorded::Deny, OnFailure::Halt));
    assert_eq!(
        (*patience, count_only.contains(7), count_only.contains(1), count_only.contains(5)),
        (Duration::from_secs(120), true, true, false)
    );
    let [datapath, rest] = &policy.profiles[..] else { panic!() };
    assert_eq!(
        (datapath.name.as_str(), datapath.max_entries, datapath.max_bytes),
        ("datapath", Some(1_000_000), Some(256 << 20))
    );
    assert!(
        datapath.cmds.contains(0)
            && datapath.cmds.contains(5)
            && datapath.cmds.contains(1)
            && !datapath.cmds.contains(2)
    );
    assert_eq!((datapath.progs, datapath.maps), (Bits::of([3, 6]), Bits::of([1, 2])));
    assert_eq!((datapath.attach[3], datapath.attach[6], datapath.attach[7]), (Bits::ALL, Bits::of([37]), Bits::NONE));
    assert_eq!((&datapath.kfuncs, &datapath.targets), (&Some(vec!["bpf_cpumask_create".to_owned()]), &None));
    assert_eq!(
        (datapath.max_insns, datapath.token, datapath.token_caps),
        (Some(200_000), TokenNeed::Required, Bits::of([39]))
    );
    let tag = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    assert_eq!((datapath.signed, datapath.tags.as_deref()), (Signed::Secondary, Some(&[tag, tag][..])));
    assert_eq!((rest.signed, &rest.tags), (Signed::No, &None));
    assert!(datapath.modules && datapath.own_maps && datapath.helpers.contains(5) && !datapath.helpers.contains(6));
    assert!(
        rest.cmds.contains(63) && !rest.cmds.contains(36) && !rest.helpers.contains(36) && rest.helpers.contains(255)
    );
    assert_eq!((rest.progs, rest.max_insns, &rest.targets), (Bits::NONE, None, &Some(Vec::new())));
    let [first, second] = &policy.rules[..] else { panic!() };
    assert_eq!(first.uid, [(0, 0), (5, 5), (1000, 1999)]);
    assert_eq!(
        (&first.loginuid[..], first.userns, first.mode),
        (&[(u32::MAX, u32::MAX), (1000, 1000)][..], Some(Userns::NotInitial), Some(Mode::Audit))
    );
    assert_eq!((&first.cgroups[..], &second.cgroups[..], first.entries()), (&[0, 1][..], &[1][..], 12));
    assert_eq!((first.action, second.action, second.number), (Action::Profile(0), Action::Profile(1), 2));
    assert_eq!(&WHOLE[first.span.clone()], "[[rule]]");

    let compiled = policy.compile();
    assert_eq!((compiled.rules.len(), compiled.settings.rules), (15, 15));
    assert_eq!(compiled.rules[12].cgroup, 2);
    assert_eq!(compiled.rules[11..].iter().map(|rule| rule.loader).collect::<Vec<_>>(), [0, 1, 2, layout::ANY_LOADER]);
    let agent = &compiled.loaders[0];
    assert_eq!((agent.identity, agent.length, &agent.name[..6]), (layout::IDENTITY_IMA, 5, &b"agent\0"[..]));
    let known = compiled.identities.iter().map(|(key, loader)| (key.set, key.value[1], *loader));
    assert_eq!(known.collect::<Vec<_>>(), [(layout::SET_IMA, 0x23, 1), (layout::SET_IMA, 0, 1)]);
    assert_eq!(compiled.files, [("/bin/tool".to_owned(), 2)]);
    let web = &compiled.cgroups[0];
    assert_eq!((web.depth, web.length, &web.name[1][..4]), (2, [13, 3, 0, 0], &b"web\0"[..]));
    let settings = layout::Settings {
        abi: layout::ABI,
        rules: 15,
        loaders: 2,
        enforce: 1,
        default_allow: 1,
        when_full_deny: 1,
        no_reader_deny: 1,
        self_protection: 0,
        reload: layout::RELOAD_SECONDARY,
        revision: 12,
        patience_ns: 120_000_000_000,
        count_only: policy.guard.count_only.word(),
        ..layout::Settings::default()
    };
    assert_eq!(compiled.settings, settings);
    assert_eq!((compiled.kfuncs.len(), compiled.targets.len(), compiled.profiles[0].any_target), (1, 0, 1));
    let signatures = [0, 1].map(|index| (compiled.profiles[index].signature, compiled.profiles[index].only_tags));
    assert_eq!(signatures, [(layout::SIGNED_SECONDARY, 1), (layout::SIGNED_NO, 0)]);
    assert_eq!(compiled.tags, [layout::SetKey::of_tag(0, tag); 2]);
    assert_eq!((compiled.profiles[1].max_bytes, compiled.profiles[1].max_insns), (u64::MAX, u32::MAX));
}

#[test]
fn what_is_missing_has_its_default() {
    let policy = read("version = 1\n");
    assert_eq!((policy.mode, policy.default), (Mode::Audit, Otherwise::Deny));
    assert_eq!((policy.guard.patience, policy.guard.on_failure), (Duration::from_secs(10), OnFailure::Warn));
    assert!(policy.guard.count_only.contains(1) && !policy.guard.count_only.contains(14));
    assert!(!policy.compile().uses_loginuid);
    assert_eq!(policy.compile().settings.self_protection, 1);
    let by_other_key = read("version = 1\n[guard]\npatience = '9s'\n");
    assert_eq!(by_other_key.compile().settings.self_protection, 1);
}

#[test]
fn everything_that_is_wrong_is_reported_with_a_suggestion() {
    let text = r#"
version = 2
mode = "enforced"
loader = "x"
[guard]
patience = "0s"
count_only = ["@reads"]
[profiles."a b"]
cmds = ["prog_lod", "hash"]
progs = [{ type = "xpd", attach = ["xdp", "ingress"] }, { attach = [] }, 7]
maps = { types = "hashs", max_bytes = "1 MB" }
helpers = { except = ["@maps", "probe_write_usr"] }
kfuncs = ["a-b"]
targets = "none"
max_insns = -1
token = true
token_caps = ["CAP_ROOT"]
signed = "yes"
tags = ["0123456789abcdef", "0123456789abcde", "0123456789abcdeg", "+123456789abcdef"]
[loaders.any]
file = "bin/x"
identity = "fs-verity"
[loaders.x]
file = "/"
identity = "ima"
digest = "sha256:00"
[loaders.y]
file = "/y"
identity = "inode"
digest = "sha512:00"
[[rule]]
loader = ["z", "x"]
uid = ["5-1", "x", "4294967296"]
loginuid = "-1"
cgroup = ["machine.slice", "/", "/a/", "/a/../b", "/a/b/c/d/e"]
profile = "a"
[[rule]]
allow = true
deny = true
[[rule]]
allow = false
[[rule]]
uid = 0
"#;
    insta::assert_snapshot!(problems(text));
}

#[test]
fn a_wrong_part_makes_no_further_problems() {
    insta::assert_snapshot!(problems(
        "version = 1\n[profiles]\np = 7\n[[rule]]\nprofile = 'p'\n[[rule]]\nprofil = 'p'\n"
    ));
    insta::assert_snapshot!(problems("mode = 'audit'\n"));
}

#[test]
fn a_rule_names_loaders_of_the_policy() {
    let of = |name: &str| {
        problems(&format!(
            "version = 1\n[loaders.agent]\nfile = '/a'\nidentity = 'inode'\n[[rule]]\nloader = '{name}'\nallow = true\n"
        ))
    };
    assert_eq!(of("agnt"), "x.guard.toml:6:10: there is no loader `agnt` (did you mean `agent`?)");
    let none = problems("version = 1\n[[rule]]\nloader = 'any'\nallow = true\n");
    assert_eq!(none, "x.guard.toml:3:10: there is no loader `any` (the policy has no `[loaders.NAME]`)");
}

#[test]
fn the_example_in_the_documentation_is_a_policy() {
    let page = include_str!("../../../../../docs/guard-policy.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (policy, problems) = parse("guard-policy.md", example).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((policy.rules.len(), policy.profiles.len(), problems.len()), (3, 2, 0), "{problems:?}");
}

/// Each of these must end in a clear error at once: the time here is for unoptimised code on a busy machine.
fn quickly(text: &str) -> String {
    let start = Instant::now();
    let problems = problems(text);
    assert!(start.elapsed().as_millis() < 5000, "{:?}", start.elapsed());
    problems.lines().next().unwrap().to_owned()
}

#[test]
fn a_large_file_is_refused() {
    let large = format!("version = 1\n{}", "# a comment\n".repeat(900_000));
    assert!(large.len() > 10_000_000);
    let message = "x.guard.toml:1:1: the file has more than 1048576 bytes, the limit for a policy \
                   (a policy has at most 256 rules and 64 profiles)";
    assert_eq!(quickly(&large), message);
}

#[test]
fn many_rules_are_refused() {
    let rules = format!("version = 1\n{}", "[[rule]]\nallow = true\n".repeat(10_000));
    assert_eq!(quickly(&rules), "x.guard.toml:2:1: 10000 entries, more than the limit of 256");
    let most = |count| format!("version = 1\n{}", "[[rule]]\nallow = true\n".repeat(count));
    assert_eq!(read(&most(256)).rules.len(), 256);
    assert!(problems(&most(257)).contains("257 entries, more than the limit of 256"));
    let profiles =
        |count| format!("version = 1\n{}", (0..count).map(|n| format!("[profiles.p{n}]\n")).collect::<String>());
    assert_eq!(read(&profiles(64)).profiles.len(), 64);
    assert!(problems(&profiles(65)).contains("65 entries, more than the limit of 64"));
    let loader = |n| format!("[loaders.l{n}]\nfile = '/{n}'\nidentity = 'inode'\n");
    let loaders = |count| format!("version = 1\n{}", (0..count).map(loader).collect::<String>());
    assert_eq!(read(&loaders(32)).loaders.len(), 32);
    assert!(problems(&loaders(33)).contains("33 entries, more than the limit of 32"));
}

#[test]
fn expanded_rules_and_cgroups_are_limited() {
    let ids = |count| (0..count).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    let text = |uids, logins| {
        format!("version = 1\n[[rule]]\nuid = [{}]\nloginuid = [{}]\nallow = true\n", ids(uids), ids(logins))
    };
    assert_eq!(read(&text(256, 2)).compile().rules.len(), 512);
    assert!(problems(&text(257, 2)).contains("the rules make 514 entries, more than the limit of 512"));
    assert!(quickly(&text(512, 512)).contains("262144 entries"));
    let cgroups = |count| {
        let paths: Vec<String> = (0..count).map(|n| format!("'/g{n}'")).collect();
        format!("version = 1\n[[rule]]\ncgroup = [{}]\nallow = true\n", paths.join(", "))
    };
    assert_eq!(read(&cgroups(64)).compile().cgroups.len(), 64);
    assert!(problems(&cgroups(65)).contains("65 cgroups, more than the limit of 64"));
    let named = |length| format!("version = 1\n[[rule]]\ncgroup = '/{}'\nallow = true\n", "x".repeat(length));
    assert_eq!(read(&named(63)).cgroups.len(), 1);
    assert!(problems(&named(64)).contains("more than 63 bytes"));
}

#[test]
fn many_unknown_names_are_refused_quickly() {
    let lists: String = (0..64)
        .map(|n| {
            format!("[profiles.p{n}]\nhelpers = [{}]\n", (0..500).map(|m| format!("\"q{m}x{n}\",")).collect::<String>())
        })
        .collect();
    assert!(quickly(&format!("version = 1\n{lists}")).contains("is not a helper"));
    let list = format!("version = 1\n[profiles.p]\nhelpers = [{}]\n", "\"zz\",".repeat(150_000));
    assert_eq!(quickly(&list), "x.guard.toml:3:11: 150000 entries, more than the limit of 512");
}

#[test]
fn random_bytes_are_refused() {
    let mut state: u64 = 17;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    for length in [0, 1, 100, 10_000, 400_000] {
        let bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length).collect();
        let text = String::from_utf8_lossy(&bytes);
        let start = Instant::now();
        assert!(parse("x", &text).is_err(), "{length}");
        assert!(start.elapsed().as_millis() < 5000, "{length}: {:?}", start.elapsed());
    }
}

#[test]
fn a_profile_without_token_caps_takes_no_capability_from_a_token() {
    let text = "version = 1\n[profiles.a]\n[[rule]]\nprofile = 'a'\n";
    let (policy, _) = parse("a.guard.toml", text).unwrap();
    assert_eq!(policy.profiles[0].token_caps, Bits::ALL);
}
