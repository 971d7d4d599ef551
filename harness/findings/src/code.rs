//! The kinds of findings, each with a stable code and an explanation.

use std::{fmt, str::FromStr};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing; changes no exit code.
    Note,
    /// Works, but probably not as intended; changes no exit code.
    Warning,
    /// Does not work, or is refused.
    Error,
}

impl Level {
    /// Its lower-case name, as SARIF and GitHub use it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $level:ident, $title:literal;)+) => {
        /// A kind of finding. Its text is an interface: people write it in comments that suppress a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its text, such as `unknown-name`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// The default severity of such a finding.
            pub const fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)+ }
            }

            /// A title of a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// A paragraph that explains what it means and what to do.
            pub fn explanation(self) -> String {
                let lines: &[&str] = match self { $(Self::$name => &[$($doc),+],)+ };
                lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
            }
        }
    };
}

codes! {
    /// A name that no known kernel has. systemd ignores it and logs a warning in the journal; the kernel refuses the whole
    /// mount with EINVAL.
    UnknownName = "unknown-name", Error, "a name that no kernel has";
    /// A name that exists, in a spelling that is not accepted: systemd wants its own spelling, the kernel wants the
    /// enumerator without its prefix. The kernel accepts upper and lower case, except in `any`.
    WrongSpelling = "wrong-spelling", Error, "a name in a spelling that is not accepted";
    /// A name that is newer than a kernel. Where the kernel reads the name, it refuses the mount with EINVAL; where systemd
    /// does, it passes a bit that has no meaning on that kernel.
    NameNotOnKernel = "name-not-on-kernel", Error, "a name that is newer than the kernel";
    /// A flag of an enumeration, which the kernel takes for a name: `common_attrs` is 1 << 16, and because the processor takes
    /// shift counts modulo 64, it sets the bit of another command (`bpf_parse_param` in `kernel/bpf/inode.c`).
    FlagAsName = "flag-as-name", Error, "a flag that sets the bit of another name";
    /// A name that systemd silently takes for another. Its table has no entry for an enumerator with a comment on the same
    /// line, so in systemd 262 `BPFProgTypeNetfilter` delegates syscall (`src/core/generate-bpf-delegate-configs.py`). The
    /// type that you mean is not delegated, and another one is. Only `any` delegates a type that has no name of its own there.
    MisreadName = "misread-name", Error, "a name that systemd takes for another";
    /// Within one value the kernel adds names to the mask, but a number replaces the mask. Everything before the number is
    /// lost (`bpf_parse_param` in `kernel/bpf/inode.c`).
    NumberErasesNames = "number-erases-names", Error, "a number erases the names before it";
    /// A mask with bits that a kernel has no name for. The kernel sets them anyway, and a later kernel may give them a meaning.
    BitsWithoutName = "bits-without-name", Warning, "bits that have no meaning yet";
    /// The same option more than once. The kernel combines the masks of all occurrences; systemd, Incus and LXD use only the
    /// last one.
    RepeatedOption = "repeated-option", Warning, "an option that is set more than once";
    /// In mount options a comma ends an option, and the kernel takes the names in a list apart at colons. bpffs ignores options
    /// that it does not know (`bpf_parse_param` in `kernel/bpf/inode.c`), so what follows the comma is not delegated, without
    /// any message.
    CommaEndsOption = "comma-ends-option", Error, "names that a comma separates from their option";
    /// A value is a variable of a shell, or a placeholder of a template, whose text is not in the file. What depends on it is not
    /// judged: check the command or unit that results from it.
    ValueNotKnown = "value-not-known", Warning, "a value that is not in the file";
    /// A file has a delegation that is judged, and another line that mentions one in a form that is not read, such as a unit in a
    /// quoted string with `\n`, or an argument of `sed`. Check what results from it on its own.
    NotRead = "not-read", Warning, "a delegation in a form that is not read";
    /// A mask of 32 ones, such as 0xffffffff, for `any`. A mask has 64 bits: whatever has number 32 or more is not delegated,
    /// such as the attach types of xdp and of tracing programs.
    NarrowMask = "narrow-mask", Warning, "a mask that leaves out bits 32 and up";
    /// The kernel accepts at most 255 bytes for the value of one mount option (`fs/fsopen.c`).
    ValueTooLong = "value-too-long", Error, "a value that is longer than the kernel accepts";
    /// The front-end refuses this, or ignores it with or without a warning.
    FrontendComplains = "front-end-complains", Error, "a setting that the front-end refuses or ignores";
    /// Only four commands of `bpf(2)` look at a token: map_create, prog_load, btf_load and, since 6.15, btf_get_fd_by_id.
    /// Delegating any other command, even token_create, is accepted and has no effect.
    CommandWithoutEffect = "command-without-effect", Warning, "a delegated command without effect";
    /// Program types are delegated, but no attach type is. The kernel also checks the attach type that a program is loaded
    /// for; without one that is attach type 0 (`bpf_token_allow_prog_type` in `kernel/bpf/token.c`).
    ProgramsWithoutAttachTypes = "programs-without-attach-types", Error, "program types without any attach type";
    /// Attach type 0 is `cgroup_inet_ingress`, and also what the kernel checks for programs without an attach type: unless it
    /// is delegated, they are refused.
    AttachTypeZeroMissing = "attach-type-zero-missing", Error, "programs without an attach type need attach type 0";
    /// Program types or attach types are delegated without `prog_load`, the command that loads programs.
    ProgramsWithoutProgLoad = "programs-without-prog-load", Error, "program or attach types without prog_load";
    /// Map types are delegated without `map_create`, the command that creates maps.
    MapsWithoutMapCreate = "maps-without-map-create", Error, "map types without map_create";
    /// `map_create` is delegated without any map type, or `prog_load` without any program type.
    CommandWithoutTypes = "command-without-types", Error, "map_create or prog_load without any type";
    /// An object has BTF that must be loaded into the kernel, and `btf_load` is not delegated.
    TypesNotLoadable = "types-not-loadable", Error, "BTF that cannot be loaded";
    /// `any` sets all 64 bits: everything that the kernel knows, and everything that a later kernel adds. It grants more than
    /// is needed, and more with each kernel update.
    DelegatesAny = "delegates-any", Warning, "everything is delegated, now and in the future";
    /// Some programs observe or change the whole machine, however small the container is: those that trace the kernel,
    /// security modules, replaced congestion control or schedulers. Others reach every network namespace or cgroup that the
    /// container can open. Capabilities are checked in the container; the effects of
    /// the program are not confined to it.
    ReachesTheHost = "reaches-the-host", Warning, "program types that reach beyond the container";
    /// Something is delegated that none of the objects and programs needs, by whichever loader, or by the one that is known.
    BeyondObjects = "beyond-objects", Note, "more than the objects need";
    /// A bpffs is requested, but nothing is delegated: no token can be created from it (ENOENT, `bpf_token_create` in
    /// `kernel/bpf/token.c`). It is a note if a unit has `PrivateBPF=` without any `BPFDelegate…=`, which hides the host's
    /// bpffs (systemd.exec(5)).
    NothingDelegated = "nothing-delegated", Error, "a bpffs without any delegation";
    /// Delegation options are set, but no bpffs mount is requested.
    NoBpffs = "no-bpffs", Error, "a delegation without a bpffs";
    /// A token can only be created by a process in the very user namespace that the bpffs belongs to, and only if that is not
    /// the initial one, where the kernel returns EOPNOTSUPP (`bpf_token_create` in `kernel/bpf/token.c`).
    NoUserNamespace = "no-user-namespace", Error, "a delegation without a user namespace";
    /// The bpffs would belong to the host's user namespace although the processes have one of their own. A token can only be
    /// created in the user namespace that owns the bpffs (`bpf_token_create` in `kernel/bpf/token.c`). systemd opens the bpffs
    /// when it sets up the mount namespace, so the mount namespace must be delegated. A bpffs that mount(8), an fstab or a mount
    /// unit mounts belongs to the host's user namespace forever, whoever sees it by a bind mount; in another user namespace the
    /// kernel refuses options that delegate with EPERM (`bpf_parse_param` in `kernel/bpf/inode.c`). The container has to call
    /// fsopen(2), and a process with CAP_SYS_ADMIN on the host fsconfig(2) on the descriptor, as systemd, Incus and LXD do.
    BpffsOfTheHost = "bpffs-of-the-host", Error, "a bpffs that belongs to the host's user namespace";
    /// Creating a token requires CAP_BPF itself in the user namespace; CAP_SYS_ADMIN is not enough (`bpf_token_create` in
    /// `kernel/bpf/token.c`).
    NoCapBpf = "no-cap-bpf", Error, "no CAP_BPF to create a token";
    /// libbpf creates a token from the bpffs that `LIBBPF_BPF_TOKEN_PATH` names, and the object does not load if it cannot; if the
    /// variable is empty, libbpf uses no token (`bpf_object_prepare_token` in `tools/lib/bpf/libbpf.c`).
    TokenPathElsewhere = "token-path-elsewhere", Error, "libbpf looks for the bpffs where none is";
    /// The bpffs is mounted, but the processes cannot open it: a token needs its descriptor. As a warning: a filter of file systems
    /// refuses it, which takes effect on kernels with LSM programs.
    BpffsNotReachable = "bpffs-not-reachable", Error, "a bpffs that the processes cannot open";
    /// `PrivateIPC=` or `IPCNamespacePath=` gives the unit an IPC namespace of the host's user namespace, while the mount namespace
    /// belongs to the unit's own (`DelegateNamespaces=mnt`). systemd cannot mount that namespace's message queues there, and the
    /// unit ends with status 226/NAMESPACE. With `DelegateNamespaces=mnt ipc` and `PrivateIPC=` it starts.
    NamespaceNotDelegated = "namespace-not-delegated", Error, "an IPC namespace of the host's beside a delegated mount namespace";
    /// The system call filter refuses `bpf(2)`, with or without a token. As a note, where an object or the delegation has probes or
    /// tracepoints: it refuses `perf_event_open(2)`, which attaches them.
    SeccompRefusesBpf = "seccomp-refuses-bpf", Error, "a system call filter that refuses bpf(2)";
    /// systemd does not start the unit, or its process ends before it makes a call. Only `--prove` finds this. The result is
    /// systemd's own, with the exit codes of systemd.exec(5) ("Process Exit Codes").
    UnitDoesNotRun = "unit-does-not-run", Error, "a unit that systemd does not run";
    /// Kernels before 6.9 have no tokens: they accept the options from anyone and ignore them.
    KernelWithoutTokens = "kernel-without-tokens", Error, "a kernel that ignores delegation";
    /// A distribution's kernel is known to behave differently from the release it is based on.
    DistributionDiffers = "distribution-differs", Note, "a distribution kernel that differs";
    /// The kernel would refuse a map, a program or the BTF of an object.
    ObjectRefused = "object-refused", Error, "an object that would not load";
    /// What the object's file leaves open: its loader has to do something before it loads, or only the verifier can tell whether
    /// the kernel requires CAP_PERFMON.
    ObjectNote = "object-note", Note, "something that an object leaves open";
    /// A program would not do its work: running it found out what it needs, and the configuration lacks something of that, or the
    /// program makes no token. The result is of one path through the program.
    ProgramRefused = "program-refused", Error, "a program that would not do its work";
    /// It is not known what a program needs on a kernel: it was not run there, or running it gave no result.
    ProgramNotKnown = "program-not-known", Warning, "a program that was not run on the kernel";
    /// An object needs something that the kernel checks in the initial user namespace, where no token applies.
    NotDelegable = "not-delegable", Error, "something that no token can grant";
    /// The object loads, but its loader drops something that it would otherwise use.
    SilentLoss = "silent-loss", Note, "something that the loader drops silently";
    /// A comment names an unknown code, gives no reason, or suppresses nothing.
    UselessSuppression = "useless-allowance", Warning, "a comment that suppresses nothing";
    /// In a policy of the guard, one rule before this one takes every call that it takes, and the first rule that takes a call
    /// decides. Rules that take all its calls only together are not found.
    RuleNeverReached = "rule-never-reached", Warning, "a rule of the guard that decides nothing";
    /// No rule of the policy refers to this profile, so it allows nothing to anybody.
    UnusedProfile = "unused-profile", Warning, "a profile that no rule refers to";
    /// A profile of the guard allows programs of type lsm. A program that is attached later runs earlier
    /// (`bpf_trampoline_link_prog` in `kernel/bpf/trampoline.c`): the guard does not see calls that it denies, so they are not
    /// on record, and it can lock out the administrator.
    AllowsLsmPrograms = "allows-lsm-programs", Warning, "a profile that allows programs of type lsm";
    /// A profile of the guard allows `probe_write_user`, which writes into the memory of processes, the guard's daemon included,
    /// or `override_return`, which replaces the result of a kernel function.
    AllowsInterference = "allows-interference", Warning, "a profile that allows to change other processes";
    /// A profile of the guard allows programs of type tracing, ext or lsm at any function. The functions that the guard depends
    /// on are always kept from them, whatever a policy allows.
    AllowsAnyTarget = "allows-any-target", Warning, "a profile that allows tracing of any function";
    /// A profile of the guard allows kfuncs and targets of modules. The guard knows names in the kernel's own BTF only, so it
    /// allows all of any module.
    AllowsModules = "allows-modules", Warning, "a profile that allows functions of modules";
    /// A rule of the guard allows every program to those whom it takes, which is right for those who are trusted with the
    /// machine.
    AllowsEverything = "allows-everything", Note, "a rule that allows every program";
    /// A known loader is a file by its device and inode: what is written into that file later is the known loader too. A digest
    /// by fs-verity or IMA knows the contents.
    IdentityByInode = "identity-by-inode", Warning, "a known loader that is a file, whatever is in it";
    /// The policy switches the guard's self-protection and its hard rule off. That is for tests, which show what an attack does
    /// without them: root can remove the guard.
    UnprotectedGuard = "unprotected-guard", Warning, "a guard that does not protect itself";
    /// Root can put any policy in the place of this one while the machine runs: no signature is asked for. That is for tests, and for
    /// machines whose root is trusted.
    ReloadByRoot = "reload-by-root", Warning, "a policy that root can replace";
    /// The guard refuses a program, a map or a call by which libbpf loads and attaches an object. It is an error if root in the
    /// initial user namespace is refused, a warning while the mode is audit, and a note if only others are refused, for each
    /// rule one of those whom it takes.
    GuardRefusesObject = "guard-refuses-object", Error, "an object that the guard refuses";
    /// Under the policy that `--policy` names, the guard refuses a command or a type that the configuration delegates. It is a
    /// warning if it refuses everybody whom the configuration's processes can be, and a note if it refuses some of them or only
    /// records it.
    TokenWiderThanPolicy = "token-wider-than-policy", Warning, "a token that grants what the guard refuses";
    /// A profile of the policy that `--policy` names is for programs and maps with a token, and allows types that the
    /// configuration does not delegate.
    PolicyWiderThanToken = "policy-wider-than-token", Note, "a policy that allows what no token grants";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|code| code.id() == text).ok_or_else(|| format!("unknown code `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_unique_and_explained() {
        let ids: BTreeSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.id().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
            assert_eq!(code.id().parse::<Code>(), Ok(*code));
            assert!(code.explanation().ends_with('.') && code.explanation().len() > 40, "{code}");
        }
        assert!("no-such".parse::<Code>().is_err());
    }
}
