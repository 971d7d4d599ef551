//! Formats what a program needs, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use harness_findings::report::alike;
use harness_proof::{
    minimizer::{FailedObject, Minimal, Reduction},
    object::ObjectDefect,
};
use harness_protocol::{
    outcome::{ExecAnswer, ObjectStep},
    plan::ExecToken,
};
use harness_runner::{
    proof::{ProgramProof, Recording},
    report::counted,
};
use harness_verdict::object;
use schemars::JsonSchema;
use serde::Serialize;

use super::program::Found;
use crate::screen::wrapped;

/// The version of the JSON document; it increases when readers of the previous one would misread the new one.
const FORMAT: u32 = 1;

/// The most lines of a program's output that are shown.
const LINES: usize = 8;

/// Formats what was found on each group of kernels that agree, and the text to paste if the program works anywhere.
pub(super) fn human(found: &Found, pasted: Option<&str>) -> String {
    let texts = found.kernels.iter().map(|(kernel, proof)| (kernel, of_kernel(proof)));
    let mut text: String =
        alike(texts).into_iter().map(|(kernels, table)| format!("on {kernels}:\n{table}\n")).collect();
    let never = found.never();
    if !never.is_empty() {
        let names: Vec<&str> = never.iter().map(|kernel| kernel.as_str()).collect();
        let _ = writeln!(text, "no delegation makes the program work on {}", names.join(", "));
    }
    let mut text = wrapped(&text);
    if let Some(pasted) = pasted {
        let indented: String = pasted.lines().map(|line| format!("    {line}\n")).collect();
        let _ = write!(text, "to paste:\n{indented}");
        if found.was_handed() {
            text += &wrapped(
                "note: the program makes no token, and one was handed over to it here. With this delegation it works once its \
                 loader makes one: libbpf does from 1.5 on, cilium/ebpf from 0.22 on.\n",
            );
        }
    }
    text
}

fn of_kernel(proof: &ProgramProof) -> String {
    let mut text = String::new();
    match &proof.recording {
        Err(error) => {
            let _ = writeln!(text, "    not known: {error}");
        }
        Ok(recording) => recorded(&mut text, recording),
    }
    match &proof.reduction {
        None => {}
        Some(Err(error)) => {
            let _ = writeln!(text, "    not proved: {error}");
        }
        Some(Ok(Reduction::Insufficient(failed))) => {
            let _ = writeln!(text, "    it does not work with everything that its calls ask for:");
            failed.iter().for_each(|failed| failure(&mut text, failed));
        }
        Some(Ok(Reduction::Minimal(minimal))) => proved(&mut text, minimal),
    }
    text
}

fn recorded(text: &mut String, recording: &Recording) {
    let root = &recording.root;
    let (events, calls) = counts(root);
    let _ = writeln!(
        text,
        "    recorded as root: {} of bpf(2), {events} of perf_event_open(2); it {}",
        counted(calls, "call"),
        root.end
    );
    for step in &root.calls.steps {
        let result = step.errno.map(|errno| format!(", refused {errno}")).unwrap_or_default();
        let _ = writeln!(text, "      {}{result}", object::text(step));
    }
    let token = match recording.token {
        ExecToken::Inject if recording.container.injected == 0 => "none is taken by any of its calls".to_owned(),
        ExecToken::Inject => {
            format!(
                "it makes none; one was handed over with {}",
                counted(recording.container.injected as usize, "call")
            )
        }
        ExecToken::Own | ExecToken::None => "it makes its own".to_owned(),
    };
    let _ = writeln!(text, "    token: {token}");
    for step in recording.not_delegable() {
        let errno = step.errno.map(|errno| errno.to_string()).unwrap_or_default();
        let _ =
            writeln!(text, "    not delegable: {}: {errno} in a container with every permission", object::text(step));
    }
    for step in recording.without_token() {
        let errno = step.errno.map(|errno| errno.to_string()).unwrap_or_default();
        let _ = writeln!(text, "    made without its token: {}: {errno}", object::text(step));
    }
    if recording.has_loader() {
        let _ = writeln!(
            text,
            "    not seen: it loads a program of type syscall, which may call bpf(2) inside the kernel; the guard records such calls"
        );
    }
    if !recording.works() {
        let _ = writeln!(text, "    in a container with every permission it {}", recording.container.end);
        last_lines(text, &recording.container);
    }
}

/// Counts the calls of `perf_event_open(2)`, and those of `bpf(2)`.
fn counts(answer: &ExecAnswer) -> (usize, usize) {
    let times = |step: &ObjectStep| step.times as usize;
    let events = answer.calls.steps.iter().filter(|step| step.cmd == "perf_event_open").map(times).sum();
    let all: usize = answer.calls.steps.iter().map(times).sum();
    (events, all - events + answer.calls.omitted as usize)
}

fn last_lines(text: &mut String, answer: &ExecAnswer) {
    let lines: Vec<&str> = answer.output.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        let _ = writeln!(text, "      {}", line.escape_debug());
    }
}

