//! The keys of operations that load something: maps, programs, type descriptions, objects.

use harness_protocol::plan::{AttachTargetTiming, BpffsLocation, TokenPath};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    attempt::{Common, operation},
    choice::Flag,
};

operation! {
    /// The keys of `map_create`.
    MapCreate, token, save {
        /// The map type.
        #[serde(rename = "type")]
        pub map_type: String,
        /// Bytes of a key.
        #[serde(default)]
        pub key_size: Option<u32>,
        /// Bytes of a value.
        #[serde(default)]
        pub value_size: Option<u32>,
        /// The number of entries.
        #[serde(default)]
        pub max_entries: Option<u32>,
        /// Flags by name, such as `no_prealloc`, or as numbers.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// The saved map that serves as the pattern of a map of maps.
        #[serde(default)]
        pub inner_map: Option<String>,
        /// The saved type description with the types of its keys and values, which local storage and `struct_ops` need.
        #[serde(default)]
        pub btf: Option<String>,
        /// The number of the key's type in it; by default 1, the integer.
        #[serde(default)]
        pub btf_key: Option<u32>,
        /// The number of the value's type in it; by default 1, the integer.
        #[serde(default)]
        pub btf_value: Option<u32>,
        /// The structure of the kernel that is its value, for `struct_ops`; by default one of the kernel's own tests.
        #[serde(default)]
        pub structure: Option<String>,
        /// `map_extra`.
        #[serde(default)]
        pub map_extra: Option<u32>,
    }
}

operation! {
    /// The keys of `prog_load`.
    ProgLoad, token, save {
        /// The program type.
        #[serde(rename = "type")]
        pub prog_type: String,
        /// The expected attach type; by default the one its type needs, or the type's number 0, which is
        /// `cgroup_inet_ingress`.
        #[serde(default)]
        pub attach: Option<String>,
        /// Flags by name, such as `sleepable`, or as numbers; by default what its type needs.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// What the program returns; by default what its type may return.
        #[serde(default)]
        pub returns: Option<i32>,
        /// Its instructions instead: hexadecimal digits, eight bytes each in the order they lie in memory, at most 4096.
        #[serde(default)]
        pub instructions: Option<Vec<String>>,
        /// What it is written for: `func:NAME`, `struct:NAME` or `typedef:NAME` of the kernel's BTF, or
        /// `member:STRUCTURE.MEMBER`; by default what its type and attach type need.
        #[serde(default)]
        pub target: Option<String>,
        /// The saved program whose main function it replaces.
        #[serde(default)]
        pub replaces: Option<String>,
        /// The saved type description that has the types of its functions.
        #[serde(default)]
        pub btf: Option<String>,
        /// The first instruction of each function after the main one.
        #[serde(default)]
        pub functions: Vec<u32>,
        /// Saved maps that instructions name by their place in this list (`BPF_PSEUDO_MAP_IDX`).
        #[serde(default)]
        #[schemars(length(max = 8))]
        pub maps: Vec<String>,
        /// Its licence, by default `GPL`.
        #[serde(default)]
        pub license: Option<String>,
    }
}

operation! {
    /// The keys of `btf_load`.
    BtfLoad, token, save {}
}

operation! {
    /// The keys of `helper_survey`.
    HelperSurvey, token, save {
        /// The program type.
        #[serde(rename = "type")]
        pub prog_type: String,
        /// The expected attach type; by default the one its type needs, or number 0.
        #[serde(default)]
        pub attach: Option<String>,
        /// Flags by name, such as `sleepable`, or as numbers; by default what its type needs.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// The name an earlier survey was saved under: only helpers that it found are asked about.
        #[serde(default)]
        pub within: Option<String>,
        /// The same: what it found counts as found, and is not asked about again. For one that was made with less.
        #[serde(default)]
        pub beyond: Option<String>,
    }
}

operation! {
    /// The keys of `verify`.
    Verify, token, save {
        /// What the program does: a name of the table at the end.
        pub feature: String,
        /// The saved map it uses, if it uses one: an array whose value has 64 bytes, or an arena.
        #[serde(default)]
        pub map: Option<String>,
    }
}

operation! {
    /// The keys of `object`.
    Object {
        /// The object: `NAME` for what is built from `scenarios/objects/src/NAME.bpf.c`, or the path of a `.bpf.o` file
        /// beside the scenario.
        pub file: String,
        /// The option `bpf_token_path`, by which libbpf finds a token; not set by default.
        #[serde(default)]
        pub token_path: Option<TokenPath>,
        /// The variable `LIBBPF_BPF_TOKEN_PATH` in the environment, to the same end; not set by default.
        #[serde(default)]
        pub environment: Option<TokenPath>,
        /// Where the container's bpffs is meanwhile.
        #[serde(default)]
        pub bpffs: BpffsLocation,
        /// The program of another object that the object's first program replaces.
        #[serde(default)]
        pub replaces: Option<Replaces>,
        /// Functions that must then be in `/proc/kallsyms`, with an address.
        #[serde(default)]
        pub kallsyms: Vec<String>,
        /// Whether each program and structure that libbpf attaches by itself is attached then, and taken off again.
        #[serde(default)]
        pub attach: bool,
    }
}

/// The program of another object that is replaced.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replaces {
    /// The other object, which is loaded first, in the same way.
    pub file: String,
    /// The function in it.
    pub function: String,
    /// When libbpf is told.
    #[serde(default)]
    pub told: AttachTargetTiming,
}
