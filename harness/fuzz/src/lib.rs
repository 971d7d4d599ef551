//! Shared by the fuzz targets: reads a file and checks that everything read from it is consistent.

pub mod files;
pub mod scenarios;

use std::sync::OnceLock;

use harness_frontend::{
    Configuration, Frontend, Location, Names, SYSTEMD, Sources, SystemdRelease, VmUnit, WritableFrontend, convert, read,
};
use harness_uapi::vocabulary::{Kind, KnownNames};

/// Reads bytes as a file of each front-end, and checks that locations are in the file, and that the delegation can be shown
/// and converted.
pub fn check(bytes: &[u8]) {
    let Ok(sources) = Sources::of("x", bytes) else { return };
    let names = Names::new(known(), SystemdRelease::V262);
    let _ = Frontend::detect(sources.get(0));
    for frontend in Frontend::all() {
        match read(frontend, &sources, &names) {
            Ok(all) => all.iter().for_each(|configuration| check_configuration(configuration, &sources, &names)),
            Err(report) => assert!(!report.to_string().is_empty()),
        }
    }
}

/// Like [`check`] for a unit, with a drop-in after the line `--- drop-in`.
pub fn check_with_drop_in(bytes: &[u8]) {
    let separator = b"\n--- drop-in\n";
    let cut = bytes.windows(separator.len()).position(|window| window == separator).unwrap_or(bytes.len());
    let mut sources = Sources::default();
    let added = [("x.service", &bytes[..cut]), ("x.service.d/a.conf", &bytes[cut..])]
        .map(|(label, part)| sources.add(label, part));
    if added.iter().any(Result::is_err) {
        return;
    }
    let names = Names::new(known(), SystemdRelease::V262);
    for configuration in read(SYSTEMD, &sources, &names).expect("every file is a unit") {
        check_configuration(&configuration, &sources, &names);
    }
}

fn check_configuration(configuration: &Configuration, sources: &Sources, names: &Names<'_>) {
    for assignment in configuration.delegated.iter().flatten() {
        check_location(&assignment.location, sources);
        check_location(&assignment.value, sources);
        for element in &assignment.elements {
            check_location(&element.location, sources);
            let within = &assignment.location.span;
            assert!(within.start <= element.location.span.start && element.location.span.end <= within.end);
        }
    }
    configuration.problems.iter().for_each(|problem| check_location(&problem.location, sources));
    for suppression in &configuration.suppressions {
        check_location(&suppression.location, sources);
        check_location(&suppression.applies_to, sources);
    }
    let options = configuration.mount_options();
    assert!(configuration.bpffs.is_some() || options.is_empty());
    for target in WritableFrontend::all() {
        match convert(configuration, target, names) {
            Ok((text, _)) => assert!(text.is_empty() || text.ends_with('\n')),
            Err(refused) => check_location(&refused.location, sources),
        }
    }
    if let Ok(vm_unit) = VmUnit::of(configuration) {
        vm_unit.changes.iter().for_each(|change| check_location(&change.location, sources));
        let lines = vm_unit.unit.drop_ins.iter().chain([&vm_unit.unit.service]).flatten();
        lines.for_each(|line| assert!(!line.key.contains(['=', '\n']) && !line.value.contains(['\n', '\r', '\0'])));
    }
    let _ = Kind::ALL.map(|kind| configuration.delegated(kind).len());
}

fn check_location(location: &Location, sources: &Sources) {
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
