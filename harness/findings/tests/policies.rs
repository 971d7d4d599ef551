//! Policies of the guard: their findings, the objects that they refuse, and the profiles that objects need.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use std::{fs, path::Path, process::Command};

use guard_policy::{Caller, layout::Verdict};
use harness_findings::{
    code::Level,
    guard::{self, KnownFunctions},
    report::{self, ConfigurationReport},
};
use harness_frontend::Sources;
use harness_objects::Object;

/// Compiles an object of the tests of `harness-objects`.
fn object(source: &str) -> Object {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects/tests/sources");
    compiled(&folder.join(source).with_extension("bpf.c"))
}

fn compiled(source: &Path) -> Object {
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-c", "-o", "-"]).arg(source);
    let output = clang.output().expect("clang starts; `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    harness_objects::read(&output.stdout).unwrap()
}

const SOURCES: [&str; 8] = ["calls", "cgroup", "data", "legacy", "maps", "network", "operations", "tracing"];

fn checked(text: &str, objects: &[(String, Object)]) -> ConfigurationReport {
    let sources = Sources::of("web.guard.toml", text.as_bytes()).unwrap();
    let kernels = [kernels::kernel("6.12"), kernels::kernel("7.3")];
    let findings = guard::check(&sources, &kernels, objects).unwrap_or_else(|report| panic!("{report}"));
    ConfigurationReport { sources, configuration: None, findings, kernels: Vec::new(), tried_unit: None }
}

const POLICY: &str = "version = 1\n[profiles.p]\nprogs = ['lsm']\n[[rule]]\nprofile = 'p'\n[[rule]]\ndeny = true\n";

#[test]
fn a_policy_is_reported_in_every_format() {
    let report = checked(POLICY, &[]);
    assert!(!report.is_refused());
    let document: serde_json::Value =
        serde_json::from_str(&report::document(std::slice::from_ref(&report)).unwrap()).unwrap();
    let one = &document["configurations"][0];
    assert_eq!((one["name"].as_str(), one["front_end"].as_str()), (Some("web.guard.toml"), Some("guard-policy")));
    assert_eq!((&one["findings"][0]["place"]["line"], &one["kernels"]), (&3.into(), &serde_json::json!({})));
    let schema = serde_json::to_value(report::schema()).unwrap();
    assert!(jsonschema::is_valid(&schema, &document));
    let sarif = report::log(std::slice::from_ref(&report), "1").unwrap();
    assert!(sarif.contains("\"ruleId\": \"rule-never-reached\"") && sarif.contains("web.guard.toml"));
    assert!(report::annotations(&report).contains("title=allows-lsm-programs::"));
}

#[test]
fn a_comment_suppresses_a_finding() {
    let allow =
        "version = 1\n# bpf-token: allow allows-everything the administrator\n[[rule]]\nuid = 0\nallow = true\n";
    assert_eq!(checked(allow, &[]).findings, []);
    let wrong = allow.replace("allows-everything the", "unused-profile the") + "# bpf-token: allow\n";
    let codes: Vec<&str> = checked(&wrong, &[]).findings.iter().map(|one| one.code.id()).collect();
    assert_eq!(codes, ["allows-everything", "useless-allowance", "useless-allowance"]);
}

#[test]
fn only_a_refusal_of_root_is_an_error() {
    let object = [("x.bpf.o".to_owned(), object("maps"))];
    let levels = |text: &str| {
        let text = format!("version = 1\n{text}");
        let report = checked(&text, &object);
        let mut levels: Vec<Level> =
            report.findings.iter().filter(|one| one.code.id() == "guard-refuses-object").map(|one| one.level).collect();
        levels.dedup();
        levels
    };
    assert_eq!(levels("mode = 'enforce'\n[[rule]]\nuid = 1\nallow = true\n"), [Level::Error]);
    assert_eq!(levels("mode = 'audit'\n[[rule]]\nuid = 1\nallow = true\n"), [Level::Warning]);
    assert_eq!(levels("mode = 'enforce'\n[[rule]]\nuid = 1\ndeny = true\n[[rule]]\nallow = true\n"), [Level::Note]);
    assert_eq!(levels("mode = 'enforce'\n[[rule]]\nallow = true\n"), []);
}

#[test]
fn a_policy_is_recognized_by_name_or_keys() {
    let is = |label: &str, text: &str| guard::is_policy(Sources::of(label, text.as_bytes()).unwrap().get(0));
    assert!(is("a.guard.toml", "") && is("a.toml", "version = 1\n[[rule]]\n") && is("-", "version=1\n[profiles.a]\n"));
    assert!(!is("a.service", "[Service]\n") && !is("a.toml", "version = 1\n") && !is("a.toml", "[[rule]]\n"));
}

/// Whether the guard allows every call that loads and attaches an object.
fn refused(policy: &str, object: &Object, release: &str) -> Vec<String> {
    let policy = policy.replace("# [[rule]]", "[[rule]]").replace("# uid", "uid").replace("# profile", "profile");
    let (policy, _) = guard_policy::parse("x", &policy).unwrap_or_else(|report| panic!("{report}\n{policy}"));
    let compiled = policy.compile();
    let caller = Caller { uid: 1000, loginuid: u32::MAX, initial_userns: true, ..Caller::default() };
    let mut functions = KnownFunctions::default();
    let calls = guard::calls(object, release.parse().unwrap(), &mut functions);
    assert!(!calls.is_empty());
    let refused = calls.iter().filter_map(|call| {
        let decision = guard_policy::decide(&compiled, functions.names(), &caller, &call.event);
        (decision.verdict != Verdict::Allowed).then(|| format!("{}: {decision:?}", call.by))
    });
    refused.collect()
}

/// The objects of the tests of `harness-objects`, and those that scenarios load.
fn all_objects() -> Vec<(String, Object)> {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/objects/src");
    let mut paths: Vec<_> = fs::read_dir(scenarios).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".bpf.c"));
    paths.sort();
    let own = SOURCES.map(|source| (format!("{source}.bpf.o"), object(source)));
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned() + ".o";
    own.into_iter().chain(paths.iter().map(|path| (name(path), compiled(path)))).collect()
}

