//! Hooks of the security modules that a scenario's own BPF program sits on.

use serde::{Deserialize, Serialize};

use crate::plan::KernelType;

/// A hook that takes part in what `bpf(2)` may do (`include/linux/lsm_hook_defs.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LsmHook {
    /// Before every command.
    Bpf,
    /// Before a map gets a descriptor.
    BpfMap,
    /// Before a program gets a descriptor.
    BpfProg,
    /// When a map is made.
    BpfMapCreate,
    /// When a program is loaded.
    BpfProgLoad,
    /// When a token is made.
    BpfTokenCreate,
    /// When a token is asked for a command; a refusal has the kernel go on as if there were no token.
    BpfTokenCmd,
    /// When a token is asked for a capability.
    BpfTokenCapable,
}

impl LsmHook {
    /// The function that BPF programs for it are attached to (`include/linux/bpf_lsm.h`).
    pub fn function(self) -> KernelType {
        KernelType::Func(format!("bpf_lsm_{}", self.as_str()))
    }

    /// The hook's name in the kernel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bpf => "bpf",
            Self::BpfMap => "bpf_map",
            Self::BpfProg => "bpf_prog",
            Self::BpfMapCreate => "bpf_map_create",
            Self::BpfProgLoad => "bpf_prog_load",
            Self::BpfTokenCreate => "bpf_token_create",
            Self::BpfTokenCmd => "bpf_token_cmd",
            Self::BpfTokenCapable => "bpf_token_capable",
        }
    }
}
