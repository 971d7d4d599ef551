//! Why an attempt was denied, with the names of the kernel that denied it.

use std::fmt;

use harness_protocol::outcome::{Cause, Change};
use harness_uapi::{
    capability,
    vocabulary::{Kind, Vocabulary},
};

/// The cause of a denial, with the booted kernel's names in place of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// With all of these the kernel did it; with any of them left out it did not.
    Missing {
        /// What the actor lacks, such as `token`, `maps array` or `CAP_BPF`.
        gifts: Vec<String>,
        /// What blocks the actor, such as `a system call filter`.
        obstacles: Vec<&'static str>,
    },
    /// The guard refuses it, and the kernel does it without the guard.
    Guard {
        /// What it refuses, such as `helper probe_write_user`.
        what: String,
        /// The number of the policy's rule, if one takes the call.
        rule: Option<u16>,
    },
    /// The kernel does not do it, whatever a container is given.
    NotDelegable,
    /// The cause was not found, for this reason.
    Unknown(String),
}

impl Reason {
    /// Returns the cause with the names of this kernel. The order of its parts does not depend on how it was found.
    pub fn of(cause: &Cause, vocabulary: &Vocabulary) -> Self {
        let changes = match cause {
            Cause::NotDelegable => return Self::NotDelegable,
            Cause::Unknown(why) => return Self::Unknown(why.clone()),
            Cause::Missing(changes) => changes,
        };
        let mut gifts: Vec<((u8, u64), String)> = Vec::new();
        let mut obstacles = Vec::new();
        for change in changes {
            match change {
                Change::NoLsm => obstacles.push("an LSM program"),
                Change::NoSeccomp => obstacles.push("a system call filter"),
                Change::NoGuard => obstacles.push(GUARD),
                gift => gifts.push((rank(gift), word(gift, vocabulary))),
            }
        }
        gifts.sort();
        obstacles.sort_unstable();
        Self::Missing { gifts: gifts.into_iter().map(|(_, word)| word).collect(), obstacles }
    }

    /// Puts what the guard denied in the place of a cause that is the guard.
    pub(crate) fn by_guard(self, denied: Option<(String, Option<u16>)>) -> Self {
        match (self, denied) {
            (Self::Missing { gifts, obstacles }, Some((what, rule))) if gifts.is_empty() && obstacles == [GUARD] => {
                Self::Guard { what, rule }
            }
            (other, _) => other,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard { what, rule: Some(rule) } => write!(f, "guard: {what} (rule {rule})"),
            Self::Guard { what, rule: None } => write!(f, "guard: {what}"),
            Self::NotDelegable => write!(f, "not delegable"),
            Self::Unknown(why) => write!(f, "cause not found: {why}"),
            Self::Missing { gifts, obstacles } => {
                let lacks = (!gifts.is_empty()).then(|| format!("lacks {}", gifts.join(" + ")));
                let barred = (!obstacles.is_empty()).then(|| format!("{} is in the way", obstacles.join(" and ")));
                let parts: Vec<String> = lacks.into_iter().chain(barred).collect();
                write!(f, "{}", parts.join(", "))
            }
        }
    }
}

/// The guard, where its record does not say more.
const GUARD: &str = "the guard";

/// Returns the sort key of a part: the token first, then bits in the order of the options, capabilities, settings.
fn rank(change: &Change) -> (u8, u64) {
    match change {
        Change::Token | Change::Bpffs => (0, 0),
        Change::Delegate { option, bit } => {
            let kind = kind_of(option).map_or(Kind::ALL.len(), |kind| kind as usize);
            (1, (kind as u64) << 32 | u64::from(*bit))
        }
        Change::Capability(number) => (2, u64::from(*number)),
        Change::Sysctl { .. } => (3, 0),
        Change::NoLsm | Change::NoGuard | Change::NoSeccomp => (4, 0),
    }
}

