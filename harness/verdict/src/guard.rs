//! What the guard recorded of an attempt, in words that are the same in every run.

use guard_record::{Hook, Line, Named, Reason as RecordedReason, Verdict};
use harness_protocol::outcome::AttemptFact;

/// Reads the records of an attempt.
///
/// # Errors
/// The record that is none, and why.
pub(crate) fn lines(fact: &AttemptFact) -> Result<Vec<Line>, String> {
    let read = |text: &String| serde_json::from_str(text).map_err(|error| format!("{error} in {text}"));
    fact.guard.iter().map(read).collect()
}

/// Returns each answer of the guard once, in the order of the first of its kind, with the hooks that gave it.
pub(crate) fn words(lines: &[Line]) -> Vec<String> {
    let mut answers: Vec<(String, Vec<&'static str>)> = Vec::new();
    for line in lines {
        let (answer, hook) = (answer(line), hook(line.hook));
        match answers.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, hooks)) if hooks.contains(&hook) => {}
            Some((_, hooks)) => hooks.push(hook),
            None => answers.push((answer, vec![hook])),
        }
    }
    answers.into_iter().map(|(answer, hooks)| format!("{answer} ({})", hooks.join(", "))).collect()
}

/// Returns what the guard denied last, and the rule that did.
pub(crate) fn denied(lines: &[Line]) -> Option<(String, Option<u16>)> {
    let line = lines.iter().rfind(|line| line.verdict == Verdict::Denied)?;
    Some((reason(line).unwrap_or_else(|| "for no reason".to_owned()), line.rule))
}

fn answer(line: &Line) -> String {
    let command = line.command.as_ref().map(|command| name_or_number(command, "command"));
    let verdict = match line.verdict {
        Verdict::Allowed => "allowed",
        Verdict::WouldDeny => "would be denied",
        Verdict::Denied => "denied",
    };
    let loader = line.who.loader.as_ref().map(|loader| format!(" by loader {}", name_or_number(loader, "loader")));
    let rule = line.rule.map(|rule| format!(" by rule {rule}")).unwrap_or_default();
    let why = reason(line).map(|why| format!(": {why}")).unwrap_or_default();
    let token = if line.token { " with a token" } else { "" };
    let of_program = if line.of_kernel { " of a program" } else { "" };
    let what = command.unwrap_or_else(|| "outside of a call".to_owned());
    format!("{what}{}{token}{of_program} {verdict}{rule}{why}", loader.unwrap_or_default())
}

/// Returns why a call is refused, without numbers that differ from run to run.
fn reason(line: &Line) -> Option<String> {
    let number = || line.what.as_ref().map(|what| what.number).unwrap_or_default();
    let named = |kind: &str| {
        let what = line.what.as_ref().map(|what| name_or_number(what, kind));
        format!("{kind} {}", what.unwrap_or_default())
    };
    // The number of a function differs between kernels.
    let function = |kind: &str| {
        let name = line.what.as_ref().and_then(|what| what.name.clone());
        format!("{kind} {}", name.unwrap_or_else(|| "without a name".to_owned()))
    };
    Some(match line.reason? {
        RecordedReason::NoReason => return None,
        RecordedReason::NoRule => "no rule takes it".to_owned(),
        RecordedReason::Rule => "the rule denies it".to_owned(),
        RecordedReason::Cmd => named("command"),
        RecordedReason::ProgType => named("program type"),
        RecordedReason::AttachType => named("attach type"),
        RecordedReason::Target => function("target"),
        RecordedReason::TargetOfModule => function("target of a module"),
        RecordedReason::Insns => format!("{} instructions", number()),
        RecordedReason::Helper => named("helper"),
        RecordedReason::Kfunc => function("kfunc"),
        RecordedReason::KfuncOfModule => "kfunc of a module".to_owned(),
        RecordedReason::MapType => named("map type"),
        RecordedReason::MapEntries => format!("{} entries", number()),
        RecordedReason::MapBytes => format!("{} bytes", number()),
        RecordedReason::TokenMissing => "no token".to_owned(),
        RecordedReason::TokenCap => named("capability"),
        RecordedReason::MapOfOther => "a map of another user".to_owned(),
        RecordedReason::NotRecorded => "its record does not fit".to_owned(),
        RecordedReason::NoReader => "nobody reads the records".to_owned(),
        RecordedReason::Unsigned => "no signature".to_owned(),
        RecordedReason::Keyring => named("keyring"),
        RecordedReason::Tag => "its tag".to_owned(),
        RecordedReason::GuardedFunction => function("guarded function"),
        RecordedReason::ReplacesLsm => "it replaces a program of type lsm".to_owned(),
        RecordedReason::OwnMap => "a map of the guard".to_owned(),
        RecordedReason::OwnProg => "a program of the guard".to_owned(),
        RecordedReason::OwnLink => "a link of the guard".to_owned(),
        RecordedReason::OwnBpffs => "the guard's bpffs".to_owned(),
        RecordedReason::OwnProcess => "the guard's process".to_owned(),
        RecordedReason::KnownLoader => "a process that runs a known loader".to_owned(),
        RecordedReason::ImageSignature => "the policy's signature".to_owned(),
        RecordedReason::ImageRevision => "the policy's revision".to_owned(),
        RecordedReason::ImageKernel => "a policy for another kernel".to_owned(),
        RecordedReason::ImageFormat => "not a policy of this version".to_owned(),
        RecordedReason::ImageFixed => "a policy that changes who may reload, or self-protection".to_owned(),
    })
}

