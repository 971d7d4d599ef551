//! `SystemCallFilter=` (`src/core/load-fragment.c`, `config_parse_syscall_filter`), as far as tokens depend on it.

use std::{collections::BTreeMap, ops::Range};

use super::words::{self, BLANKS};
use crate::{execution_context::SystemCall, source::Location};

/// The filter while assignments are applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(Option<List>);

#[derive(Clone, Debug)]
struct List {
    allows: bool,
    location: Location,
    /// The calls on the list: whether each has its own error number, and the assignment that added it.
    calls: BTreeMap<SystemCall, (Errno, Location)>,
    /// The assignment that removed a call from a list of allowed ones.
    taken: BTreeMap<SystemCall, Location>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errno {
    Default,
    Own,
}

/// A word that systemd ignores.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ignored {
    pub(super) span: Range<usize>,
    pub(super) why: &'static str,
}

impl Filter {
    /// Applies an assignment at this location, and returns the words that systemd ignores.
    pub(super) fn assign(&mut self, value: &str, location: &Location) -> Vec<Ignored> {
        if value.is_empty() {
            self.0 = None;
            return Vec::new();
        }
        let (inverted, text) = value.strip_prefix('~').map_or((false, value), |text| (true, text));
        let skipped = value.len() - text.len();
        let first =
            || List { allows: !inverted, location: location.clone(), calls: BTreeMap::new(), taken: BTreeMap::new() };
        let list = self.0.get_or_insert_with(first);
        let (words, dangling) = words::plain(text, &BLANKS);
        let mut ignored = Vec::new();
        for word in words {
            if let Err(why) = list.take(&word.text, inverted, location) {
                ignored.push(Ignored { span: word.span.start + skipped..word.span.end + skipped, why });
            }
        }
        if dangling.is_some() {
            ignored.push(Ignored { span: value.len() - 1..value.len(), why: "a value must not end in a backslash" });
        }
        ignored
    }

    /// Returns the calls it refuses, each with the assignment that refuses it.
    pub(super) fn refused(&self) -> BTreeMap<SystemCall, Location> {
        let Some(list) = &self.0 else { return BTreeMap::new() };
        SystemCall::ALL.into_iter().filter_map(|call| Some((call, list.refuses(call)?))).collect()
    }
}

impl List {
    fn take(&mut self, word: &str, inverted: bool, location: &Location) -> Result<(), &'static str> {
        let (name, errno) = match word.split_once(':') {
            Some((_, errno)) if !is_errno(errno) => return Err("the text after the colon is not an error number"),
            Some(_) if !inverted => return Err("an allowed system call cannot have an error number"),
            Some((name, _)) => (name, Errno::Own),
            None => (word, Errno::Default),
        };
        for call in SystemCall::ALL.into_iter().filter(|call| call.is_meant_by(name)) {
            if inverted != self.allows || errno == Errno::Own {
                self.calls.insert(call, (errno, location.clone()));
            } else {
                self.calls.remove(&call);
                self.taken.insert(call, location.clone());
            }
        }
        Ok(())
    }

    fn refuses(&self, call: SystemCall) -> Option<Location> {
        match (self.allows, self.calls.get(&call)) {
            (true, Some((Errno::Own, location))) | (false, Some((_, location))) => Some(location.clone()),
            (true, None) => Some(self.taken.get(&call).unwrap_or(&self.location).clone()),
            (true, Some(_)) | (false, None) => None,
        }
    }
}

impl SystemCall {
    fn is_meant_by(self, name: &str) -> bool {
        name == self.name() || name == self.group() || name == "@known"
    }
}

/// Whether this is the name or number of an error, or `kill` (`src/shared/seccomp-util.h`, `parse_syscall_and_errno`).
fn is_errno(text: &str) -> bool {
    let named =
        text.strip_prefix('E').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()));
    text == "kill" || named || text.parse::<u32>().is_ok_and(|number| number <= 4095)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(values: &[&str]) -> Vec<(SystemCall, usize)> {
        let mut filter = Filter::default();
        for (line, value) in values.iter().enumerate() {
            filter.assign(value, &Location { source: 0, span: line..line });
        }
        filter.refused().into_iter().map(|(call, location)| (call, location.span.start)).collect()
    }

    const MOUNT: [SystemCall; 4] =
        [SystemCall::Fsopen, SystemCall::Fsconfig, SystemCall::Fsmount, SystemCall::MoveMount];

    #[test]
    fn a_list_allows_or_refuses_its_calls() {
        assert_eq!(refused(&[]), []);
        assert_eq!(refused(&["@system-service"]).len(), SystemCall::ALL.len());
        assert_eq!(refused(&["@system-service", "bpf @mount @debug"]), []);
        assert_eq!(refused(&["~@mount"]), MOUNT.map(|call| (call, 0)));
        assert_eq!(refused(&["~@privileged @clock", "bpf"]), []);
        assert_eq!(refused(&["@known", "~bpf"]), [(SystemCall::Bpf, 1)]);
        assert_eq!(refused(&["@known", "~bpf:EPERM"]), [(SystemCall::Bpf, 1)]);
        assert_eq!(refused(&["~bpf", ""]), []);
        assert_eq!(refused(&["~bpf", "~@debug"]), [(SystemCall::Bpf, 0), (SystemCall::PerfEventOpen, 1)]);
    }

    #[test]
    fn ignored_words_are_returned() {
        let location = Location { source: 0, span: 0..0 };
        let mut filter = Filter::default();
        let ignored = filter.assign("@known bpf:EPERM", &location);
        assert_eq!((ignored.len(), ignored[0].span.clone()), (1, 7..16));
        assert_eq!(filter.assign("~bpf:x", &location)[0].span, 1..6);
        assert!(filter.refused().is_empty());
    }
}
