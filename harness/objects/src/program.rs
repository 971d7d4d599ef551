//! A program of an object.

use std::{collections::BTreeSet, fmt};

use harness_uapi::permission::Use;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name of its function.
    pub name: String,
    /// Its section, without a leading `?`, which keeps libbpf from loading it.
    pub section: String,
    /// Its type; `None` if libbpf does not know the section, so that the loader has to set one.
    pub prog_type: Option<u32>,
    /// The attach type that libbpf passes when it loads the program.
    pub attach_type: ExpectedAttach,
    /// Whether it may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// Whether libbpf loads it by default: not if its section begins with `?`, nor if it belongs to `struct_ops` maps that
    /// are not created.
    pub autoload: bool,
    /// Its attach target, if its section or its map names one.
    pub target: Option<ProgramTarget>,
    /// The number of its instructions of 8 bytes, with those of each function it calls, which libbpf appends once
    /// (`bpf_object__append_subprog_code`).
    pub instructions: u64,
    /// What it does that the verifier checks a capability for, including everything it calls.
    pub uses: BTreeSet<Use>,
    /// The helpers it calls, by their numbers in `enum bpf_func_id`.
    pub helpers: BTreeSet<u32>,
    /// The kernel functions it calls.
    pub kfuncs: BTreeSet<String>,
    /// The maps it refers to, as indexes in the object's list.
    pub maps: BTreeSet<usize>,
    /// Why it does not load without the object's BTF.
    pub needs_btf: BTreeSet<BtfReason>,
    /// Whether it has a jump table, for which libbpf creates a map without the token (`create_jt_map` of libbpf).
    pub has_jump_table: bool,
    /// How it is attached once it is loaded.
    pub attaches_by: AttachWay,
    /// Whether libbpf attaches it automatically (`bpf_program__attach`, which skeletons call). `struct_ops` programs are
    /// not attached: their map is.
    pub attaches_itself: bool,
}

/// The attach type that libbpf passes when it loads a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpectedAttach {
    /// None; the kernel reads that as 0, except where it fills one in.
    None,
    /// This one if libbpf's probe finds that the kernel accepts attach types, none otherwise.
    Optional(u32),
    /// Always this one.
    Required(u32),
}

/// What a program attaches to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramTarget {
    /// A function, hook, tracepoint, iterator or path, as named in the section.
    Named(String),
    /// A member of a `struct_ops` structure.
    Member {
        /// The structure's name, without a `___` suffix.
        structure: String,
        /// The member's name.
        member: String,
        /// The member's index in the object's definition of the structure, which may differ from the kernel's.
        index: u32,
    },
}

/// Why a program does not load without the object's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BtfReason {
    /// It passes a function of its own to a helper as a callback (`check_ld_imm` in `kernel/bpf/verifier.c`).
    Callback,
    /// It replaces a function of another program (`btf_check_type_match` in `kernel/bpf/btf.c`).
    Extension,
    /// It allocates objects of its own types (`bpf_obj_new` and `bpf_percpu_obj_new` in `kernel/bpf/verifier.c`).
    OwnObjects,
    /// A function it calls makes a tail call, or reads a packet by `LD_ABS` or `LD_IND` (`check_abnormal_return` in
    /// `kernel/bpf/verifier.c`).
    AbnormalReturn,
    /// It uses a lock, timer, kernel pointer or the like in a map, which the kernel finds by BTF
    /// (`btf_parse_fields` in `kernel/bpf/btf.c`).
    SpecialFields,
    /// It is a `struct_ops` program (`kernel_needs_btf` of libbpf).
    StructOps,
}

impl fmt::Display for BtfReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callback => "it passes a callback function",
            Self::Extension => "it replaces a function of another program",
            Self::OwnObjects => "it allocates objects of its own types",
            Self::AbnormalReturn => "a function it calls makes a tail call or reads a packet by LD_ABS",
            Self::SpecialFields => "it works on map fields that the kernel finds by BTF",
            Self::StructOps => "it is a struct_ops program",
        })
    }
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachWay {
    /// To an event from `perf_event_open(2)`: a kernel probe, a tracepoint, or a counter.
    PerfEvent,
    /// To an event at a user function, or with one link to many if libbpf finds that the kernel supports it.
    UserProbe,
    /// With one link to many functions.
    ProbeMulti,
    /// By `BPF_RAW_TRACEPOINT_OPEN`.
    RawTracepoint,
    /// With a link to a kernel function or hook.
    Trampoline,
    /// With a link that replaces a function of another program.
    Extension,
    /// With a link that is read like a file.
    Iterator,
    /// To a cgroup.
    Cgroup,
    /// To a network namespace.
    Netns,
    /// To a network device, with a link or by netlink.
    Device,
    /// To a network device's tcx hook, with a link.
    Tcx,
    /// To a netkit device, with a link.
    Netkit,
    /// To a network device as a classifier or an action, by netlink.
    Netlink,
    /// To a route, by netlink.
    Route,
    /// To a netfilter hook, with a link.
    Netfilter,
    /// To a socket, by `setsockopt(2)`.
    Socket,
    /// To a socket map.
    SockMap,
    /// As an element of a device map or CPU map.
    Map,
    /// To an infrared receiver.
    Lirc,
    /// As part of a `struct_ops` map.
    StructOps,
    /// Not at all: `BPF_PROG_TEST_RUN` runs it.
    Run,
    /// Unknown, because libbpf does not know the section.
    Unknown,
}