fn word(change: &Change, vocabulary: &Vocabulary) -> String {
    match change {
        Change::Token => "token".to_owned(),
        Change::Bpffs => "own bpffs".to_owned(),
        Change::Delegate { option, bit } => bit_word(option, *bit, vocabulary),
        Change::Capability(number) => capability_word(*number),
        Change::Sysctl { name, value } => format!("{name}={value}"),
        Change::NoLsm | Change::NoGuard | Change::NoSeccomp => String::new(),
    }
}

fn kind_of(option: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| harness_uapi::delegation::option_of(*kind) == option)
}

fn bit_word(option: &str, bit: u32, vocabulary: &Vocabulary) -> String {
    match kind_of(option).map(|kind| (kind, vocabulary.table(kind).name(bit))) {
        Some((kind, Some(name))) => format!("{} {name}", kind.plural()),
        Some((kind, None)) => format!("{} bit {bit}", kind.plural()),
        None => format!("{option} bit {bit}"),
    }
}

/// Returns a capability's name as `capabilities(7)` writes it.
fn capability_word(number: u32) -> String {
    let name = usize::try_from(number).ok().and_then(|number| capability::NAMES.get(number));
    name.map_or_else(|| format!("capability {number}"), |name| format!("CAP_{}", name.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(changes: &[Change]) -> String {
        let vocabulary = serde_json::from_str(include_str!("../../../kernels/vocabulary/7.3.json")).unwrap();
        Reason::of(&Cause::Missing(changes.to_vec()), &vocabulary).to_string()
    }

    fn bit(option: &str, bit: u32) -> Change {
        Change::Delegate { option: option.to_owned(), bit }
    }

    #[test]
    fn bits_and_capabilities_have_the_kernels_names() {
        assert_eq!(shown(&[bit("delegate_maps", 2)]), "lacks maps array");
        assert_eq!(shown(&[bit("delegate_maps", 63)]), "lacks maps bit 63");
        assert_eq!(shown(&[Change::Capability(39)]), "lacks CAP_BPF");
        assert_eq!(shown(&[Change::Capability(63)]), "lacks capability 63");
        let setting = Change::Sysctl { name: "kernel.x".into(), value: "0".into() };
        assert_eq!(shown(&[setting]), "lacks kernel.x=0");
    }

    #[test]
    fn the_order_they_were_found_in_does_not_show() {
        let mut changes =
            vec![Change::Capability(39), Change::NoSeccomp, bit("delegate_progs", 1), bit("delegate_cmds", 5)];
        changes.extend([Change::Capability(12), Change::Token]);
        let text = shown(&changes);
        changes.reverse();
        assert_eq!(shown(&changes), text);
        assert_eq!(
            text,
            "lacks token + cmds prog_load + progs socket_filter + CAP_NET_ADMIN + CAP_BPF, a system call filter is in \
             the way"
        );
        assert_eq!(shown(&[Change::NoLsm]), "an LSM program is in the way");
    }

    #[test]
    fn a_denial_by_the_guard_names_what_it_refuses() {
        let guard = || Reason::Missing { gifts: vec![], obstacles: vec![GUARD] };
        assert_eq!(guard().by_guard(None).to_string(), "the guard is in the way");
        let helper = |rule| Some(("helper probe_write_user".to_owned(), rule));
        assert_eq!(guard().by_guard(helper(Some(2))).to_string(), "guard: helper probe_write_user (rule 2)");
        assert_eq!(guard().by_guard(helper(None)).to_string(), "guard: helper probe_write_user");
        let other = Reason::Missing { gifts: vec!["token".to_owned()], obstacles: vec![] };
        assert_eq!(other.clone().by_guard(helper(None)), other, "the kernel would refuse it without the guard, too");
    }

    #[test]
    fn what_cannot_be_given_is_said() {
        let vocabulary = serde_json::from_str(include_str!("../../../kernels/vocabulary/7.3.json")).unwrap();
        assert_eq!(Reason::of(&Cause::NotDelegable, &vocabulary).to_string(), "not delegable");
        let unknown = Reason::of(&Cause::Unknown("too many".into()), &vocabulary);
        assert_eq!(unknown.to_string(), "cause not found: too many");
    }
}
