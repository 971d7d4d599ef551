//! Why a guard is not in force.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::kernel::KernelError;

/// Why a guard could not be loaded, attached or read.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The kernel's type information cannot be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel has no such hook.
    #[error(
        "this kernel has no LSM hook {0}; the guard needs Linux 6.9 or newer with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF"
    )]
    NoHook(String),
    /// BPF programs on LSM hooks do not run.
    #[error(
        "BPF programs on LSM hooks do not run: `bpf` is not in {list}; add it to `lsm=` on the kernel's command line"
    )]
    NotInLsmList {
        /// The list of the running kernel.
        list: String,
    },
    /// A function that the policy names does not exist in this kernel.
    #[error("this kernel has no function `{name}`, which profile {profile} allows as a {what}")]
    NoFunction {
        /// Its name.
        name: String,
        /// The profile's index.
        profile: u32,
        /// What it is used as.
        what: &'static str,
    },
    /// The policy has rules by login, and the kernel knows none.
    #[error("the policy has rules with `loginuid`, and this kernel has no logins (CONFIG_AUDIT)")]
    NoLoginUid,
    /// The policy knows a loader by what the kernel does not compute.
    #[error(
        "the policy knows loaders by `identity = \"{identity}\"`, and this kernel has no {option}; use such a kernel, or another \
         identity"
    )]
    NoIdentity {
        /// As the policy has it.
        identity: &'static str,
        /// The option of the kernel's configuration.
        option: &'static str,
    },
    /// The policy can be reloaded with a signature, and the kernel cannot check one.
    #[error(
        "the policy has `reload`, and this kernel gives BPF programs no check of signatures (CONFIG_SYSTEM_DATA_VERIFICATION, Linux 6.1)"
    )]
    NoSignatures,
    /// The policy in force cannot be reloaded.
    #[error("the policy in force has no `reload`: it stays until the machine is switched off")]
    NoReload,
    /// The guard refused to put another policy in force.
    #[error("the guard does not take the policy: {0}; the one in force stays")]
    Refused(String),
    /// Too many programs are attached to the same hook.
    #[error(
        "{step}: the hook is full: the kernel runs at most 38 BPF programs for a function (36 since 7.3), and others are attached \
         to it; `bpftool link` lists them"
    )]
    FullHook {
        /// What was done.
        step: String,
    },
    /// libbpf or the kernel refused a step.
    #[error("{step}: {error}{}", said.as_ref().map(|text| format!("\n{text}")).unwrap_or_default())]
    Bpf {
        /// What was done.
        step: String,
        /// The error.
        error: libbpf_rs::Error,
        /// What libbpf and the verifier said.
        said: Option<String>,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// No guard is in force, or not on this machine's boot.
    #[error("no guard is in force that was started early: {0}")]
    NoGuard(String),
    /// The guard in force does not let this process read its records.
    #[error(
        "the guard does not let this process read its records: another process reads them, or this one is not root's"
    )]
    NotReader,
    /// A map or part of the object is not as the programs have it.
    #[error("the BPF object has no {0}")]
    Object(String),
}

impl LoadError {
    pub(crate) fn bpf(step: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> Self {
        move |error| Self::Bpf { step: step.into(), error, said: None }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File { path: path.into(), error }
    }
}