/// Returns the name of something of a kind, or its number.
fn name_or_number(named: &Named, kind: &str) -> String {
    match &named.name {
        Some(name) => name.clone(),
        None if kind == "command" => format!("command {}", named.number),
        None => named.number.to_string(),
    }
}

const fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Bpf => "bpf",
        Hook::ProgLoad => "bpf_prog_load",
        Hook::Prog => "bpf_prog",
        Hook::MapCreate => "bpf_map_create",
        Hook::Map => "bpf_map",
        Hook::TokenCreate => "bpf_token_create",
        Hook::TokenCmd => "bpf_token_cmd",
        Hook::TokenCapable => "bpf_token_capable",
        Hook::InodeUnlink => "inode_unlink",
        Hook::InodeRename => "inode_rename",
        Hook::InodeRmdir => "inode_rmdir",
        Hook::SbUmount => "sb_umount",
        Hook::MoveMount => "move_mount",
        Hook::Ptrace => "ptrace_access_check",
        Hook::TaskKill => "task_kill",
        Hook::TaskSetrlimit => "task_setrlimit",
        Hook::Reload => "reload",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(hook: &str, verdict: &str, more: serde_json::Value) -> Line {
        let who = json!({
            "pid": 12, "tgid": 12, "start_ns": 5, "uid": 1000, "cgroup": 7, "userns": 1, "pidns": 2, "comm": "x",
        });
        let mut line = json!({
            "seq": 7, "time": { "boot_ns": 4 }, "hook": hook, "verdict": verdict, "call": 9,
            "command": { "number": 5, "name": "prog_load" }, "who": who,
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn equal_answers_share_a_line_and_numbers_of_a_run_do_not_show() {
        let lines = [
            line("bpf", "allowed", json!({ "rule": 2 })),
            line("prog-load", "allowed", json!({ "rule": 2, "seq": 8 })),
            line("prog", "allowed", json!({ "rule": 2, "call": 10 })),
            line("bpf", "allowed", json!({ "rule": 2, "time": { "boot_ns": 999 } })),
            line("token-capable", "allowed", json!({ "rule": 2, "token": true })),
        ];
        insta::assert_snapshot!(words(&lines).join("\n"), @"
        prog_load allowed by rule 2 (bpf, bpf_prog_load, bpf_prog)
        prog_load with a token allowed by rule 2 (bpf_token_capable)
        ");
        assert_eq!(denied(&lines), None);
    }

    #[test]
    fn a_known_loader_is_named() {
        let mut lines = [true, false].map(|token| line("map-create", "allowed", json!({ "rule": 1, "token": token })));
        for line in &mut lines {
            line.who.loader = Some(Named { number: 0, name: Some("agent".to_owned()) });
        }
        insta::assert_snapshot!(words(&lines).join("\n"), @"
        prog_load by loader agent with a token allowed by rule 1 (bpf_map_create)
        prog_load by loader agent allowed by rule 1 (bpf_map_create)
        ");
    }

    #[test]
    fn a_refusal_has_its_reason() {
        let helper = json!({ "rule": 2, "reason": "helper", "what": { "number": 36, "name": "probe_write_user" } });
        let lines = [
            line("bpf", "would-deny", json!({ "reason": "no-rule" })),
            line("prog-load", "denied", helper),
            line("prog-load", "denied", json!({ "reason": "guarded-function", "what": { "number": 77 } })),
            line("map-create", "denied", json!({ "rule": 1, "reason": "map-entries", "what": { "number": 101 } })),
        ];
        insta::assert_snapshot!(words(&lines).join("\n"), @"
        prog_load would be denied: no rule takes it (bpf)
        prog_load denied by rule 2: helper probe_write_user (bpf_prog_load)
        prog_load denied: guarded function without a name (bpf_prog_load)
        prog_load denied by rule 1: 101 entries (bpf_map_create)
        ");
        assert_eq!(denied(&lines[..2]), Some(("helper probe_write_user".to_owned(), Some(2))));
        assert_eq!(denied(&lines), Some(("101 entries".to_owned(), Some(1))));
    }
}
