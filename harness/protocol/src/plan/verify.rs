//! A program to submit to the verifier.

use serde::{Deserialize, Serialize};

/// Instructions, and what the verifier needs to check them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// `enum bpf_prog_type`.
    pub prog_type: u32,
    /// `enum bpf_attach_type`.
    pub expected_attach_type: u32,
    /// The instructions, encoded as in RFC 9669. One that loads a map by its descriptor (`BPF_PSEUDO_MAP_FD`) gets that
    /// of `map`.
    pub instructions: Vec<u64>,
    /// The saved map that they use.
    pub map: Option<String>,
    /// The kernel functions that they call (`BPF_PSEUDO_KFUNC_CALL`): each call contains an index into this list, which
    /// is replaced by the function's id in the kernel's BTF.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
}
