//! The kernel features that libbpf probes before and while it loads an object, and the requests it probes them with
//! (`src/features.c` of libbpf 1.7). If a request is refused, libbpf silently treats the feature as missing.

use std::{collections::BTreeSet, fmt};

use harness_uapi::{
    names,
    permission::{Request, Use},
    vocabulary::Kind,
};

use crate::{
    helper::HELPERS,
    loader::{Library, Loader},
};

/// A feature that libbpf uses if its probe finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Names of programs and maps. Probed without the token.
    Names,
    /// Maps for global data.
    GlobalData,
    /// Maps that user space can mmap.
    MappedData,
    /// The object's BTF.
    Types,
    /// Function types and tags in BTF.
    FunctionTypes,
    /// Arguments tagged as contexts.
    ContextArguments,
    /// Passing an attach type where it is optional.
    ExpectedAttachTypes,
    /// `bpf_probe_read_kernel` and its like; without it, libbpf uses `bpf_probe_read` instead.
    ReadsOfKernel,
    /// Binding maps of constants to programs that do not refer to them.
    BoundMaps,
    /// Attaching to many user functions with one link.
    UserProbeLinks,
    /// Cookies of probe programs.
    Cookies,
    /// Global data at the end of an arena.
    LongOffsets,
}

/// Whether a request comes with the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenUse {
    /// The token is passed.
    Token,
    /// No token is passed, so the initial user namespace is checked whatever the token allows.
    NoToken,
    /// This loader never passes a token.
    Unsupported(Loader),
}

impl Feature {
    /// The requests of the probe, and whether they come with the token. All must be allowed for the feature to be found.
    ///
    /// cilium/ebpf finds `probe_read_kernel` by a kprobe program (`haveProbeReadKernel` in its `syscalls.go`).
    pub(crate) fn requests(self, loader: Loader) -> (TokenUse, Vec<Request>) {
        let requests = match self {
            Self::Names => return (TokenUse::NoToken, vec![program("socket_filter", None, [])]),
            Self::MappedData => vec![array()],
            Self::GlobalData | Self::BoundMaps | Self::LongOffsets => {
                vec![array(), program("socket_filter", None, [])]
            }
            Self::Types | Self::FunctionTypes => vec![Request::BtfLoad],
            Self::ContextArguments => {
                let uses = [Use::Functions, Use::Helper(HELPERS.get_func_ip)];
                vec![Request::BtfLoad, program("kprobe", None, uses)]
            }
            Self::ExpectedAttachTypes => vec![program("cgroup_sock", Some("cgroup_inet_sock_create"), [])],
            Self::ReadsOfKernel if loader.library == Library::CiliumEbpf => {
                vec![program("kprobe", None, [Use::Helper(HELPERS.probe_read_kernel)])]
            }
            Self::ReadsOfKernel => vec![program("tracepoint", None, [Use::Helper(HELPERS.probe_read_kernel)])],
            Self::UserProbeLinks => vec![program("kprobe", Some("trace_uprobe_multi"), [])],
            Self::Cookies => vec![program("tracepoint", None, [Use::Helper(HELPERS.get_attach_cookie)])],
        };
        (TokenUse::Token, requests)
    }

    /// Whether the probe creates something with a name, so that libbpf probes names first.
    pub(crate) fn is_named(self) -> bool {
        matches!(
            self,
            Self::MappedData | Self::GlobalData | Self::BoundMaps | Self::LongOffsets | Self::ContextArguments
        )
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Names => "names",
            Self::GlobalData => "global data",
            Self::MappedData => "data in the program's memory",
            Self::Types => "BTF",
            Self::FunctionTypes => "functions in BTF",
            Self::ContextArguments => "context arguments",
            Self::ExpectedAttachTypes => "expected attach types",
            Self::ReadsOfKernel => "probe_read_kernel",
            Self::BoundMaps => "maps bound to programs",
            Self::UserProbeLinks => "links of user probes",
            Self::Cookies => "cookies of probes",
            Self::LongOffsets => "data at the end of an arena",
        })
    }
}

/// A request to load a program.
pub(crate) fn program<const N: usize>(prog_type: &str, attach: Option<&str>, uses: [Use; N]) -> Request {
    Request::ProgLoad {
        prog_type: names::number(Kind::Prog, prog_type).unwrap_or_default(),
        expected_attach_type: attach.and_then(|name| names::number(Kind::Attach, name)).unwrap_or_default(),
        uses: uses.into_iter().collect(),
    }
}

fn array() -> Request {
    let map_type = names::number(Kind::Map, "array").unwrap_or_default();
    Request::MapCreate { map_type, traits: BTreeSet::new() }
}
