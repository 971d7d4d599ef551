//! Formats what a program needs, for people.

use std::fmt::Write as _;

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

use super::program::Found;
use crate::screen::wrapped;

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
        let _ = writeln!(text, "      {}{result}{}", object::text(step), object::verifier(step));
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
        site(text, &recording.container, step);
    }
    for step in recording.without_token() {
        let errno = step.errno.map(|errno| errno.to_string()).unwrap_or_default();
        let _ = writeln!(text, "    made without its token: {}: {errno}", object::text(step));
        site(text, &recording.container, step);
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

/// Says where in the program a call is made, if that is known.
fn site(text: &mut String, answer: &ExecAnswer, step: &ObjectStep) {
    let frames: Vec<String> = answer.site(step).iter().map(ToString::to_string).collect();
    if !frames.is_empty() {
        let _ = writeln!(text, "      by {}", frames.join(", called by "));
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
