//! Compares how this crate reads units with a real systemd, version 258 or later.
//!
//! It is the one on `PATH`, or in the root directory that `BPF_TOKEN_SYSTEMD_ROOT` names; without one the tests are skipped.
//! Values come from a service manager in test mode, which needs root to create a mount namespace.

mod cases;
mod real;

use std::collections::BTreeMap;

use harness_frontend::{Configuration, Effect, Names, SYSTEMD, Sources, SystemdRelease, read, setting_of};
use harness_uapi::{
    delegation::numbers,
    vocabulary::{Kind, KnownNames},
};
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

use cases::Case;
use real::Systemd;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let conclusion = match Systemd::find() {
        Ok(systemd) => run(&arguments, &systemd),
        Err(why) => {
            eprintln!("systemd is not compared: {why}");
            libtest_mimic::run(&arguments, vec![Trial::test("systemd", || Ok(())).with_ignored_flag(true)])
        }
    };
    conclusion.exit_code()
}

/// A comparison.
type Test = fn(&Systemd) -> Result<(), Failed>;

fn run(arguments: &Arguments, systemd: &Systemd) -> Conclusion {
    let systemd = systemd.clone();
    let trials = [
        ("warnings", warnings as Test),
        ("values", values),
        ("names", names_of_a_release),
        ("system_calls", groups_of_system_calls),
    ];
    let trial = |(name, test): (&str, Test)| {
        let systemd = systemd.clone();
        let lacks = if name == "values" { systemd.why_not_managed() } else { None };
        if let Some(why) = lacks {
            eprintln!("{name} is skipped: {why}");
            return Trial::test(name, || Ok(())).with_ignored_flag(true);
        }
        Trial::test(name, move || test(&systemd))
    };
    libtest_mimic::run(arguments, trials.into_iter().map(trial).collect())
}

fn known() -> KnownNames {
    let files = [
        ("6.12", include_str!("../../../../kernels/vocabulary/6.12.json")),
        ("7.3", include_str!("../../../../kernels/vocabulary/7.3.json")),
    ];
    KnownNames::from_json(files).expect("they are committed")
}

/// Reads a case, and returns its texts, too.
fn ours(case: &Case, names: &Names<'_>) -> (Configuration, Sources) {
    let mut sources = Sources::default();
    for (path, text) in &case.files {
        sources.add(path, text).expect("cases are short");
    }
    let mut read = read(SYSTEMD, &sources, names).expect("units are never no units");
    assert_eq!(read.len(), 1, "{}", case.name);
    (read.remove(0), sources)
}

/// Compares the warnings of `systemd-analyze verify` with what we report as ignored or refused, by words and lines.
fn warnings(systemd: &Systemd) -> Result<(), Failed> {
    let known = known();
    let names = Names::new(&known, SystemdRelease::V262);
    let cases = cases::all(&names);
    assert!(cases.len() > 150, "only {} cases", cases.len());
    let mut differ = Vec::new();
    for case in &cases {
        let (read, sources) = ours(case, &names);
        let warnings = systemd.verify(case)?;
        if warnings.refuses && read.problems.iter().any(|problem| problem.effect == Effect::Refused) {
            continue;
        }
        let element =
            |location| read.delegated.iter().flatten().flat_map(|a| &a.elements).find(|e| e.location == location);
        let loud = read.problems.iter().filter(|problem| matches!(problem.effect, Effect::Ignored | Effect::Refused));
        let (mut words, mut lines) = (Vec::new(), Vec::new());
        for problem in loud {
            match element(problem.location.clone()) {
                Some(element) => words.push(element.text.clone()),
                None => {
                    let source = sources.get(problem.location.source);
                    let before = &source.text().as_bytes()[..problem.location.span.start];
                    lines.push((source.label().to_owned(), 1 + ends_of_lines(before)));
                }
            }
        }
        if (&words, &lines) != (&warnings.words, &warnings.lines) {
            differ.push(format!(
                "{}: ours {words:?} {lines:?}, systemd's {:?} {:?}",
                case.name, warnings.words, warnings.lines
            ));
        }
    }
    if differ.is_empty() { Ok(()) } else { Err(differ.join("\n").into()) }
}

