//! A program for the verifier to judge.

use serde::{Deserialize, Serialize};

/// Instructions, and what the verifier must know to look at them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// `enum bpf_prog_type`.
    pub prog_type: u32,
    /// `enum bpf_attach_type`.
    pub expected_attach_type: u32,
    /// Encoded as RFC 9669 has it. Where one loads a map by its descriptor (`BPF_PSEUDO_MAP_FD`), that of `map` is
    /// filled in.
    pub instructions: Vec<u64>,
    /// The map they use, by the name it was saved under.
    pub map: Option<String>,
    /// The functions of the kernel they call (`BPF_PSEUDO_KFUNC_CALL`): each call holds an index into these, in place of
    /// which the function's number in the kernel's BTF is filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
}
