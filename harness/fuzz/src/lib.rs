//! What the targets share: a file is read, and all that is read of it holds together.

use std::sync::OnceLock;

use harness_frontend::{Configuration, Frontend, Names, Place, SYSTEMD, Sources, SystemdRelease, Target, convert, read, rehearse};
use harness_uapi::vocabulary::{Kind, KnownNames};

/// Reads bytes as a file of each front-end, and checks that places are in the file, that what is in effect can be told, and
/// that it can be converted.
pub fn check(bytes: &[u8]) {
    let Ok(sources) = Sources::of("x", bytes) else { return };
    let names = Names::new(known(), SystemdRelease::V262);
    let _ = Frontend::detect(sources.get(0));
    for frontend in Frontend::all() {
        match read(frontend, &sources, &names) {
            Ok(all) => all.iter().for_each(|configuration| holds_together(configuration, &sources, &names)),
            Err(report) => assert!(!report.to_string().is_empty()),
        }
    }
}

/// A unit, and a drop-in of it after a line of its own.
pub fn check_with_drop_in(bytes: &[u8]) {
    let text = b"\n--- drop-in\n";
    let cut = bytes.windows(text.len()).position(|window| window == text).unwrap_or(bytes.len());
    let mut sources = Sources::default();
    let added = [("x.service", &bytes[..cut]), ("x.service.d/a.conf", &bytes[cut..])].map(|(label, part)| sources.add(label, part));
    if added.iter().any(Result::is_err) {
        return;
    }
    let names = Names::new(known(), SystemdRelease::V262);
    for configuration in read(SYSTEMD, &sources, &names).expect("units are never no units") {
        holds_together(&configuration, &sources, &names);
    }
}

fn holds_together(configuration: &Configuration, sources: &Sources, names: &Names<'_>) {
    for assignment in configuration.delegated.iter().flatten() {
        is_in(&assignment.location, sources);
        is_in(&assignment.value, sources);
        for element in &assignment.elements {
            is_in(&element.location, sources);
            let within = &assignment.location.span;
            assert!(within.start <= element.location.span.start && element.location.span.end <= within.end);
        }
    }
    configuration.problems.iter().for_each(|problem| is_in(&problem.location, sources));
    for suppression in &configuration.suppressions {
        is_in(&suppression.location, sources);
        is_in(&suppression.applies_to, sources);
    }
    let options = configuration.mount_options();
    assert!(configuration.bpffs.is_some() || options.is_empty());
    for target in Target::all() {
        match convert(configuration, target, names) {
            Ok((text, _)) => assert!(text.is_empty() || text.ends_with('\n')),
            Err(refused) => is_in(&refused.location, sources),
        }
    }
    if let Ok(vm_unit) = rehearse(configuration) {
        vm_unit.changes.iter().for_each(|change| is_in(&change.location, sources));
        let lines = vm_unit.unit.drop_ins.iter().chain([&vm_unit.unit.service]).flatten();
        lines.for_each(|line| assert!(!line.key.contains(['=', '\n']) && !line.value.contains(['\n', '\r', '\0'])));
    }
    let _ = Kind::ALL.map(|kind| configuration.delegated(kind).len());
}

fn is_in(location: &Place, sources: &Sources) {
    let text = sources.get(location.source).text();
    assert!(text.get(location.span.clone()).is_some(), "{location:?}");
    assert!(sources.shown(location).contains(':'));
}

fn known() -> &'static KnownNames {
    static KNOWN: OnceLock<KnownNames> = OnceLock::new();
    let read = || {
        let text = include_str!("../../../kernels/vocabulary/7.3.json");
        KnownNames::from_json([("7.3", text)]).expect("it is committed")
    };
    KNOWN.get_or_init(read)
}
