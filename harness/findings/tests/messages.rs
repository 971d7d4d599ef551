//! What users read: each fixture in `tests/findings` is a configuration, its snapshot the report of `validate`.
//!
//! A fixture is named after the code it is about. Comments at its start can name other kernels than [`KERNELS`], as
//! `# kernels: 6.1-debian`, an object to load, as `# object: xdp-data`, a source in `scenarios/objects/src`, and a policy, as
//! `# policy: users`, of a scenario in `scenarios/guard`, and what a program needs, as `# program: agent`.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use guard_policy::Policy;
use harness_findings::{
    code::Code,
    guard,
    program::{ProgramNeeds, ProgramResult},
    report::{self, ConfigurationReport},
};
use harness_frontend::Sources;
use harness_objects::Object;
use harness_uapi::permission::Element;

const KERNELS: &str = "6.12 7.3";
/// Found only by trying a unit in a VM; see `trials.rs`.
const OF_TRIALS: Code = Code::UnitDoesNotRun;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/findings"))
}

/// Returns what a comment at the start of a fixture says about a key.
fn directive<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut comments = text.lines().map_while(|line| line.strip_prefix("# "));
    comments.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

fn object(source: &str) -> (String, Object) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/objects/src").join(format!("{source}.bpf.c"));
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-g", "-O2", "-c", "-o", "-"]).arg(path);
    let output = clang.output().expect("clang starts; `cargo xtask setup` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (format!("{source}.bpf.o"), harness_objects::read(&output.stdout).unwrap())
}

fn policy(name: &str) -> (String, Policy) {
    let label = format!("{name}.guard.toml");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/guard").join(&label);
    let sources = Sources::of(&label, &fs::read(path).unwrap()).unwrap();
    (label, guard::read(&sources).unwrap())
}

/// A program that loads one XDP program and does without names of programs.
fn program(name: &str) -> ProgramNeeds {
    let elements = [
        ("bpf command prog_load", true),
        ("program type socket_filter", false),
        ("program type xdp", true),
        ("attach type cgroup_inet_ingress", true),
        ("CAP_NET_ADMIN", true),
        ("CAP_BPF", true),
    ];
    let elements: BTreeMap<Element, bool> =
        elements.into_iter().map(|(element, fails)| (element.parse().unwrap(), fails)).collect();
    let result = match name {
        "agent" => ProgramResult::Proved { elements, makes_token: true },
        "agent-of-2022" => ProgramResult::Proved { elements, makes_token: false },
        "tracer" => ProgramResult::NotDelegable { why: vec!["perf_event_open".to_owned()] },
        _ => panic!("no program {name}"),
    };
    let broken = ProgramResult::Unknown { why: "the VM had no memory left".to_owned() };
    let kernels = [("6.12".to_owned(), result), ("6.18-debian".to_owned(), broken)].into();
    ProgramNeeds { name: name.to_owned(), kernels }
}

fn checked(name: &str) -> ConfigurationReport {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let kernels: Vec<&str> = directive(&text, "kernels").unwrap_or(KERNELS).split(' ').collect();
    let objects: Vec<(String, Object)> = directive(&text, "object").map(object).into_iter().collect();
    let policies: Vec<(String, Policy)> = directive(&text, "policy").map(policy).into_iter().collect();
    let programs: Vec<ProgramNeeds> = directive(&text, "program").map(program).into_iter().collect();
    let with = kernels::With { objects: &objects, programs: &programs, policies: &policies };
    kernels::checked_with(name, &text, &kernels, with)
}

#[test]
fn reports_are_as_recorded() {
    harness_fixtures::compare(&kernels::fixtures(&folder()), &folder(), |fixture| {
        report::plain(&checked(fixture.file_name().unwrap().to_str().unwrap()))
    });
}

#[test]
fn each_fixture_has_its_code_and_each_code_a_fixture() {
    let mut missing: BTreeSet<&str> =
        Code::ALL.iter().filter(|code| **code != OF_TRIALS).map(|code| code.id()).collect();
    for name in kernels::fixtures(&folder()).into_keys() {
        let stem = name.split('.').next().unwrap();
        let codes: BTreeSet<&str> = checked(&name).findings.iter().map(|finding| finding.code.id()).collect();
        let code = codes.iter().find(|code| stem.starts_with(**code)).unwrap_or_else(|| panic!("{name}: {codes:?}"));
        missing.remove(code);
    }
    assert_eq!(missing, BTreeSet::new());
}
