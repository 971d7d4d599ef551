//! `early`: puts a guard in force from the initramfs, before anything else can load BPF programs.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use guard_loader::{Guard, Options};
use guard_policy::{Mode, OnFailure};
use rustix::mount::{MountFlags, mount};

use crate::policy_file;

/// Puts a policy in force that stays until the machine is switched off, and ends. To be run from an initramfs, before
/// anything else loads BPF programs: its pins are on a bpffs that no path names once the real root is in place.
#[derive(Debug, Args)]
pub(crate) struct EarlyArgs {
    /// The policy file.
    #[arg(long, default_value = "/etc/bpf-guard/policy.toml")]
    policy: PathBuf,
    /// Where to mount the guard's own bpffs: on the initramfs's root.
    #[arg(long, value_name = "DIR", default_value = "/guard")]
    bpffs: PathBuf,
}

/// Runs the command. If it fails and the policy says `on_failure = "warn"`, only prints why.
pub(crate) fn run(args: &EarlyArgs) -> Result<()> {
    let policy = policy_file::read(&args.policy, None)?;
    match put_in_force(args, &policy) {
        Err(error) if policy.guard.on_failure == OnFailure::Warn => {
            eprintln!("bpf-guard: NOT in force: {error:#}; going on, as the policy has `on_failure = \"warn\"`");
            Ok(())
        }
        other => other,
    }
}

fn put_in_force(args: &EarlyArgs, policy: &guard_policy::Policy) -> Result<()> {
    let folder = &args.bpffs;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    mount("bpf-guard", folder, "bpf", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c"mode=0700")
        .with_context(|| format!("cannot mount a bpffs at {}", folder.display()))?;
    let device = fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?.dev();
    // As the kernel numbers devices (`include/linux/kdev_t.h`).
    let own_bpffs_dev = rustix::fs::major(device) << 20 | rustix::fs::minor(device);
    let options = Options { own_bpffs_dev, ..Options::default() };
    let mut guard = Guard::load(&policy.compile(), &options)?;
    guard.arm()?;
    guard.pin(folder)?;
    guard.publish()?;
    guard.release();
    let mode = if policy.mode == Mode::Enforce { "enforce" } else { "audit" };
    println!("bpf-guard: in force, {} rules, mode {mode}", policy.rules.len());
    Ok(())
}
