//! The keys of operations that load something or create maps.

use harness_protocol::plan::{AttachTargetTiming, BpffsLocation, Keyring, SigningKey, TokenPath};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    attempt::{Common, operation},
    choice::Flag,
};

operation! {
    /// The keys of `map_create`.
    MapCreate, token, save {
        /// The map type, such as `"hash"`, or a number without a name.
        #[serde(rename = "type")]
        pub map_type: String,
        /// The size of a key, in bytes; by default what the type needs.
        #[serde(default)]
        pub key_size: Option<u32>,
        /// The size of a value, in bytes; by default what the type needs.
        #[serde(default)]
        pub value_size: Option<u32>,
        /// The number of entries; by default what the type needs.
        #[serde(default)]
        pub max_entries: Option<u32>,
        /// Flags by name, such as `["no_prealloc"]`, or as numbers; by default what the type needs.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// The saved map that is the template for the maps in a map of maps.
        #[serde(default)]
        pub inner_map: Option<String>,
        /// The saved BTF with the types of keys and values, which local storage and `struct_ops` need.
        #[serde(default)]
        pub btf: Option<String>,
        /// The number of the key's type in that BTF; by default 1, the integer.
        #[serde(default)]
        pub btf_key: Option<u32>,
        /// The number of the value's type in that BTF; by default 1, the integer.
        #[serde(default)]
        pub btf_value: Option<u32>,
        /// The kernel structure that is the value of a `struct_ops` map; by default that of the kernel's own tests.
        #[serde(default)]
        pub structure: Option<String>,
        /// The field `map_extra` of the call; by default 0.
        #[serde(default)]
        pub map_extra: Option<u32>,
        /// The instructions of the only program that may use the map, in the form of `instructions` of `prog_load`
        /// (Linux 6.18). A signature covers a map only if it is exclusive to the program, and frozen.
        #[serde(default)]
        pub exclusive: Option<Vec<String>>,
    }
}

operation! {
    /// The keys of `prog_load`.
    ProgLoad, token, save {
        /// The program type, such as `"xdp"`, or a number without a name.
        #[serde(rename = "type")]
        pub prog_type: String,
        /// The expected attach type, such as `"cgroup_inet4_connect"`; by default the one that the program type needs,
        /// or number 0, which is `cgroup_inet_ingress`.
        #[serde(default)]
        pub attach: Option<String>,
        /// Flags by name, such as `["sleepable"]`, or as numbers; by default what the type needs.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// The number that the program returns; by default one that its type may return.
        #[serde(default)]
        pub returns: Option<i32>,
        /// The instructions, instead of returning a constant: hexadecimal digits, eight bytes per instruction in the
        /// order in memory, such as `["b7000000 00000000", "9500000000000000"]`. At most 4096.
        #[serde(default)]
        pub instructions: Option<Vec<String>>,
        /// The number of instructions of the program, such as `900_000`: as many as it is short of precede those of
        /// `instructions` and are never executed. The kernel needs Linux 6.6 for the jump. By default there are none.
        #[serde(default)]
        #[schemars(range(min = 1, max = 1_000_000))]
        pub length: Option<u32>,
        /// What the program is written for: `func:NAME`, `struct:NAME` or `typedef:NAME` of the kernel's BTF,
        /// `member:STRUCTURE.MEMBER`, or `none`; by default what its type and attach type need.
        #[serde(default)]
        pub target: Option<String>,
        /// The saved program whose main function this one replaces.
        #[serde(default)]
        pub replaces: Option<String>,
        /// The saved BTF with the types of its functions.
        #[serde(default)]
        pub btf: Option<String>,
        /// The index of the first instruction of each function after the main one, such as `[2]`.
        #[serde(default)]
        pub functions: Vec<u32>,
        /// The saved maps that instructions refer to by their index in this list (`BPF_PSEUDO_MAP_IDX`).
        #[serde(default)]
        #[schemars(length(max = 8))]
        pub maps: Vec<String>,
        /// The license; by default `GPL`.
        #[serde(default)]
        pub license: Option<String>,
        /// The signature of the program, such as `{ keyring = "session" }` (Linux 6.18). It needs `instructions`.
        #[serde(default)]
        pub signature: Option<Signature>,
    }
}

/// A signature of a program: PKCS#7 over its instructions and, since Linux 7.3, the contents of its maps.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Whose signature it is.
    #[serde(default)]
    pub key: SigningKey,
    /// Where the kernel looks for the key.
    #[serde(default)]
    pub keyring: Keyring,
    /// The instructions that were signed; by default those of the program.
    #[serde(default)]
    pub instructions: Option<Vec<String>>,
    /// The contents of the maps that were signed after them, in hexadecimal digits, such as `"2a000000"`; by default
    /// none.
    #[serde(default)]
    pub contents: Option<String>,
}

operation! {
    /// The keys of `btf_load`.
    BtfLoad, token, save {}
}

operation! {
    /// The keys of `helper_survey`.
    HelperSurvey, token, save {
        /// The program type, such as `"xdp"`, or a number without a name.
        #[serde(rename = "type")]
        pub prog_type: String,
        /// The expected attach type; by default the one that the program type needs, or number 0.
        #[serde(default)]
        pub attach: Option<String>,
        /// Flags by name, such as `["sleepable"]`, or as numbers; by default what the type needs.
        #[serde(default)]
        pub flags: Option<Vec<Flag>>,
        /// An earlier saved survey: this one covers only the helpers that it found.
        #[serde(default)]
        pub within: Option<String>,
        /// An earlier saved survey that was made with fewer permissions: the helpers that it found count as found,
        /// without another load.
        #[serde(default)]
        pub beyond: Option<String>,
    }
}

operation! {
    /// The keys of `verify`.
    Verify, token, save {
        /// The feature: a name from the table at the end, such as `"loop"`.
        pub feature: String,
        /// The saved map, if the feature uses one: an array with values of 64 bytes, or an arena.
        #[serde(default)]
        pub map: Option<String>,
    }
}

operation! {
    /// The keys of `object`.
    Object {
        /// The object: `NAME` for the one that is built from `scenarios/objects/src/NAME.bpf.c`, or the path of a
        /// `.bpf.o` file in the folder of the scenario or below it.
        pub file: String,
        /// The option `bpf_token_path`, which is one way to give libbpf a token; by default not set.
        #[serde(default)]
        pub token_path: Option<TokenPath>,
        /// The environment variable `LIBBPF_BPF_TOKEN_PATH`, which is another way; by default not set.
        #[serde(default)]
        pub environment: Option<TokenPath>,
        /// Where the container's bpffs is during the attempt.
        #[serde(default)]
        pub bpffs: BpffsLocation,
        /// The function of another object that the object's first program replaces.
        #[serde(default)]
        pub replaces: Option<Replaces>,
        /// Functions that must be in `/proc/kallsyms` after loading, with an address.
        #[serde(default)]
        pub kallsyms: Vec<String>,
        /// Whether libbpf then attaches each program and structure that names its attach point, and detaches it again.
        #[serde(default)]
        pub attach: bool,
    }
}

/// The function of another object that a program replaces.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replaces {
    /// The other object, written like `file`. It is loaded first, in the same way.
    pub file: String,
    /// The function in the other object.
    pub function: String,
    /// When libbpf learns which program is replaced.
    #[serde(default, rename = "told")]
    pub timing: AttachTargetTiming,
}
