//! What is known of a program of an object.

use std::{collections::BTreeSet, fmt};

use harness_uapi::permission::Use;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name of its function.
    pub name: String,
    /// The section it is in, without the `?` that keeps libbpf from loading it.
    pub section: String,
    /// Its type; `None` if libbpf does not know the section, so that whoever loads it has to name one.
    pub prog_type: Option<u32>,
    /// The attach type that libbpf hands over when it loads the program.
    pub attach_type: ExpectedAttach,
    /// Whether it may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// Whether libbpf loads it unless told otherwise: not if its section begins with `?`, nor if it belongs to
    /// `struct_ops` maps that are not created.
    pub autoload: bool,
    /// What it is for, if its section or its map names that.
    pub target: Option<ProgramTarget>,
    /// What it does that the verifier asks a capability for, by its own instructions and by all it calls.
    pub uses: BTreeSet<Use>,
    /// The helpers it calls, by their numbers in `enum bpf_func_id`.
    pub helpers: BTreeSet<u32>,
    /// The functions of the kernel it calls.
    pub kfuncs: BTreeSet<String>,
    /// The maps it refers to, as places in the object's list.
    pub maps: BTreeSet<usize>,
    /// Why the kernel does not take it without the object's type information.
    pub needs_btf: BTreeSet<BtfReason>,
    /// Whether it jumps by a table, for which libbpf makes a map without a token (`create_jt_map` of libbpf).
    pub has_jump_table: bool,
    /// How it is attached once it is loaded.
    pub attaches_by: AttachWay,
    /// Whether libbpf attaches it by itself (`bpf_program__attach`, and what skeletons make of it). Operations are not:
    /// their map is.
    pub attaches_itself: bool,
}

/// The attach type that libbpf hands over when it loads a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpectedAttach {
    /// None; the kernel takes that for number 0, except where it fills one in.
    None,
    /// This one if its probe finds that the kernel takes any, and none otherwise.
    Optional(u32),
    /// This one.
    Required(u32),
}

/// What a program is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramTarget {
    /// A function, hook, tracepoint, iterator or path, as the section names it.
    Named(String),
    /// A member of a structure of operations.
    Member {
        /// The structure's name, without what follows `___`.
        structure: String,
        /// The member's name.
        member: String,
        /// The member's place in the object's own idea of the structure. The kernel counts its own members, which may
        /// be others.
        index: u32,
    },
}

/// Why the kernel does not take a program without the object's type information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BtfReason {
    /// It hands a function of its own to a helper, to be called back (`check_ld_imm` in `kernel/bpf/verifier.c`).
    Callback,
    /// It replaces a function of another program (`btf_check_type_match` in `kernel/bpf/btf.c`).
    Extension,
    /// It makes objects of its own types (`bpf_obj_new` and `bpf_percpu_obj_new` in `kernel/bpf/verifier.c`).
    OwnObjects,
    /// A function it calls makes a tail call, or reads a packet by `LD_ABS` or `LD_IND` (`check_abnormal_return` in
    /// `kernel/bpf/verifier.c`).
    AbnormalReturn,
    /// It uses a lock, timer, kernel pointer or the like in a map, which the kernel finds by its types
    /// (`btf_parse_fields` in `kernel/bpf/btf.c`).
    SpecialFields,
    /// It is an operation of a structure (`kernel_needs_btf` of libbpf).
    StructOps,
}

impl fmt::Display for BtfReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callback => "it hands over a function to be called back",
            Self::Extension => "it replaces a function of another program",
            Self::OwnObjects => "it makes objects of its own types",
            Self::AbnormalReturn => "a function it calls makes a tail call or reads a packet by LD_ABS",
            Self::SpecialFields => "it works on fields of a map that the kernel finds by their types",
            Self::StructOps => "it is an operation of a structure",
        })
    }
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachWay {
    /// To an event that `perf_event_open(2)` makes: a probe or a tracepoint of the kernel, or a counter.
    PerfEvent,
    /// To an event as well, at a function of a process; or by one link to many, where libbpf finds that the kernel can.
    UserProbe,
    /// By a link to many functions at once.
    ProbeMulti,
    /// By `BPF_RAW_TRACEPOINT_OPEN`.
    RawTracepoint,
    /// By a link at a function or a hook of the kernel.
    Trampoline,
    /// By a link in the place of a function of another program.
    Extension,
    /// By a link that is read like a file.
    Iterator,
    /// To a cgroup.
    Cgroup,
    /// To a network namespace.
    Netns,
    /// To a network device, by a link or by netlink.
    Device,
    /// To a network device's queue of programs, by a link.
    Tcx,
    /// To a netkit device, by a link.
    Netkit,
    /// To a network device as a classifier or an action, by netlink.
    Netlink,
    /// To a route, by netlink.
    Route,
    /// To a hook of netfilter, by a link.
    Netfilter,
    /// To a socket, by `setsockopt(2)`.
    Socket,
    /// To a map of sockets.
    SockMap,
    /// As an element of a map of devices or processors.
    Map,
    /// To an infrared receiver.
    Lirc,
    /// As a part of a map of operations.
    StructOps,
    /// Not at all: it is run by `BPF_PROG_TEST_RUN`.
    Run,
    /// It is not known, for a section that libbpf does not know.
    Unknown,
}
