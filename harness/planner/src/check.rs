//! What a scenario means: names, references, and combinations that cannot be.

use harness_diagnostics::{node::KeyPath, report::Report};
use harness_scenario::{
    file::ScenarioFile,
    spec::{ContainerKind, Delegate, Spec},
};
use harness_uapi::{
    configuration::Configuration, release::KernelRange, resolver::NameResolver, vocabulary::KnownNames,
};

use crate::{
    checked::Checked,
    expand::{contents, matrix, problems::Problems, sysctl},
};

/// Looks at what a scenario means, by the names any known kernel knows.
///
/// # Errors
/// Everything about it that cannot be meant.
pub fn check(file: &ScenarioFile, known: &KnownNames) -> Result<Checked, Report> {
    let mut problems = Problems::new(file);
    let spec = file.spec();
    check_summary(&spec.summary, &mut problems);
    check_options(&spec.config, &mut problems);
    let kernels = kernels(spec.kernels.as_deref(), &mut problems);
    let images = images(spec, &mut problems);
    let sysctls = sysctl::settings(spec, &mut problems);
    sysctl::check_writes(spec, &sysctls, &mut problems);
    problems.extend(matrix::placeholder_problems(file.root(), &spec.matrix));
    check_contents(spec, &mut problems);
    if problems.count() == 0 || spec.matrix.is_empty() {
        contents::contents(file.template(), spec, NameResolver { known, target: None }, &mut problems);
    }
    match problems.count() {
        0 => Ok(Checked { file: file.clone(), spec: spec.clone(), kernels, images, sysctls, known: known.clone() }),
        _ => Err(file.report(problems.into_problems())),
    }
}

fn check_summary(summary: &str, problems: &mut Problems<'_>) {
    let one_line = !summary.trim().is_empty() && !summary.contains('\n') && summary.chars().count() <= 200;
    if !one_line {
        problems.problem(&KeyPath::default().key("summary"), "a summary is one line of 1 to 200 characters");
    }
}

/// A scenario makes attempts or is a sweep, which knows its own containers.
fn check_contents(spec: &Spec, problems: &mut Problems<'_>) {
    let root = KeyPath::default();
    if spec.sweep.is_none() {
        if spec.attempt.is_empty() {
            problems.advise(
                &root,
                "the key `attempt` is missing",
                "write `[[attempt]]`, or `[sweep]` for all of a kind",
            );
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
        problems.advise(&root.key(key), message, "it makes its own container and attempts");
    }
}

fn check_options(options: &[String], problems: &mut Problems<'_>) {
    for (index, option) in options.iter().enumerate().filter(|(_, option)| !Configuration::is_option(option)) {
        let key_path = KeyPath::default().key("config").index(index);
        problems.advise(&key_path, format!("`{option}` is no Kconfig option"), "such as `CONFIG_BPF_LSM`");
    }
}

fn images(spec: &Spec, problems: &mut Problems<'_>) -> Option<glob::Pattern> {
    const ADVICE: &str = "such as `images = \"systemd-262*\"`";
    let key_path = KeyPath::default().key("images");
    let is_unit = spec.container.as_ref().is_some_and(|container| container.kind == ContainerKind::Systemd);
    let Some(text) = &spec.images else {
        if is_unit {
            problems.advise(&KeyPath::default(), "a unit needs a systemd, and no image is named that has one", ADVICE);
        }
        return None;
    };
    let pattern = glob::Pattern::new(text);
    pattern.map_err(|error| problems.advise(&key_path, format!("this is no name and no glob: {error}"), ADVICE)).ok()
}

fn kernels(text: Option<&str>, problems: &mut Problems<'_>) -> Option<KernelRange> {
    let range = text?.parse();
    range
        .map_err(|error: harness_uapi::release::ReleaseError| {
            problems.advise(&KeyPath::default().key("kernels"), error.to_string(), "such as `\">=6.9, <7.0\"`")
        })
        .ok()
}
