//! LSM hooks that a scenario's own BPF program is attached to.

use serde::{Deserialize, Serialize};

use crate::plan::KernelType;

/// A hook that takes part in deciding what `bpf(2)` may do (`include/linux/lsm_hook_defs.h`).
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
    /// When a map is made and the hook gets a token.
    BpfMapCreateWithToken,
    /// When a program is loaded.
    BpfProgLoad,
    /// When a program is loaded and the hook gets a token.
    BpfProgLoadWithToken,
    /// When a token is made.
    BpfTokenCreate,
    /// When a token is checked for a command; after a refusal the kernel goes on as if there were no token.
    BpfTokenCmd,
    /// When a token is checked for a capability.
    BpfTokenCapable,
}

impl LsmHook {
    /// Returns the kernel function that BPF programs attach to for this hook (`include/linux/bpf_lsm.h`).
    pub fn function(self) -> KernelType {
        KernelType::Func(format!("bpf_lsm_{}", self.as_str()))
    }

    /// Returns the index of the hook's argument without which it refuses nothing: the token (`lsm_hook_defs.h`).
    pub const fn condition(self) -> Option<usize> {
        match self {
            Self::BpfMapCreateWithToken | Self::BpfProgLoadWithToken => Some(2),
            _ => None,
        }
    }

    /// Returns the hook's name in the kernel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bpf => "bpf",
            Self::BpfMap => "bpf_map",
            Self::BpfProg => "bpf_prog",
            Self::BpfMapCreate | Self::BpfMapCreateWithToken => "bpf_map_create",
            Self::BpfProgLoad | Self::BpfProgLoadWithToken => "bpf_prog_load",
            Self::BpfTokenCreate => "bpf_token_create",
            Self::BpfTokenCmd => "bpf_token_cmd",
            Self::BpfTokenCapable => "bpf_token_capable",
        }
    }
}
