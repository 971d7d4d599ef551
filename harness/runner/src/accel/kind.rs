//! The accelerators of QEMU that the harness uses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How QEMU runs a VM's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accel {
    /// With the host's kernel and hardware.
    Kvm,
    /// With QEMU's Tiny Code Generator: software emulation, several times slower.
    Tcg,
}

impl Accel {
    /// Returns the factor for deadlines.
    ///
    /// Emulated code runs about an order of magnitude slower; deadlines are there to catch hangs, not slowness.
    pub fn patience(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 4,
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "software emulation",
        })
    }
}
