//! Who an agent is: its user, its capabilities, and the proof that it is no more than that.

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Gid, Uid},
    thread::{CapabilitySet, CapabilitySets},
};
use thiserror::Error;

use crate::{
    error::{During, SysError},
    pseudofile,
};

/// Why an agent is not who it should be.
#[derive(Debug, Error)]
pub(crate) enum IdentityError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The kernel says otherwise than asked.
    #[error("/proc/self/status has {field} {found:#x} where {expected:#x} was asked for")]
    Unproved {
        /// A line of `proc_pid_status(5)`.
        field: &'static str,
        /// What it says.
        found: u64,
        /// What it should say.
        expected: u64,
    },
}

/// Becomes a user and group without other groups and without any capability, and proves it.
pub(crate) fn become_unprivileged(uid: u32, gid: u32) -> Result<(), IdentityError> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[]).during(|| "setgroups")?;
    rustix::thread::set_thread_res_gid(group, group, group).during(|| format!("setresgid {gid}"))?;
    rustix::thread::set_thread_res_uid(user, user, user).during(|| format!("setresuid {uid}"))?;
    set_capabilities(CapabilitySet::empty())?;
    // What the parent must write of ours, such as /proc/PID/uid_map, belongs to us instead of to root again.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).during(|| "prctl PR_SET_DUMPABLE")?;
    let status = Status::read()?;
    status.prove("Uid", u64::from(uid))?;
    status.prove("Gid", u64::from(gid))?;
    ["CapInh", "CapPrm", "CapEff", "CapAmb"].iter().try_for_each(|field| status.prove(field, 0))
}

/// Reduces the bounding, permitted and effective sets to `caps`, the inheritable and ambient ones to nothing, and
/// proves it. Secure bits and `PR_SET_KEEPCAPS` stay untouched: they matter to `execve(2)` and `setuid(2)`, neither of
/// which an agent calls again.
pub(crate) fn confine(caps: &[u32]) -> Result<(), IdentityError> {
    let all = Status::read()?.field("CapPrm");
    let kept = caps.iter().filter_map(|cap| 1u64.checked_shl(*cap)).fold(0, |kept, cap| kept | cap) & all;
    // A kernel without ambient capabilities has none to clear.
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        failed => failed.during(|| "prctl PR_CAP_AMBIENT_CLEAR_ALL")?,
    }
    for number in (0..u64::BITS).filter(|number| all & !kept & (1 << number) != 0) {
        rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number))
            .during(|| format!("prctl PR_CAPBSET_DROP {number}"))?;
    }
    set_capabilities(CapabilitySet::from_bits_retain(kept))?;
    let status = Status::read()?;
    ["CapInh", "CapAmb"].iter().try_for_each(|field| status.prove(field, 0))?;
    ["CapPrm", "CapEff", "CapBnd"].iter().try_for_each(|field| status.prove(field, kept))
}

fn set_capabilities(kept: CapabilitySet) -> Result<(), SysError> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).during(|| format!("capset {:#x}", kept.bits()))
}

/// The text of `/proc/self/status`.
struct Status(String);

impl Status {
    fn read() -> Result<Self, SysError> {
        pseudofile::read("/proc/self/status").map(Self)
    }

    /// The first number of a line: for ids the real one, for capability sets the mask; the widest mask if the line is
    /// missing, so that nothing is proved by its absence.
    fn field(&self, name: &str) -> u64 {
        let radix = if name.starts_with("Cap") { 16 } else { 10 };
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next())
            .and_then(|number| u64::from_str_radix(number, radix).ok())
            .unwrap_or(u64::MAX)
    }

    fn prove(&self, field: &'static str, expected: u64) -> Result<(), IdentityError> {
        let found = self.field(field);
        if found == expected { Ok(()) } else { Err(IdentityError::Unproved { field, found, expected }) }
    }
}

/// Which ids a user namespace maps, as text for `/proc/PID/uid_map` or `gid_map` (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdMap {
    /// From the initial namespace: `id` becomes 0, and 1 to 65535 are ids that nobody else has.
    FromInitial {
        /// Becomes root.
        id: u32,
    },
    /// From a namespace that [`IdMap::FromInitial`] made, or this: `id` and 0 change places, the rest stays.
    FromContainer {
        /// Becomes root.
        id: u32,
    },
}

/// How many ids a container has.
const IDS: u32 = 65536;

impl IdMap {
    /// The text.
    pub(crate) fn text(self) -> String {
        let extents = match self {
            Self::FromInitial { id } => vec![(0, id, 1), (1, unused_range(id), IDS - 1)],
            Self::FromContainer { id: 0 } => vec![(0, 0, IDS)],
            Self::FromContainer { id } => {
                vec![(0, id, 1), (id, 0, 1), (1, 1, id - 1), (id + 1, id + 1, IDS.saturating_sub(id + 1))]
            }
        };
        let lines = extents.iter().filter(|(_, _, count)| *count > 0);
        lines.map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect()
    }
}

/// The start of [`IDS`] ids without `id` among them.
fn unused_range(id: u32) -> u32 {
    const START: u32 = 1 << 30;
    if (START..START + IDS).contains(&id) { START + IDS } else { START }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starting_user_becomes_root() {
        assert_eq!(IdMap::FromInitial { id: 1000 }.text(), "0 1000 1\n1 1073741824 65535\n");
        assert_eq!(IdMap::FromInitial { id: 1 << 30 }.text(), "0 1073741824 1\n1 1073807360 65535\n");
        assert_eq!(IdMap::FromContainer { id: 0 }.text(), "0 0 65536\n");
        assert_eq!(IdMap::FromContainer { id: 1000 }.text(), "0 1000 1\n1000 0 1\n1 1 999\n1001 1001 64535\n");
        assert_eq!(IdMap::FromContainer { id: 1 }.text(), "0 1 1\n1 0 1\n2 2 65534\n");
        assert_eq!(IdMap::FromContainer { id: 65535 }.text(), "0 65535 1\n65535 0 1\n1 1 65534\n");
    }

    #[test]
    fn a_status_proves_only_what_it_says() {
        let status = Status("Uid:\t1000\t0\t0\t0\nCapPrm:\t000001ffffffffff\n".to_owned());
        assert_eq!(status.field("Uid"), 1000);
        assert_eq!(status.field("CapPrm"), 0x1ff_ffff_ffff);
        assert!(status.prove("CapEff", 0).is_err());
        let error = status.prove("CapPrm", 0).unwrap_err();
        assert_eq!(error.to_string(), "/proc/self/status has CapPrm 0x1ffffffffff where 0x0 was asked for");
    }
}
