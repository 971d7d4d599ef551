//! What can be found: each kind of finding by a stable code, with what it means.

use std::{fmt, str::FromStr};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing; changes no exit code.
    Note,
    /// It works, and probably not as meant; changes no exit code.
    Warning,
    /// It does not work, or is refused.
    Error,
}

impl Level {
    /// In lower case, as SARIF and GitHub have it.
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
        /// A kind of finding. Its text is an interface: people write it into comments that silence a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As people write it, such as `unknown-name`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// How grave such a finding is unless something makes it graver.
            pub const fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)+ }
            }

            /// In a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means and what to do, in a paragraph.
            pub fn explanation(self) -> String {
                let lines: &[&str] = match self { $(Self::$name => &[$($doc),+],)+ };
                lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
            }
        }
    };
}

codes! {
    /// A name that is in no kernel this project knows. Where systemd reads it, it is ignored with a warning in the
    /// journal; where the kernel reads it, the whole mount is refused with EINVAL.
    UnknownName = "unknown-name", Error, "a name that no kernel has";
    /// A name that exists and is written in a way its reader does not take: systemd wants its own spelling, the kernel
    /// wants the enumerator without its prefix. Letters of either case do, except in `any`.
    WrongSpelling = "wrong-spelling", Error, "a name its reader cannot read";
    /// A name that a kernel is too old for. Where the kernel reads the name it refuses the mount with EINVAL; where
    /// systemd does, it hands over a bit that means nothing there.
    NameNotOnKernel = "name-not-on-kernel", Error, "a name that a kernel is too old for";
    /// A flag of an enumeration that the kernel takes for a name: `common_attrs` is 1 << 16, and as the processor takes a
    /// shift count modulo 64 the bit of another command is set (`bpf_parse_param` in `kernel/bpf/inode.c`).
    FlagAsName = "flag-as-name", Error, "a flag that sets the bit of something else";
    /// A name that systemd takes for another without a word: its table has no room for an enumerator with a comment on its
    /// line, so that `BPFProgTypeNetfilter` delegates syscall in systemd 262 (`src/core/generate-bpf-delegate-configs.py`).
    /// What is meant is not delegated, and something else is. Only `any` delegates what has no name of its own there.
    MisreadName = "misread-name", Error, "a name that is taken for another";
    /// Within one value the kernel adds names to the mask but lets a number take its place, so that whatever stands
    /// before the number is lost (`bpf_parse_param` in `kernel/bpf/inode.c`).
    NumberErasesNames = "number-erases-names", Error, "a number erases the names before it";
    /// A mask with bits that no kernel of this project has a name for. The kernel sets them all the same, and a later
    /// one may give them a meaning.
    BitsWithoutName = "bits-without-name", Warning, "bits that mean nothing yet";
    /// The same option more than once. The kernel adds the masks of all occurrences up; systemd adds names up and an
    /// empty assignment begins anew; the keys of an Incus or LXD configuration take the last.
    RepeatedOption = "repeated-option", Warning, "an option that is given more than once";
    /// The kernel takes at most 255 bytes for the value of one mount option (`fs/fsopen.c`).
    ValueTooLong = "value-too-long", Error, "a value that is longer than the kernel takes";
    /// The front-end refuses this, or ignores it with a warning.
    FrontendComplains = "front-end-complains", Error, "what the front-end itself refuses or ignores";
    /// Only four commands of `bpf(2)` look at a token: map_create, prog_load, btf_load and, since 6.15,
    /// btf_get_fd_by_id. Delegating any other is accepted and does nothing, even token_create.
    CommandWithoutEffect = "command-without-effect", Warning, "a command that no token affects";
    /// Program types are delegated and no attach type is. A program is loaded for an attach type, whose bit is looked for
    /// as well, and for none means attach type 0 (`bpf_token_allow_prog_type` in `kernel/bpf/token.c`).
    ProgramsWithoutAttachTypes = "programs-without-attach-types", Error, "programs without any attach type";
    /// Attach type 0 is `cgroup_inet_ingress`, and also what a program is loaded with that has none: without it programs of
    /// such types are refused.
    AttachTypeZeroMissing = "attach-type-zero-missing", Error, "attach type 0 is missing for programs that have none";
    /// Program types are delegated without the command that loads programs, or attach types without program types.
    ProgramsWithoutProgLoad = "programs-without-prog-load", Error, "programs that no delegated command loads";
    /// Map types are delegated without the command that creates maps.
    MapsWithoutMapCreate = "maps-without-map-create", Error, "maps that no delegated command creates";
    /// A command is delegated without any type it could be used for.
    CommandWithoutTypes = "command-without-types", Error, "a command without any type to use it for";
    /// An object carries BTF that it needs in the kernel, and `btf_load` is not delegated.
    TypesNotLoadable = "types-not-loadable", Error, "BTF that may not be loaded";
    /// `any` sets all 64 bits: everything the kernel knows, and everything a later one will. What is not needed is
    /// given away, and with each update of the kernel more of it.
    DelegatesAny = "delegates-any", Warning, "everything is delegated, now and in future";
    /// Some programs see or change the whole machine, however small the container is: those that trace the kernel, security
    /// modules, replaced congestion control or schedulers. The capability checks are of the container; what the program
    /// does is not.
    ReachesTheHost = "reaches-the-host", Warning, "programs that reach beyond the container";
    /// Something is delegated that none of the objects needs.
    BeyondObjects = "beyond-objects", Note, "more than the objects need";
    /// A bpffs is asked for and nothing is delegated: no token can be made of it (ENOENT, `bpf_token_create` in
    /// `kernel/bpf/token.c`).
    NothingDelegated = "nothing-delegated", Error, "a bpffs of which no token can be made";
    /// Something is delegated and no bpffs is asked for that would carry it.
    NoBpffs = "no-bpffs", Error, "a delegation without a bpffs";
    /// A token can be made in a user namespace of its own alone: in the initial one the kernel answers EOPNOTSUPP, and
    /// whoever owns the bpffs must own the namespace (`bpf_token_create` in `kernel/bpf/token.c`).
    NoUserNamespace = "no-user-namespace", Error, "a delegation without a user namespace";
    /// The bpffs would belong to the host's user namespace although the processes are in one of their own: a token is made
    /// in the bpffs' own user namespace alone (`bpf_token_create` in `kernel/bpf/token.c`). systemd opens the bpffs together
    /// with the mount namespace, which has to be delegated for that.
    BpffsOfTheHost = "bpffs-of-the-host", Error, "a bpffs that belongs to the host's user namespace";
    /// Making a token takes CAP_BPF in the user namespace itself; CAP_SYS_ADMIN does not stand for it there
    /// (`bpf_token_create` in `kernel/bpf/token.c`).
    NoCapBpf = "no-cap-bpf", Error, "no CAP_BPF to make a token with";
    /// The system call filter refuses `bpf(2)`, with or without a token.
    SeccompRefusesBpf = "seccomp-refuses-bpf", Error, "a system call filter that refuses bpf(2)";
    /// systemd does not start the unit, or its process is ended before it makes a call. Found by `--prove` alone: what systemd
    /// says is told, by the exit codes of systemd.exec(5) ("Process Exit Codes").
    UnitDoesNotRun = "unit-does-not-run", Error, "a unit that systemd does not run";
    /// Kernels before 6.9 have no tokens: they accept the options from anybody and ignore them.
    KernelWithoutTokens = "kernel-without-tokens", Error, "a kernel that ignores delegation";
    /// A distribution's kernel is known to answer otherwise than the release it is made of.
    DistributionDiffers = "distribution-differs", Note, "a distribution's kernel that differs";
    /// A map, a program or the types of an object would be refused.
    ObjectRefused = "object-refused", Error, "an object that would not load";
    /// Something an object does is asked of the initial namespace, for which no token stands.
    NotDelegable = "not-delegable", Error, "what no token can allow";
    /// The object loads, and libbpf goes without something it would otherwise use.
    SilentLoss = "silent-loss", Note, "what the loader goes without";
    /// A comment allows a code that is none, or gives no reason, or silences nothing.
    UselessAllowance = "useless-allowance", Warning, "a comment that allows nothing";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|code| code.id() == text).ok_or_else(|| format!("`{text}` is no code"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_words_each_once_and_each_explained() {
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
