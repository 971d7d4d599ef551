//! Reads why the verifier refused a program from the end of its log.
//!
//! The log is text for people: instructions as `NUMBER: (OPCODE) TEXT`, states of registers, lines of the source after `;`, and last the
//! reason, before a line of statistics (`do_check`, `print_verification_stats` and `verbose_linfo` in `kernel/bpf/verifier.c` and
//! `kernel/bpf/log.c`). Since 7.3 an explanation in sections follows: `Verification failed: CATEGORY`, `Reason:` and others, each with
//! indented text (`kernel/bpf/diagnostics.c`). Nothing is decided by any of it.

use harness_protocol::outcome::{LONGEST_REASON, VerifierMessage};

/// How much of a log's end is read, in bytes.
pub(crate) const TAIL: usize = 4096;

/// The most lines of a reason.
const LINES: usize = 3;

/// Lines that say nothing about the reason.
const NOISE: [&str; 7] =
    ["processed ", "verification time ", "stack depth ", "mark_precise:", "from ", "func#", "max_states_per_insn "];

/// Returns what a log says at its end; `None` if that is nothing.
pub(crate) fn message(log: &[u8]) -> Option<VerifierMessage> {
    let log = &log[log.len().saturating_sub(TAIL)..];
    let text = String::from_utf8_lossy(log);
    let (text, explanation) = text.split_once("Verification failed: ").unwrap_or((&text, ""));
    let mut message = VerifierMessage::default();
    let (mut source, mut reason) = (None, Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(of_source) = line.strip_prefix("; ") {
            source = Some(of_source);
        } else if let Some(instruction) = instruction(line) {
            message.instruction = Some(bounded(instruction));
            message.source = source.map(bounded);
            reason.clear();
        } else if !is_state(line) && !NOISE.iter().any(|noise| line.starts_with(noise)) {
            reason.push(line);
        }
    }
    // Before the first instruction there are remarks about functions and types, of which the last is the reason.
    let skipped = if message.instruction.is_some() { 0 } else { reason.len().saturating_sub(1) };
    let mut reason: Vec<String> = reason.into_iter().skip(skipped).take(LINES).map(str::to_owned).collect();
    reason.extend(explained(explanation));
    (!reason.is_empty()).then(|| VerifierMessage { reason: bounded(&reason.join("; ")), ..message })
}

/// Returns the reason of an explanation, or its category if it has none.
fn explained(explanation: &str) -> Option<String> {
    let mut lines = explanation.lines();
    let category = lines.next().filter(|category| !category.is_empty())?;
    let of_reason = lines.skip_while(|line| *line != "Reason:").skip(1).take_while(|line| line.starts_with(' '));
    let reason: Vec<&str> = of_reason.map(str::trim).collect();
    Some(if reason.is_empty() { category.to_owned() } else { reason.join(" ") })
}

/// Returns an instruction with its number, without the state of registers after it.
fn instruction(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(": ")?;
    let is_one = is_number(number) && rest.starts_with('(');
    is_one.then(|| line.split(" ;").next().unwrap_or(line).trim_end())
}

/// Whether a line shows the state of registers before an instruction, as in `0: R1=ctx() R10=fp0`.
fn is_state(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(number, rest)| is_number(number) && rest.starts_with('R'))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn bounded(text: &str) -> String {
    let clean: String = text.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
    let end = (0..=clean.len().min(LONGEST_REASON)).rev().find(|at| clean.is_char_boundary(*at)).unwrap_or(0);
    clean[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(log: &str) -> String {
        message(log.as_bytes()).map(|message| message.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_reason_comes_with_the_last_instruction_and_its_line() {
        let log = "\
func#0 @0
0: R1=ctx() R10=fp0
; int x = 1; @ a.c:3
0: (b7) r0 = 1                        ; R0_w=1
; return map < other; @ a.c:7
1: (2d) if r1 > r2 goto pc+1
R2 pointer comparison prohibited
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";
        let message = message(log.as_bytes()).unwrap();
        assert_eq!(message.instruction.as_deref(), Some("1: (2d) if r1 > r2 goto pc+1"));
        assert_eq!(message.source.as_deref(), Some("return map < other; @ a.c:7"));
        assert_eq!(message.reason, "R2 pointer comparison prohibited");
        assert_eq!(
            message.to_string(),
            "the verifier: R2 pointer comparison prohibited (at 1: (2d) if r1 > r2 goto pc+1; return map < other; @ a.c:7)"
        );
    }

    #[test]
    fn what_is_refused_before_the_first_instruction_has_none() {
        assert_eq!(
            said("func#0 @0\nlast insn is not an exit or jmp\nprocessed 0 insns (limit 1000000)\n"),
            "the verifier: last insn is not an exit or jmp"
        );
        for nothing in ["", "\n\n", "processed 0 insns (limit 1000000)\n", "0: (95) exit\n"] {
            assert_eq!(said(nothing), "", "{nothing:?}");
        }
    }

    #[test]
    fn an_explanation_gives_its_reason() {
        let log = "0: (85) call f#3\nnot here\n\nVerification failed: Policy: F is not allowed\n\nReason:\n    f reads\n    secrets.\n\nSuggestion:\n    Do not.\nprocessed 1 insns\n";
        assert_eq!(said(log), "the verifier: not here; f reads secrets. (at 0: (85) call f#3)");
        assert_eq!(said("Verification failed: Policy: no\n"), "the verifier: Policy: no");
        assert_eq!(said("Verification failed: "), "");
    }

    #[test]
    fn hostile_logs_are_bounded_and_plain() {
        let long = format!("0: (95) exit\n{}\x1b[2J\n", "ä".repeat(10_000));
        let message = message(long.as_bytes()).unwrap();
        assert!(message.reason.len() <= LONGEST_REASON && !message.reason.contains('\x1b'));
        assert!(super::message(&[0xff; 9000]).is_some());
        let many = format!("0: (95) exit\n{}", "line\n".repeat(50));
        assert_eq!(said(&many), "the verifier: line; line; line (at 0: (95) exit)");
    }
}
