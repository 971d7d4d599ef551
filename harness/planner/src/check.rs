//! Checks the names and references of a scenario, and which of its keys exclude each other.

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
    expand::{attack, contents, copies, matrix, problems::Problems, sysctl},
};

/// Checks a scenario against the names that any known kernel has.
///
/// # Errors
/// Every problem of the file, including those of its structure.
pub fn check(file: &ScenarioFile, known: &KnownNames) -> Result<Checked, Report> {
    let mut problems = Problems::new(file);
    let spec = file.spec();
    check_summary(file, &mut problems);
    check_options(&spec.config, &mut problems);
    let kernels = kernels(spec.kernels.as_deref(), &mut problems);
    let images = images(spec, &mut problems);
    let sysctls = sysctl::settings(spec, &mut problems);
    sysctl::check_writes(spec, &sysctls, &mut problems);
    attack::check(spec, &mut problems);
    copies::check(spec, &mut problems);
    let (wrong, unfilled) = matrix::placeholder_problems(file.root(), &spec.matrix);
    problems.placeholders(wrong, unfilled);
    check_contents(spec, &mut problems);
    contents::contents(file.template(), spec, NameResolver { known, target: None }, &mut problems);
    match problems.count() {
        0 => Ok(Checked { file: file.clone(), spec: spec.clone(), kernels, images, sysctls, known: known.clone() }),
        _ => Err(file.report(problems.into_problems())),
    }
}

fn check_summary(file: &ScenarioFile, problems: &mut Problems<'_>) {
    let key_path = KeyPath::default().key("summary");
    let summary = &file.spec().summary;
    let one_line = !summary.trim().is_empty() && !summary.contains('\n') && summary.chars().count() <= 200;
    if file.root().get(&key_path).is_some() && !one_line {
        problems.problem(&key_path, "a summary is one line of 1 to 200 characters");
    }
}

/// A scenario has attempts, or a sweep, which makes its own container and attempts.
fn check_contents(spec: &Spec, problems: &mut Problems<'_>) {
    let root = KeyPath::default();
    if spec.sweep.is_none() {
        let all_known = ["attempt", "sweep"].iter().all(|key| problems.is_complete(&root.key(key)));
        if spec.attempt.is_empty() && all_known {
            problems.advise(
                &root.key("attempt"),
                "the key `attempt` is missing",
                "write `[[attempt]]`, or `[sweep]` to attempt everything of one kind",
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
        let message = format!("`{key}` cannot be combined with `sweep`");
        problems.advise(&root.key(key), message, "a sweep makes its own container and attempts");
    }
}

fn check_options(options: &[String], problems: &mut Problems<'_>) {
    for (index, option) in options.iter().enumerate().filter(|(_, option)| !Configuration::is_option(option)) {
        let key_path = KeyPath::default().key("config").index(index);
        problems.advise(&key_path, format!("`{option}` is not a Kconfig option"), "for example `CONFIG_BPF_LSM`");
    }
}

fn images(spec: &Spec, problems: &mut Problems<'_>) -> Option<glob::Pattern> {
    const ADVICE: &str = "for example `images = \"systemd-262*\"`";
    let key_path = KeyPath::default().key("images");
    let is_unit = spec.container.as_ref().is_some_and(|container| container.kind == ContainerKind::Systemd);
    let Some(text) = &spec.images else {
        if is_unit {
            problems.advise(&key_path, "a unit needs an image with systemd, so `images` is required", ADVICE);
        }
        return None;
    };
    let pattern = glob::Pattern::new(text);
    pattern.map_err(|error| problems.advise(&key_path, format!("invalid glob: {}", error.msg), ADVICE)).ok()
}

fn kernels(text: Option<&str>, problems: &mut Problems<'_>) -> Option<KernelRange> {
    let range = text?.parse();
    range
        .map_err(|error: harness_uapi::release::ReleaseError| {
            problems.advise(&KeyPath::default().key("kernels"), error.to_string(), "for example `\">=6.9, <7.0\"`")
        })
        .ok()
}