#[test]
fn an_object_loads_under_the_profile_that_it_needs_and_under_no_less() {
    let objects = all_objects();
    assert!(objects.len() > SOURCES.len() + 10);
    let releases = ["6.12", "7.3"].map(|release| release.parse().unwrap());
    for one in &objects {
        let (name, object) = one;
        let profile = guard::profile(std::slice::from_ref(one), &releases);
        for release in ["6.12", "7.3"] {
            assert_eq!(refused(&profile, object, release), [] as [String; 0], "{name}\n{profile}");
        }
        // Without one of the lists, or with one instruction less, something is refused.
        for key in ["cmds", "progs", "maps", "helpers", "targets", "kfuncs"] {
            let without = without(&profile, key);
            if without != profile {
                assert!(!refused(&without, object, "7.3").is_empty(), "{name} needs no {key}\n{profile}");
            }
        }
        let line = profile.lines().find(|line| line.starts_with("max_insns")).unwrap();
        let most: u32 = line.split(' ').next_back().unwrap().parse().unwrap();
        let less = profile.replace(line, &format!("max_insns = {}", most - 1));
        assert!(!refused(&less, object, "7.3").is_empty(), "{name}\n{profile}");
    }
}

/// The profile without a key and its value.
fn without(profile: &str, key: &str) -> String {
    let mut kept = String::new();
    let mut is_within = false;
    for line in profile.lines() {
        is_within |= line.starts_with(&format!("{key} ="));
        if !is_within {
            kept += &format!("{line}\n");
        }
        is_within &= !(line.ends_with(']') || line.ends_with('}'));
    }
    kept
}

#[test]
fn the_profile_of_an_object_is_a_policy_for_people() {
    let objects = ["network", "data"].map(|source| (format!("{source}.bpf.o"), object(source)));
    insta::assert_snapshot!(guard::profile(&objects, &["6.12".parse().unwrap()]));
    let [tracing] = ["tracing"].map(|source| (format!("{source}.bpf.o"), object(source)));
    insta::assert_snapshot!(guard::profile(&[tracing], &["7.3".parse().unwrap()]));
}
