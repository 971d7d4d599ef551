//! What a scenario means: names, references, and combinations that cannot be.

use harness_diagnostics::{node::Place, report::Report};
use harness_scenario::{
    file::ScenarioFile,
    spec::{Delegate, Kind, Spec},
};
use harness_uapi::{configuration::Configuration, release::KernelRange, resolver::Lexicon, vocabulary::KnownNames};

use crate::{
    checked::Checked,
    expand::{contents, matrix, sink::Sink, sysctl},
};

/// Looks at what a scenario means, by the names any known kernel knows.
///
/// # Errors
/// Everything about it that cannot be meant.
pub fn check(file: &ScenarioFile, known: &KnownNames) -> Result<Checked, Report> {
    let mut sink = Sink::new(file);
    let spec = file.spec();
    check_summary(&spec.summary, &mut sink);
    check_options(&spec.config, &mut sink);
    let kernels = kernels(spec.kernels.as_deref(), &mut sink);
    let images = images(spec, &mut sink);
    let sysctls = sysctl::settings(spec, &mut sink);
    sysctl::check_writes(spec, &sysctls, &mut sink);
    sink.extend(matrix::placeholder_problems(file.root(), &spec.matrix));
    check_contents(spec, &mut sink);
    if sink.count() == 0 || spec.matrix.is_empty() {
        contents::contents(file.template(), spec, Lexicon { known, target: None }, &mut sink);
    }
    match sink.count() {
        0 => Ok(Checked { file: file.clone(), spec: spec.clone(), kernels, images, sysctls, known: known.clone() }),
        _ => Err(file.report(sink.into_problems())),
    }
}

fn check_summary(summary: &str, sink: &mut Sink<'_>) {
    let one_line = !summary.trim().is_empty() && !summary.contains('\n') && summary.chars().count() <= 200;
    if !one_line {
        sink.problem(&Place::default().key("summary"), "a summary is one line of 1 to 200 characters");
    }
}

/// A scenario makes attempts or is a sweep, which knows its own containers.
fn check_contents(spec: &Spec, sink: &mut Sink<'_>) {
    let root = Place::default();
    if spec.sweep.is_none() {
        if spec.attempt.is_empty() {
            sink.advise(&root, "the key `attempt` is missing", "write `[[attempt]]`, or `[sweep]` for all of a kind");
        }
        return;
    }
    let written = [
        ("attempt", !spec.attempt.is_empty()),
        ("matrix", !spec.matrix.is_empty()),
        ("delegate", spec.delegate != Delegate::default()),
        ("container", spec.container.is_some()),
        ("containers", !spec.containers.is_empty()),
    ];
    for (key, _) in written.iter().filter(|(_, written)| *written) {
        let message = format!("a sweep has no use for `{key}`");
        sink.advise(&root.key(key), message, "it makes its own container and attempts");
    }
}

fn check_options(options: &[String], sink: &mut Sink<'_>) {
    for (index, option) in options.iter().enumerate().filter(|(_, option)| !Configuration::is_option(option)) {
        let place = Place::default().key("config").index(index);
        sink.advise(&place, format!("`{option}` is no Kconfig option"), "such as `CONFIG_BPF_LSM`");
    }
}

fn images(spec: &Spec, sink: &mut Sink<'_>) -> Option<glob::Pattern> {
    const ADVICE: &str = "such as `images = \"systemd-262*\"`";
    let place = Place::default().key("images");
    let is_unit = spec.container.as_ref().is_some_and(|container| container.kind == Kind::Systemd);
    let Some(text) = &spec.images else {
        if is_unit {
            sink.advise(&Place::default(), "a unit needs a systemd, and no image is named that has one", ADVICE);
        }
        return None;
    };
    let pattern = glob::Pattern::new(text);
    pattern.map_err(|error| sink.advise(&place, format!("this is no name and no glob: {error}"), ADVICE)).ok()
}

fn kernels(text: Option<&str>, sink: &mut Sink<'_>) -> Option<KernelRange> {
    let range = text?.parse();
    range
        .map_err(|error: harness_uapi::release::ReleaseError| {
            sink.advise(&Place::default().key("kernels"), error.to_string(), "such as `\">=6.9, <7.0\"`")
        })
        .ok()
}
