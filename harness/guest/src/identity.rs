//! The identity of an executor: its user, its capabilities, and the proof that it has no more.

use std::collections::BTreeSet;

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Gid, Uid},
    thread::{CapabilitySet, CapabilitySets},
};
use thiserror::Error;

use crate::{
    error::{self, During, SysError},
    pseudofile,
};

/// Why an executor's identity is not the requested one.
#[derive(Debug, Error)]
pub(crate) enum IdentityError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The kernel reports another value than was requested.
    #[error("/proc/self/status shows {field} {found:#x}, expected {expected:#x}")]
    Unproved {
        /// A line of `proc_pid_status(5)`.
        field: &'static str,
        /// The value it shows.
        found: u64,
        /// The expected value.
        expected: u64,
    },
    /// The process belongs to another login than was requested.
    #[error("/proc/self/loginuid shows {shown}, expected {expected}")]
    Login {
        /// What it shows.
        shown: String,
        /// The user.
        expected: u32,
    },
}

/// Becomes a user and group without supplementary groups and capabilities, and proves it.
pub(crate) fn become_unprivileged(uid: u32, gid: u32) -> Result<(), IdentityError> {
    switch(uid, gid)?;
    set_capabilities(CapabilitySet::empty())?;
    // Makes our files that the parent must write, such as /proc/PID/uid_map, belong to us instead of root.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).during(|| "prctl PR_SET_DUMPABLE")?;
    prove_ids(uid, gid)?;
    let status = Status::read()?;
    ["CapInh", "CapPrm", "CapEff", "CapAmb"].iter().try_for_each(|field| status.prove(field, 0))
}

/// Becomes a user and group without supplementary groups in its current user namespace, and proves it. The capabilities
/// stay (`PR_SET_KEEPCAPS`) until [`confine`] drops them.
pub(crate) fn become_user(uid: u32, gid: u32) -> Result<(), IdentityError> {
    rustix::thread::set_keep_capabilities(true).during(|| "prctl PR_SET_KEEPCAPS")?;
    switch(uid, gid)?;
    let permitted = rustix::thread::capabilities(None).during(|| "capget")?.permitted;
    set_capabilities(permitted)?;
    // Makes its own files in /proc belong to it instead of root.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).during(|| "prctl PR_SET_DUMPABLE")?;
    prove_ids(uid, gid)
}

/// Makes the process one of a user's login (`/proc/PID/loginuid`, `proc_pid_loginuid(5)`), and proves it.
pub(crate) fn log_in(uid: u32) -> Result<(), IdentityError> {
    const LOGIN: &str = "/proc/self/loginuid";
    pseudofile::write(LOGIN, &uid.to_string())?;
    match pseudofile::read(LOGIN)?.trim() {
        shown if shown == uid.to_string() => Ok(()),
        shown => Err(IdentityError::Login { shown: shown.to_owned(), expected: uid }),
    }
}

fn switch(uid: u32, gid: u32) -> Result<(), SysError> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[]).during(|| "setgroups")?;
    rustix::thread::set_thread_res_gid(group, group, group).during(|| format!("setresgid {gid}"))?;
    rustix::thread::set_thread_res_uid(user, user, user).during(|| format!("setresuid {uid}"))
}

fn prove_ids(uid: u32, gid: u32) -> Result<(), IdentityError> {
    let status = Status::read()?;
    status.prove("Uid", u64::from(uid))?;
    status.prove("Gid", u64::from(gid))
}

/// Reduces the bounding, permitted and effective sets to `caps`, clears the inheritable and ambient ones, and proves
/// it. Secure bits and `PR_SET_KEEPCAPS` stay: they matter to `execve(2)` and `setuid(2)`, and an executor calls
/// neither again.
pub(crate) fn confine(caps: &[u32]) -> Result<(), IdentityError> {
    let all = Status::read()?.field("CapPrm");
    let kept = mask_of(caps) & all;
    // A kernel without ambient capabilities has nothing to clear.
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

/// The effective capabilities of a process that has more permitted: the kernel checks the effective set (`cap_capable`
/// in `security/commoncap.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    permitted: CapabilitySet,
    now: CapabilitySet,
}

impl Effective {
    /// Returns those of the calling process.
    pub(crate) fn of_self() -> Result<Self, SysError> {
        let sets = rustix::thread::capabilities(None).during(|| "capget")?;
        Ok(Self { permitted: sets.permitted, now: sets.effective })
    }

    /// Makes exactly these effective, as far as they are permitted; all permitted ones if `None`.
    pub(crate) fn set(&mut self, mask: Option<u64>) -> Result<(), SysError> {
        let wanted = mask.map_or(self.permitted, |mask| self.permitted & CapabilitySet::from_bits_retain(mask));
        if wanted == self.now {
            return Ok(());
        }
        let sets = CapabilitySets { effective: wanted, permitted: self.permitted, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets).during(|| format!("capset effective {:#x}", wanted.bits()))?;
        self.now = wanted;
        Ok(())
    }
}

/// Converts capability numbers to a mask.
pub(crate) fn mask_of(caps: &[u32]) -> u64 {
    caps.iter().filter_map(|cap| 1u64.checked_shl(*cap)).fold(0, |mask, cap| mask | cap)
}

/// Does the same as [`become_root_of_namespace`] in a namespace that systemd made. If it maps no id to root, the caller
/// keeps its user, but has every capability as well.
pub(crate) fn become_root_if_there_is_one() -> Result<(), IdentityError> {
    match become_root_of_namespace() {
        Err(IdentityError::Sys(error)) if error.call == SET_GID && error.errno == error::errno(Errno::INVAL) => {}
        other => other?,
    }
    prove_all_capabilities()
}

