//! The policy as text.

use std::fmt::{self, Write as _};

use guard_record::Time;

use super::{Learner, OfUser, User};
use crate::{group, name::Family};

/// The most programs that are named as callers.
const MOST_CALLERS: usize = 8;

/// Where records come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// What was read, such as the paths of a log.
    pub from: Vec<String>,
    /// The releases of kernels.
    pub kernels: Vec<String>,
    /// Records that are missing, and why: a policy without them may refuse what was asked.
    pub missing: Vec<String>,
    /// What else is to be known about the records.
    pub notes: Vec<String>,
}

pub(super) fn policy(learner: &Learner, origin: &Origin) -> String {
    let mut text = String::new();
    head(&mut text, learner, origin);
    let _ = write!(
        text,
        "version = 1\n\
         # What is not learnt yet is recorded as `would-deny` and goes on. Once a while has passed without such a record,\n\
         # make it \"enforce\".\n\
         mode = \"audit\"\n"
    );
    for (user, of) in &learner.users {
        let _ = write!(text, "\n{}", section(*user, of));
    }
    text
}

fn head(text: &mut String, learner: &Learner, origin: &Origin) {
    let _ = writeln!(text, "# Learnt by bpf-guard from {}", plural(learner.records, "record"));
    if let Some((first, last)) = &learner.period {
        let _ = writeln!(text, "# from {} to {}", shown_time(first), shown_time(last));
    }
    for (what, list) in [("of", &origin.from), ("of kernel", &origin.kernels)] {
        list.iter().for_each(|one| comment(text, "", &format!("{what} {one}")));
    }
    if learner.of_guard > 0 {
        let _ = writeln!(text, "# Not counting the guard's own work: {}.", plural(learner.of_guard, "record"));
    }
    origin.notes.iter().for_each(|note| comment(text, "", note));
    let shortcomings = learner.shortcomings();
    if !origin.missing.is_empty() || !shortcomings.is_empty() {
        let _ = writeln!(text, "#\n# INCOMPLETE: this policy may refuse what was asked for in that time.");
        origin.missing.iter().chain(&shortcomings).for_each(|line| comment(text, "    ", line));
    }
    let _ = writeln!(
        text,
        "#\n# A record says what was asked, not whether it was right: read each profile before you enforce it.\n"
    );
}

fn section(user: User, of: &OfUser) -> String {
    let mut text = String::new();
    let name = name(user);
    comment(&mut text, "", &format!("{}: {}", title(user), plural(of.records, "record")));
    let mut callers: Vec<(&String, &u64)> = of.programs.iter().collect();
    callers.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
    for (program, calls) in callers.iter().take(MOST_CALLERS) {
        comment(&mut text, "    ", &format!("{} by {program}", plural(**calls, "call")));
    }
    let more: u64 = callers.iter().skip(MOST_CALLERS).map(|(_, calls)| **calls).sum::<u64>() + of.of_others;
    if more > 0 {
        comment(&mut text, "    ", &format!("{} by other programs", plural(more, "call")));
    }
    refusals(&mut text, of);
    if of.records == 0 {
        return text;
    }
    if of.may_read {
        comment(&mut text, "", "`@read` is there because calls of such commands may have been counted only.");
    }
    let read: Vec<String> = group::find(Family::Helper, "@read_memory_of_others")
        .into_iter()
        .flat_map(group::Group::numbers)
        .filter(|helper| of.asked.helpers.contains(helper))
        .map(|helper| Family::Helper.shown(helper))
        .collect();
    if !read.is_empty() {
        comment(&mut text, "", &format!("Reads memory of the kernel or of any process: {}.", read.join(", ")));
    }
    text += &of.asked.to_toml(&name);
    let userns = if user.in_userns { "not-initial" } else { "initial" };
    let _ = write!(text, "\n[[rule]]\nuid = {}\nuserns = \"{userns}\"\nprofile = \"{name}\"\n", user.uid);
    text
}

/// What was refused or left out.
fn refusals(text: &mut String, of: &OfUser) {
    if of.denied > 0 {
        let what = plural(of.denied, "refused call");
        comment(text, "", &format!("Nothing is learnt from {what}: learn while the policy in force audits."));
    }
    for (reason, count) in &of.hard {
        let what = plural(*count, "call");
        comment(text, "", &format!("Nothing is learnt from {what} that no policy allows: {reason}."));
    }
    let (short, left): (Vec<_>, Vec<_>) = of.left_out.iter().partition(|(what, _)| what.is_shortcoming());
    for (title, list) in [
        ("Left out, with all that these calls ask for besides:", left),
        ("Left out because it cannot be learnt:", short),
    ] {
        if !list.is_empty() {
            comment(text, "", title);
            list.into_iter().for_each(|(what, count)| comment(text, "    ", &counted(*count, what)));
        }
    }
}

/// A line of a comment. What callers chose may be part of it.
fn comment(text: &mut String, indent: &str, line: &str) {
    let line: String = line
        .chars()
        .flat_map(|c| match c {
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => c.escape_default().collect::<Vec<char>>(),
            c => vec![c],
        })
        .collect();
    let _ = writeln!(text, "# {indent}{line}");
}

pub(super) fn counted(count: u64, what: impl fmt::Display) -> String {
    format!("{}: {what}", plural(count, "time"))
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A user in words.
pub(super) fn title(user: User) -> String {
    let userns = if user.in_userns { "other user namespaces" } else { "the initial user namespace" };
    format!("User {} in {userns}", user.uid)
}

fn name(user: User) -> String {
    format!("uid-{}{}", user.uid, if user.in_userns { "-userns" } else { "" })
}

fn shown_time(time: &Time) -> String {
    time.utc.clone().unwrap_or_else(|| format!("{} s after boot", time.boot_ns / 1_000_000_000))
}
