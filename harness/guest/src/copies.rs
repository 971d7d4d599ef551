//! Copies of the guest program: files that attempts execute, so that the guard finds out whether it knows them.

mod verity;

use std::{
    fs,
    io::{self, Write},
    os::{
        fd::BorrowedFd,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use harness_protocol::plan::{COPIES, DIGEST_OF_COPIES, Guard, GuestCopy};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sha2::{Digest, Sha256};

use crate::process;

/// The guest program itself.
pub(crate) const OWN: &str = "/proc/self/exe";

/// The descriptor that is passed to an executed copy.
pub(crate) const PASSED: i32 = 3;

/// Copies on a file system of their own, until dropped.
#[derive(Debug)]
pub(crate) struct Copies(());

impl Copies {
    /// Makes those of a guard, if it has any, before it is loaded.
    pub(crate) fn make(guard: &Guard) -> io::Result<Option<Self>> {
        if guard.copies.is_empty() {
            return Ok(None);
        }
        fs::create_dir_all(COPIES)?;
        match verified(guard) {
            Some(_) => verity::mount_at(COPIES)?,
            None => mount("copies", COPIES, "tmpfs", MountFlags::empty(), Some(c"mode=755"))?,
        }
        let made = Self(());
        for (name, copy) in &guard.copies {
            write(&path(name), *copy == GuestCopy::Longer)?;
            if *copy == GuestCopy::Verity {
                verity::enable(&path(name))?;
            }
        }
        Ok(Some(made))
    }

    /// Changes what changes once the guard is in force.
    pub(crate) fn change(guard: &Guard) -> io::Result<()> {
        for (name, copy) in &guard.copies {
            match copy {
                GuestCopy::Same | GuestCopy::Longer | GuestCopy::Verity => {}
                GuestCopy::Written => fs::OpenOptions::new().append(true).open(path(name))?.write_all(&[0])?,
                GuestCopy::Replaced => {
                    // Made while the first is there, so that it is another inode.
                    let other = path(&format!("{name}.new"));
                    write(&other, false)?;
                    fs::rename(other, path(name))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the inodes of a guard's copies and of the guest program, by which records show its processes.
    pub(crate) fn inodes(guard: &Guard) -> io::Result<Vec<u64>> {
        let files = guard.copies.keys().map(|name| path(name)).chain([PathBuf::from(OWN)]);
        files.map(|file| Ok(fs::metadata(file)?.ino())).collect()
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // Containers of controls may keep the mount for longer, but not the memory.
        let _ = fs::read_dir(COPIES).map(|files| files.flatten().try_for_each(|file| fs::remove_file(file.path())));
        let _ = unmount(COPIES, UnmountFlags::DETACH);
    }
}

/// Returns a guard's policy with the digest of the guest program where it asks for it.
pub(crate) fn policy_of(guard: &Guard) -> io::Result<String> {
    if !guard.policy.contains(DIGEST_OF_COPIES) {
        return Ok(guard.policy.clone());
    }
    let digest: [u8; 32] = match verified(guard) {
        Some(name) => verity::measure(&path(name))?,
        None => Sha256::digest(fs::read(OWN)?).into(),
    };
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(guard.policy.replace(DIGEST_OF_COPIES, &format!("sha256:{digits}")))
}

/// Executes a copy with a descriptor; returns only the reason why that failed.
pub(crate) fn execute(name: &str, arguments: &[&str], passed: BorrowedFd<'_>) -> String {
    if let Err(error) = process::pass(passed, PASSED) {
        return error.to_string();
    }
    let path = path(name);
    format!("execve {}: {}", path.display(), Command::new(&path).args(arguments).exec())
}

/// Returns a copy that has fs-verity, if there is one.
fn verified(guard: &Guard) -> Option<&str> {
    guard.copies.iter().find(|(_, copy)| **copy == GuestCopy::Verity).map(|(name, _)| name.as_str())
}

fn path(name: &str) -> PathBuf {
    Path::new(COPIES).join(name)
}

fn write(path: &Path, longer: bool) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut bytes = fs::read(OWN)?;
    bytes.extend(longer.then_some(0));
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_gets_the_digest_of_the_running_program() {
        let guard = |policy: &str| Guard::new(policy);
        assert_eq!(policy_of(&guard("version = 1")).unwrap(), "version = 1");
        let policy = policy_of(&guard(&format!("digest = \"{DIGEST_OF_COPIES}\""))).unwrap();
        let digits = policy.strip_prefix("digest = \"sha256:").and_then(|rest| rest.strip_suffix('"')).unwrap();
        assert!(digits.len() == 64 && !digits.starts_with("00000000"), "{policy}");
    }
}
