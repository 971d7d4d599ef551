//! What QEMU is kept from before it runs: a guest that takes over QEMU must not get further than its own folders.
//!
//! Three layers, each without the others if the host lacks them: QEMU's own filter of system calls (seccomp), Landlock
//! rules for the files that it needs (`Documentation/userspace-api/landlock.rst`), and for root the loss of capabilities.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    io::Errno,
    thread::{CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set, set_no_new_privs},
};
use serde::{Deserialize, Serialize};

/// How a QEMU is confined, beyond `no_new_privs` and the loss of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// Whether QEMU denies itself system calls (`-sandbox`).
    pub seccomp: bool,
    /// Whether Landlock keeps it from files that it does not need.
    pub landlock: bool,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (self.seccomp, self.landlock) {
            (true, true) => "seccomp and Landlock",
            (true, false) => "seccomp",
            (false, true) => "Landlock",
            (false, false) => "nothing",
        })
    }
}

/// The files that a QEMU needs besides its own.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Files that it reads, such as the kernel.
    pub(crate) readable: Vec<PathBuf>,
    /// Folders that it writes: those that the guest sees.
    pub(crate) writable: Vec<PathBuf>,
    /// Folders that it creates sockets in.
    pub(crate) sockets: Vec<PathBuf>,
}

/// The newest Landlock that is used; with an older kernel, what that kernel has.
const ABI: ABI = ABI::V7;

/// What programs and libraries are read from, wherever a distribution has them.
const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/run/current-system"];

/// What QEMU and its libraries read when they start. `/proc/self` is the process that becomes QEMU.
const FACTS: [&str; 12] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/qemu",
    "/etc/ssl/openssl.cnf",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system",
    "/sys/kernel/mm",
    "/dev/random",
    "/dev/urandom",
];

/// Devices that QEMU opens.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/kvm"];

/// The capabilities that 9p uses when root runs QEMU: to give files the owners and modes that a guest chooses.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

impl Confinement {
    /// Returns QEMU's arguments for it: everything that `-sandbox` can deny (`qemu-system-x86_64(1)`).
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self.seccomp {
            true => &["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
            false => &[],
        }
    }

    /// Confines this thread and what it executes, for good. Afterwards only QEMU can be executed.
    ///
    /// # Errors
    /// If the kernel refuses; then nothing must be executed.
    pub(crate) fn apply(self, qemu: &Path, reach: &Reach) -> io::Result<()> {
        set_no_new_privs(true)?;
        give_up_capabilities()?;
        if self.landlock && restrict(qemu, reach).map_err(io::Error::other)? == RulesetStatus::NotEnforced {
            return Err(io::Error::other("the kernel has no Landlock"));
        }
        Ok(())
    }
}

/// Makes root lose all capabilities but [`KEPT`] with the next `execve(2)`. Does nothing for other users, who have none.
fn give_up_capabilities() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for capability in CapabilitySet::all().difference(KEPT) {
        // A capability that this kernel does not know is an error.
        if capability_is_in_bounding_set(capability) != Ok(true) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // This root has lost CAP_SETPCAP already.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn restrict(qemu: &Path, reach: &Reach) -> Result<RulesetStatus, RulesetError> {
    let run = AccessFs::from_read(ABI);
    let read = run & !AccessFs::Execute;
    let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    // A guest needs no devices on the host, and nothing that it writes is executed there.
    let guest =
        AccessFs::from_all(ABI) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI))?
        .handle_access(AccessNet::from_all(ABI))?
        .scope(Scope::from_all(ABI))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, run))?
        .add_rules(path_beneath_rules(own_files(qemu), run))?
        .add_rules(path_beneath_rules(FACTS, read))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .add_rules(path_beneath_rules(&reach.readable, read))?
        .add_rules(path_beneath_rules(&reach.writable, guest))?;
    let ruleset =
        reach.sockets.iter().try_fold(ruleset, |ruleset, folder| within(ruleset, folder, AccessFs::MakeSock.into()))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

fn within(ruleset: RulesetCreated, folder: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(folder) {
        Ok(folder) => ruleset.add_rule(PathBeneath::new(folder, access)),
        Err(_) => Ok(ruleset),
    }
}

