//! Prepares the host to build and boot.

use std::env;

use harness_builder::{
    host::{self, HostError, Mode, Purpose},
    progress::Progress,
};
use harness_protocol::name::Environment;

use crate::{qemu::QEMU_VARIABLE, resources::Resources};

/// Makes sure that the host has what `purposes` need.
///
/// # Errors
/// [`HostError`] if something is missing that may not or cannot be installed.
pub fn prepare_host(purposes: &[Purpose], mode: Mode, progress: &Progress) -> Result<(), HostError> {
    // A user who names a QEMU does not want another one installed.
    let own_qemu = env::var_os(QEMU_VARIABLE).is_some();
    let wanted: Vec<Purpose> =
        purposes.iter().copied().filter(|purpose| !(own_qemu && *purpose == Purpose::Vm)).collect();
    host::ensure(&wanted, mode, progress)
}

/// Makes sure that the host has what it needs to boot these environments, and to build what is missing of them.
///
/// # Errors
/// [`HostError`] if something is missing that may not or cannot be installed.
pub fn prepare_for(resources: &Resources, environments: &[Environment], mode: Mode) -> Result<(), HostError> {
    let all_built =
        environments.iter().all(|environment| resources.built(&environment.kernel, &environment.image).is_ok());
    let purposes: &[Purpose] = if all_built { &[Purpose::Vm] } else { &Purpose::ALL };
    prepare_host(purposes, mode, resources.progress())
}
