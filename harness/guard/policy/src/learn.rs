//! A policy from records: for each user that they name, a profile with what that user asked for.

mod event;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use guard_record::{Line, Reason, Time, Verdict};

use crate::{
    asked::Asked,
    danger::Danger,
    decision::{Caller, Hook},
    group,
    name::Family,
};
use event::{Obstacle, obstacles};
pub use text::Origin;

/// The inode of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USERNS: u32 = 0xeffffffd;

/// The most programs of a user whose calls are counted by program.
const MOST_PROGRAMS: usize = 64;

/// What rules can tell callers apart by, as far as records have it: a record has the id of a cgroup, and a rule its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// The user id in the initial namespace.
    pub uid: u32,
    /// Whether the user namespace is another one than the initial.
    pub in_userns: bool,
}

impl User {
    fn of(line: &Line) -> Self {
        Self { uid: line.who.uid, in_userns: line.who.userns != INITIAL_USERNS }
    }

    /// A caller that is this user.
    pub fn caller(self) -> Caller {
        Caller { uid: self.uid, loginuid: u32::MAX, initial_userns: !self.in_userns, ..Caller::default() }
    }
}

/// Learns from records.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    allowed: BTreeSet<Danger>,
    /// Whether the guard recorded every call, and counted none only.
    pub all_on_record: bool,
    users: BTreeMap<User, OfUser>,
    /// All records, and those of the guard's own work.
    records: u64,
    of_guard: u64,
    period: Option<(Time, Time)>,
}

/// What the records of a user say.
#[derive(Clone, Debug, Default)]
struct OfUser {
    asked: Asked,
    /// Records that it is learnt from.
    records: u64,
    /// Whether one of its calls was allowed or taken by a rule: calls of commands in `@read` may have been counted only.
    may_read: bool,
    /// Calls by program, of the first programs that made some; and calls of all others.
    programs: BTreeMap<String, u64>,
    of_others: u64,
    left_out: BTreeMap<Obstacle, u64>,
    /// Refused calls, by whether the reason holds whatever the policy says.
    denied: u64,
    hard: BTreeMap<String, u64>,
}

impl Learner {
    /// Begins; what is dangerous is learnt only if it is among these.
    pub fn new(allowed: impl IntoIterator<Item = Danger>) -> Self {
        Self { allowed: allowed.into_iter().collect(), ..Self::default() }
    }

    /// Learns from a record. A call that was refused teaches nothing, nor does one of the guard itself.
    pub fn see(&mut self, line: &Line) {
        self.records += 1;
        let first = self.period.take().map_or_else(|| line.time.clone(), |(first, _)| first);
        self.period = Some((first, line.time.clone()));
        if line.of_guard {
            self.of_guard += 1;
            return;
        }
        let user = self.users.entry(User::of(line)).or_default();
        match line.reason {
            Some(reason) if reason.is_hard() => *user.hard.entry(word(reason)).or_default() += 1,
            _ if line.verdict == Verdict::Denied => user.denied += 1,
            _ => user.learn(line, &self.allowed, self.all_on_record),
        }
    }

    /// What was not learnt though a record asks for it, because a policy has no name for it or a record does not have all of
    /// it: a policy without it refuses what was seen.
    pub fn shortcomings(&self) -> Vec<String> {
        let all =
            self.users.iter().flat_map(|(user, of)| of.left_out.iter().map(move |(what, count)| (user, what, count)));
        let short = all.filter(|(_, what, _)| what.is_shortcoming());
        short.map(|(user, what, count)| format!("{}: {}", text::title(*user), text::counted(*count, what))).collect()
    }

    /// What of the dangerous was asked for and not learnt.
    pub fn dangers(&self) -> BTreeSet<Danger> {
        let all = self.users.values().flat_map(|user| user.left_out.keys());
        all.filter_map(|what| if let Obstacle::Danger(danger) = what { Some(*danger) } else { None }).collect()
    }

    /// Whether a record of something was learnt.
    pub fn is_empty(&self) -> bool {
        self.users.values().all(|user| user.records == 0)
    }

    /// What the users asked for, without what was left out.
    pub fn asked(&self) -> impl Iterator<Item = (User, &Asked)> {
        self.users.iter().filter(|(_, of)| of.records > 0).map(|(user, of)| (*user, &of.asked))
    }

    /// Writes the policy. Its mode is audit.
    pub fn to_toml(&self, origin: &Origin) -> String {
        text::policy(self, origin)
    }
}

impl OfUser {
    fn learn(&mut self, line: &Line, allowed: &BTreeSet<Danger>, all_on_record: bool) {
        let obstacles: Vec<Obstacle> = obstacles(line).into_iter().filter(|what| !what.is_among(allowed)).collect();
        let event = event::of(line).filter(|_| !obstacles.iter().any(Obstacle::is_blocking));
        for obstacle in obstacles {
            *self.left_out.entry(obstacle).or_default() += 1;
        }
        let Some(event) = event else { return };
        self.records += 1;
        if event.hook == Hook::Bpf {
            let path = line.who.exe.as_ref().and_then(|exe| exe.path.clone());
            let program = path.unwrap_or_else(|| format!("{}, whose file is not known", line.who.comm));
            match self.programs.len() < MOST_PROGRAMS || self.programs.contains_key(&program) {
                true => *self.programs.entry(program).or_default() += 1,
                // A process chooses its own name.
                false => self.of_others += 1,
            }
        }
        let named = event::functions(line);
        self.asked.add(&event, |id| named.get(&id).map(|name| (*name).to_owned()));
        self.asked.token_caps.get_or_insert_default();
        if line.reason != Some(Reason::NoRule) && !all_on_record {
            self.may_read = true;
            self.asked.cmds.extend(group::find(Family::Cmd, "@read").into_iter().flat_map(group::Group::numbers));
        }
    }
}

/// The word for a reason in a record.
fn word(reason: Reason) -> String {
    serde_json::to_value(reason).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