/// Returns the program and where it may have its libraries and firmware: beside it, as after a build, or below the same
/// prefix.
fn own_files(qemu: &Path) -> Vec<PathBuf> {
    let program = qemu.canonicalize().unwrap_or_else(|_| qemu.to_owned());
    let mut own = vec![qemu.to_owned(), program.clone()];
    if let Some(folder) = program.parent() {
        own.extend(["pc-bios", "qemu-bundle", "../pc-bios"].map(|name| folder.join(name)));
        own.extend(["../share", "../lib", "../lib64", "../libexec"].map(|name| folder.join(name)));
    }
    own
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::{Command, Output},
        thread,
    };

    use super::*;

    const BOTH: Confinement = Confinement { seccomp: true, landlock: true };

    /// Runs a shell command as if it were QEMU; `None` if this kernel has no Landlock.
    fn confined(command: &str, reach: &Reach) -> Option<Output> {
        let shell = Path::new("/bin/sh");
        thread::scope(|scope| {
            let run = || {
                if restrict(shell, reach).unwrap() == RulesetStatus::NotEnforced {
                    return None;
                }
                BOTH.apply(shell, reach).unwrap();
                Some(Command::new(shell).args(["-c", command]).output().unwrap())
            };
            scope.spawn(run).join().unwrap()
        })
    }

    #[test]
    fn only_the_folders_of_the_guest_can_be_written_and_nothing_else_be_read() {
        let (guest, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (share, secret) = (guest.path().join("share"), host.path().join("secret"));
        fs::create_dir(&share).unwrap();
        fs::write(&secret, "secret").unwrap();
        let reach = Reach { writable: vec![share.clone()], sockets: vec![guest.path().to_owned()], ..Reach::default() };
        let (share, host, secret) = (share.display(), host.path().display(), secret.display());
        let guest = guest.path().display();
        let denied = [
            format!("cat {secret}"),
            format!("echo x > {secret}"),
            format!("echo x > {host}/new"),
            format!("echo x > {guest}/beside"),
            format!("mkdir {host}/folder"),
            format!("rm {secret}"),
            format!("mv {secret} {share}/mine"),
            format!("ln {secret} {share}/mine"),
            format!("mknod {share}/device c 1 3"),
            format!("cat /proc/{}/environ", std::process::id()),
            format!("cp /bin/true {share}/program && chmod +x {share}/program && {share}/program"),
        ];
        for command in denied {
            let Some(output) = confined(&command, &reach) else {
                println!("skipped: this kernel has no Landlock");
                return;
            };
            assert!(!output.status.success(), "{command}: {output:?}");
            let complaint = String::from_utf8_lossy(&output.stderr).to_lowercase();
            let expected = ["permission denied", "not permitted", "cross-device link", "cannot create"];
            assert!(expected.iter().any(|text| complaint.contains(text)), "{command}: {complaint}");
        }
        let allowed = format!(
            "set -e; cd {share}; echo x > file; mkdir a b; echo y > a/file; mv a/file b/file; chmod 700 b; ln -s b link; \
             ln file again; rm -r a b; cat file > /dev/null"
        );
        let output = confined(&allowed, &reach).expect("this kernel has Landlock");
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn root_keeps_the_capabilities_of_9p_alone() {
        let shell = Path::new("/bin/sh");
        let run = || {
            Confinement::default().apply(shell, &Reach::default()).unwrap();
            Command::new(shell).args(["-c", "cat /proc/self/status"]).output().unwrap()
        };
        let output = thread::scope(|scope| scope.spawn(run).join().unwrap());
        let status = String::from_utf8(output.stdout).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("NoNewPrivs:"), "1");
        let effective = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
        assert_eq!(effective & !KEPT.bits(), 0, "{effective:x}");
    }

    #[test]
    fn everything_that_qemu_can_deny_itself_is_denied() {
        assert_eq!(Confinement::default().arguments(), [""; 0]);
        let [_, options] = BOTH.arguments() else { panic!() };
        assert_eq!(options.split(',').filter(|option| option.ends_with("=deny")).count(), 4);
    }
}
