//! The BTF types that maps and programs refer to: the kernel's own by name, those of a saved object by id.
//!
//! A plan contains no type ids of the kernel. The guest looks the names up in `/sys/kernel/btf/vmlinux` before it
//! starts.

use serde::{Deserialize, Serialize};

/// A type of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelType {
    /// A function.
    Func(String),
    /// A structure.
    Struct(String),
    /// A typedef; a raw tracepoint is `btf_trace_NAME`.
    Typedef(String),
}

/// A member of one of the kernel's structures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelMember {
    /// The structure.
    pub structure: String,
    /// Its member.
    pub member: String,
}

/// The types of a map's keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MapTypes {
    /// None.
    #[default]
    None,
    /// Types of a saved BTF object.
    Saved {
        /// The saved BTF object.
        btf: String,
        /// The id of the key's type in it.
        key: u32,
        /// The id of the value's type in it.
        value: u32,
    },
    /// Values are a kernel structure (`btf_vmlinux_value_type_id`); a `value_size` of 0 stands for its size.
    KernelStruct {
        /// The structure.
        structure: String,
        /// A saved BTF object, which the kernel requires although it takes no type from it (`map_create` in
        /// `kernel/bpf/syscall.c`).
        btf: String,
    },
}

/// The instructions of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Two instructions that return this value.
    Returns(i32),
    /// These instructions, each a `struct bpf_insn` as a little-endian number (RFC 9669).
    Instructions(Vec<u64>),
    /// The same, after as many that are never executed as make the program this long.
    Padded {
        /// The number of all instructions.
        length: u32,
        /// The last instructions.
        instructions: Vec<u64>,
    },
}

/// What a program is written for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProgTarget {
    /// Nothing in particular.
    #[default]
    None,
    /// A function, structure or raw tracepoint of the kernel (`attach_btf_id`).
    Kernel(KernelType),
    /// A member of a kernel structure: `attach_btf_id` is the structure, `expected_attach_type` the member's index
    /// (`check_struct_ops_btf_id` in `kernel/bpf/verifier.c`).
    Member(KernelMember),
    /// A function of a saved program (`attach_prog_fd`).
    Program {
        /// The saved program.
        prog: String,
        /// The id of the function's type in that program's BTF.
        function: u32,
    },
}

/// A program's own BTF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgTypes {
    /// The saved BTF object.
    pub btf: String,
    /// Its functions: the index of the first instruction, and the type's id (`struct bpf_func_info`).
    pub functions: Vec<(u32, u32)>,
}