/// Becomes root of the user namespace that the caller has just entered with every capability, and proves it.
pub(crate) fn become_root_of_namespace() -> Result<(), IdentityError> {
    // systemd forbids it permanently in the user namespaces it makes (`/proc/PID/setgroups`, `user_namespaces(7)`).
    match rustix::thread::set_thread_groups(&[]) {
        Err(Errno::PERM) => {}
        other => other.during(|| "setgroups")?,
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).during(|| SET_GID)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).during(|| "setresuid 0")?;
    Status::read()?.prove("Uid", 0)?;
    prove_all_capabilities()
}

/// The first call whose id must be mapped.
const SET_GID: &str = "setresgid 0";

fn prove_all_capabilities() -> Result<(), IdentityError> {
    let status = Status::read()?;
    let all = status.field("CapBnd");
    ["CapPrm", "CapEff"].iter().try_for_each(|field| status.prove(field, all))
}

/// Returns the permitted capabilities of the calling process, as numbers, and whether it has a system call filter
/// (`Seccomp:` in `proc_pid_status(5)`).
pub(crate) fn of_self() -> Result<(Vec<u32>, bool), SysError> {
    let status = Status::read()?;
    let permitted = status.field("CapPrm");
    let caps = (0..u64::BITS).filter(|number| permitted & (1 << number) != 0).collect();
    Ok((caps, status.field("Seccomp") == 2))
}

fn set_capabilities(kept: CapabilitySet) -> Result<(), SysError> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).during(|| format!("capset {:#x}", kept.bits()))
}

/// The contents of `/proc/self/status`.
struct Status(String);

impl Status {
    fn read() -> Result<Self, SysError> {
        pseudofile::read("/proc/self/status").map(Self)
    }

    /// Returns the first number of a line: the real one of ids, the mask of capability sets. A missing line counts as
    /// the full mask, so that its absence proves nothing.
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

/// The ids that a user namespace maps, as text for `/proc/PID/uid_map` or `gid_map` (`user_namespaces(7)`). Every
/// namespace has the ids 0 to 65535, so that any of them can become root of a namespace within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    /// The first id of each extent.
    starts: BTreeSet<u32>,
    text: String,
}

/// How many ids a container has.
const IDS: u32 = 65536;

impl IdMap {
    /// Makes the map of a namespace within the initial one: `id` becomes 0, the others are ids that nobody else has.
    pub(crate) fn from_initial(id: u32) -> Self {
        Self { starts: [0, 1].into(), text: format!("0 {id} 1\n1 {} {}\n", unused_range(id), IDS - 1) }
    }

    /// Makes the map of a namespace within this one: `id` and 0 trade places, the others stay. An extent must lie
    /// within one of the outer namespace (`map_id_range_down`, `kernel/user_namespace.c`), so all of them are split
    /// again.
    pub(crate) fn within(&self, id: u32) -> Self {
        let cuts = [0, 1, id, id.saturating_add(1)].into_iter().filter(|start| *start < IDS);
        let starts: BTreeSet<u32> = self.starts.iter().copied().chain(cuts).collect();
        let ends = starts.iter().copied().skip(1).chain([IDS]);
        let extent = |(start, end)| match start {
            0 => format!("0 {id} 1\n"),
            start if start == id => format!("{id} 0 1\n"),
            start => format!("{start} {start} {}\n", end - start),
        };
        let text = starts.iter().copied().zip(ends).map(extent).collect();
        Self { starts, text }
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Returns the start of [`IDS`] ids that do not include `id`.
fn unused_range(id: u32) -> u32 {
    const START: u32 = 1 << 30;
    if (START..START + IDS).contains(&id) { START + IDS } else { START }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starting_user_becomes_root() {
        assert_eq!(IdMap::from_initial(1000).text(), "0 1000 1\n1 1073741824 65535\n");
        assert_eq!(IdMap::from_initial(1 << 30).text(), "0 1073741824 1\n1 1073807360 65535\n");
    }

    #[test]
    fn namespaces_within_swap_ids_and_respect_the_extents_around_them() {
        let outer = IdMap::from_initial(1000);
        assert_eq!(outer.within(0).text(), "0 0 1\n1 1 65535\n");
        assert_eq!(outer.within(1).text(), "0 1 1\n1 0 1\n2 2 65534\n");
        assert_eq!(outer.within(65535).text(), "0 65535 1\n1 1 65534\n65535 0 1\n");
        let inner = outer.within(1000);
        assert_eq!(inner.text(), "0 1000 1\n1 1 999\n1000 0 1\n1001 1001 64535\n");
        let innermost = "0 5 1\n1 1 4\n5 0 1\n6 6 994\n1000 1000 1\n1001 1001 64535\n";
        assert_eq!(inner.within(5).text(), innermost);
        assert_eq!(outer.within(70000).text(), "0 70000 1\n1 1 65535\n");
    }

    #[test]
    fn a_status_proves_only_what_it_says() {
        let status = Status("Uid:\t1000\t0\t0\t0\nCapPrm:\t000001ffffffffff\n".to_owned());
        assert_eq!(status.field("Uid"), 1000);
        assert_eq!(status.field("CapPrm"), 0x1ff_ffff_ffff);
        assert!(status.prove("CapEff", 0).is_err());
        let error = status.prove("CapPrm", 0).unwrap_err();
        assert_eq!(error.to_string(), "/proc/self/status shows CapPrm 0x1ffffffffff, expected 0x0");
    }
}
