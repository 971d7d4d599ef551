//! Names that cannot have a recipe, with the reasons: there is no such call, or it is another system call.

use harness_uapi::vocabulary::Kind;

/// What a name is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameUse {
    /// Creating a map of this type.
    MapCreate,
    /// Loading a program of this type.
    ProgLoad,
    /// Loading a program for this attach type.
    LoadFor,
    /// Attaching a program with `BPF_LINK_CREATE`.
    Link,
    /// Attaching a program with `BPF_PROG_ATTACH`.
    ProgAttach,
    /// Using this command.
    Cmd,
    /// Surveying the helpers of programs of this type.
    HelperSurvey,
}

impl NameUse {
    /// All uses.
    pub const ALL: [Self; 7] =
        [Self::MapCreate, Self::ProgLoad, Self::LoadFor, Self::Link, Self::ProgAttach, Self::Cmd, Self::HelperSurvey];

    /// Returns the kind of its names.
    pub const fn kind(self) -> Kind {
        match self {
            Self::MapCreate => Kind::Map,
            Self::ProgLoad | Self::HelperSurvey => Kind::Prog,
            Self::LoadFor | Self::Link | Self::ProgAttach => Kind::Attach,
            Self::Cmd => Kind::Cmd,
        }
    }
}

const NO_TYPE: &str = "number 0 is kept free and is no type";
const BY_SOCKET: &str = "a socket takes such a program by setsockopt(2), not by bpf(2)";
const BY_MAP: &str = "such a program is put into an entry of a map, by map_update_elem";
const BY_PROG_ATTACH: &str = "the kernel attaches such a program by prog_attach only";
const BY_LINK: &str = "the kernel attaches such a program by a link only";

/// Every name that is known to have no recipe (`link_create` and `bpf_prog_attach` in
/// `kernel/bpf/syscall.c`).
const TABLE: [(NameUse, &str, &str); 32] = [
    (NameUse::MapCreate, "unspec", NO_TYPE),
    (NameUse::ProgLoad, "unspec", NO_TYPE),
    (NameUse::Link, "sk_reuseport_select", BY_SOCKET),
    (NameUse::Link, "sk_reuseport_select_or_migrate", BY_SOCKET),
    (NameUse::Link, "xdp_devmap", BY_MAP),
    (NameUse::Link, "xdp_cpumap", BY_MAP),
    (NameUse::Link, "lirc_mode2", BY_PROG_ATTACH),
    (NameUse::ProgAttach, "sk_reuseport_select", BY_SOCKET),
    (NameUse::ProgAttach, "sk_reuseport_select_or_migrate", BY_SOCKET),
    (NameUse::ProgAttach, "xdp_devmap", BY_MAP),
    (NameUse::ProgAttach, "xdp_cpumap", BY_MAP),
    (NameUse::ProgAttach, "xdp", BY_LINK),
    (NameUse::ProgAttach, "sk_lookup", BY_LINK),
    (NameUse::ProgAttach, "trace_raw_tp", BY_LINK),
    (NameUse::ProgAttach, "trace_fentry", BY_LINK),
    (NameUse::ProgAttach, "trace_fexit", BY_LINK),
    (NameUse::ProgAttach, "trace_fsession", BY_LINK),
    (NameUse::ProgAttach, "trace_fentry_multi", BY_LINK),
    (NameUse::ProgAttach, "trace_fexit_multi", BY_LINK),
    (NameUse::ProgAttach, "trace_fsession_multi", BY_LINK),
    (NameUse::ProgAttach, "modify_return", BY_LINK),
    (NameUse::ProgAttach, "trace_iter", BY_LINK),
    (NameUse::ProgAttach, "lsm_mac", BY_LINK),
    (NameUse::ProgAttach, "perf_event", BY_LINK),
    (NameUse::ProgAttach, "trace_kprobe_multi", BY_LINK),
    (NameUse::ProgAttach, "trace_kprobe_session", BY_LINK),
    (NameUse::ProgAttach, "trace_uprobe_multi", BY_LINK),
    (NameUse::ProgAttach, "trace_uprobe_session", BY_LINK),
    (NameUse::ProgAttach, "netfilter", BY_LINK),
    (NameUse::ProgAttach, "struct_ops", BY_LINK),
    (NameUse::HelperSurvey, "unspec", NO_TYPE),
    (NameUse::HelperSurvey, "ext", "such a program has the helpers of the program it replaces a function of"),
];

/// Returns why a name has no recipe, if that is known.
pub fn unavailable(name_use: NameUse, name: &str) -> Option<&'static str> {
    TABLE.iter().find(|(of, listed, _)| (*of, *listed) == (name_use, name)).map(|(.., reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_two_reasons() {
        for (index, (name_use, name, _)) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|(of, listed, _)| (of, listed) != (name_use, name)), "{name}");
        }
    }
}