fn proved(text: &mut String, minimal: &Minimal) {
    for (element, failed) in &minimal.needed {
        let _ = writeln!(text, "    {element}");
        failed.iter().for_each(|failed| failure(text, failed));
    }
    let _ = writeln!(
        text,
        "    proved: it works with this, and with no element removed ({} in {})",
        counted(minimal.loads as usize, "run"),
        counted(minimal.rounds as usize, "round")
    );
}

fn failure(text: &mut String, failed: &FailedObject) {
    let works = if matches!(failed.defect, ObjectDefect::NotMade(_)) { "it ends as it should, but " } else { "" };
    let _ = writeln!(text, "      without it: {works}{}", failed.defect);
}

/// The output of `caps --exec --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "ProgramNeeds")]
pub(crate) struct Document {
    /// The version of this format.
    format: u32,
    /// The program and its arguments.
    command: Vec<String>,
    /// The files that were copied into the VMs.
    copied: Vec<String>,
    /// What it needs, by the kernel's name.
    kernels: BTreeMap<String, OneKernel>,
}

/// What a program needs on a kernel.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
enum OneKernel {
    /// It works with this grant, and with no element removed.
    Proved {
        /// How it ran as root.
        recording: OneRecording,
        /// The grant.
        elements: Vec<OneElement>,
        /// The number of runs in containers.
        runs: u32,
    },
    /// It works with no grant.
    NotDelegable {
        /// How it ran as root.
        recording: OneRecording,
        /// What fails in a container with every permission.
        why: Vec<String>,
    },
    /// There is no result.
    Unknown {
        /// Why.
        why: String,
    },
}

/// How a program ran as root.
#[derive(Serialize, JsonSchema)]
struct OneRecording {
    /// How it ended, in words.
    end: String,
    /// Whether it makes a token itself.
    makes_token: bool,
    /// Its calls, in the order in which they returned.
    calls: Vec<OneCall>,
    /// How many more calls it made.
    omitted: u32,
    /// What no token covers.
    not_delegable: Vec<String>,
    /// What it does without the token that it has, so that it is refused.
    without_token: Vec<String>,
    /// Whether it loads a program of type `syscall`, which may call bpf(2) inside the kernel without being seen.
    has_loader: bool,
}

/// Consecutive calls with the same meaning and answer.
#[derive(Serialize, JsonSchema)]
struct OneCall {
    /// The command of bpf(2), or `perf_event_open`.
    command: String,
    /// What it concerns; empty if nothing is known of that.
    about: String,
    /// How root was refused; null if it was not.
    errno: Option<String>,
    /// How often it was made.
    times: u32,
}

/// An element of a grant.
#[derive(Serialize, JsonSchema)]
struct OneElement {
    /// `OPTION NAME`, or a capability.
    element: String,
    /// What fails without it.
    without: Vec<String>,
}

/// Returns the JSON document.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub(super) fn json(found: &Found) -> Result<String> {
    let kernels = found.kernels.iter().map(|(kernel, proof)| (kernel.to_string(), one(proof))).collect();
    let (command, copied) = (found.command.clone(), found.copied.clone());
    Ok(serde_json::to_string_pretty(&Document { format: FORMAT, command, copied, kernels })?)
}

fn one(proof: &ProgramProof) -> OneKernel {
    let recording = match &proof.recording {
        Ok(recording) => recording,
        Err(error) => return OneKernel::Unknown { why: error.to_string() },
    };
    let defects = |failed: &[FailedObject]| failed.iter().map(|failed| failed.defect.to_string()).collect();
    match &proof.reduction {
        Some(Err(error)) => OneKernel::Unknown { why: error.to_string() },
        None => OneKernel::NotDelegable {
            why: vec![format!("it {}", recording.container.end)],
            recording: one_recording(recording),
        },
        Some(Ok(Reduction::Insufficient(failed))) => {
            OneKernel::NotDelegable { recording: one_recording(recording), why: defects(failed) }
        }
        Some(Ok(Reduction::Minimal(minimal))) => OneKernel::Proved {
            recording: one_recording(recording),
            elements: minimal
                .needed
                .iter()
                .map(|(element, failed)| OneElement { element: element.to_string(), without: defects(failed) })
                .collect(),
            runs: minimal.loads,
        },
    }
}

fn one_recording(recording: &Recording) -> OneRecording {
    let call = |step: &ObjectStep| OneCall {
        command: step.cmd.clone(),
        about: step.about.clone(),
        errno: step.errno.map(|errno| errno.to_string()),
        times: step.times,
    };
    OneRecording {
        end: recording.root.end.to_string(),
        makes_token: recording.token == ExecToken::Own,
        calls: recording.root.calls.steps.iter().map(call).collect(),
        omitted: recording.root.calls.omitted,
        not_delegable: recording.not_delegable().into_iter().map(object::text).collect(),
        without_token: recording.without_token().into_iter().map(object::text).collect(),
        has_loader: recording.has_loader(),
    }
}
