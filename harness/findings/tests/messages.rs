//! What users read: each fixture in `tests/findings` is a configuration, its snapshot the report of `validate`.
//!
//! A fixture is named after the code it is about. Comments at its start can name other kernels than [`KERNELS`], as
//! `# kernels: 6.1-debian`, an object to load, as `# object: xdp-data`, a source in `scenarios/objects/src`, and a policy, as
//! `# policy: users`, of a scenario in `scenarios/guard`.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use guard_policy::Policy;
use harness_findings::{
    code::Code,
    guard,
    report::{self, ConfigurationReport},
};
use harness_frontend::Sources;
use harness_objects::Object;

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

fn checked(name: &str) -> ConfigurationReport {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let kernels: Vec<&str> = directive(&text, "kernels").unwrap_or(KERNELS).split(' ').collect();
    let objects: Vec<(String, Object)> = directive(&text, "object").map(object).into_iter().collect();
    let policies: Vec<(String, Policy)> = directive(&text, "policy").map(policy).into_iter().collect();
    kernels::checked_with(name, &text, &kernels, &objects, &policies)
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