/// Counts line ends, where a carriage return before a line feed does not count.
fn ends_of_lines(text: &[u8]) -> usize {
    let ends = text.iter().filter(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
    ends - text.windows(2).filter(|pair| pair == b"\r\n").count()
}

/// Compares the settings of a service manager with ours.
fn values(systemd: &Systemd) -> Result<(), Failed> {
    let known = known();
    let names = Names::new(&known, SystemdRelease::V262);
    let cases = cases::all(&names);
    let dumped = systemd.dump(&cases)?;
    let mut differ = Vec::new();
    for case in &cases {
        let unit = dumped.get(&case.name).ok_or_else(|| format!("{} was not loaded", case.name))?;
        let (read, _) = ours(case, &names);
        // A unit whose main file is refused has no settings.
        if !unit.contains_key("PrivateBPF") && read.problems.iter().any(|problem| problem.effect == Effect::Refused) {
            continue;
        }
        for (key, value) in expected(&read, &names) {
            let theirs = unit.get(key).map(String::as_str).unwrap_or_default();
            if theirs != value {
                differ.push(format!("{}: {key}: ours `{value}`, systemd's `{theirs}`", case.name));
            }
        }
    }
    if differ.is_empty() { Ok(()) } else { Err(differ.join("\n").into()) }
}

/// Returns the lines of a unit's dump that we expect.
fn expected(read: &Configuration, names: &Names<'_>) -> BTreeMap<&'static str, String> {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let context = &read.execution_context;
    let mut lines = BTreeMap::from([
        ("PrivateBPF", yes_no(read.bpffs.is_some())),
        ("ProtectKernelTunables", yes_no(context.protect_kernel_tunables.value)),
    ]);
    let masks = read.delegation().expect("systemd refuses none").masks();
    for kind in Kind::ALL.into_iter().filter(|_| read.bpffs.is_some()) {
        let listed: Vec<String> =
            numbers(masks[kind as usize]).filter_map(|bit| names.systemd_shown(kind, bit)).collect();
        let any = masks[kind as usize] == u64::MAX;
        lines.insert(setting_of(kind), if any { "any".to_owned() } else { listed.join(",") });
    }
    for (key, set) in [("CapabilityBoundingSet", &context.bounding_set), ("AmbientCapabilities", &context.ambient_set)]
    {
        if set.location.is_some() {
            lines.insert(key, cases::capabilities(set.value));
        }
    }
    lines
}

/// Compares the names that a release does not know. Their order is that of a service manager's table, which `values` compares.
fn names_of_a_release(systemd: &Systemd) -> Result<(), Failed> {
    let release = SystemdRelease::V262;
    if systemd.version() != release.number {
        eprintln!("systemd {} has other names than {}: they are not compared", systemd.version(), release.number);
        return Ok(());
    }
    let known = known();
    let names = Names::new(&known, release);
    for kind in Kind::ALL {
        let spelled: Vec<String> = (0..64).filter_map(|number| names.spelled(kind, number)).collect();
        let unknown: Vec<&String> = spelled.iter().filter(|name| names.systemd_bit(kind, name).is_none()).collect();
        let warnings = systemd.verify(&Case::of("names", &format!("{}={}", setting_of(kind), spelled.join(","))))?;
        assert_eq!(warnings.words.iter().collect::<Vec<_>>(), unknown, "{kind}");
    }
    Ok(())
}

/// Checks that each system call is in the group that we record, in `@known`, and in no other.
fn groups_of_system_calls(systemd: &Systemd) -> Result<(), Failed> {
    use harness_frontend::execution_context::SystemCall;
    let groups = systemd.system_calls()?;
    for call in SystemCall::ALL {
        let having: Vec<&str> = groups
            .iter()
            .filter(|(_, calls)| calls.iter().any(|c| c == call.name()))
            .map(|(g, _)| g.as_str())
            .collect();
        let mut expected = vec!["@known", call.group()];
        expected.sort_unstable();
        assert_eq!(having, expected, "{}", call.name());
        let within = groups.iter().filter(|(group, _)| *group != "@known").flat_map(|(_, calls)| calls);
        assert!(within.into_iter().all(|member| member != call.group()), "{} is part of a group", call.group());
    }
    Ok(())
}
