//! Prepares the host to build and boot.

use std::env;

use harness_builder::{
    host::{self, HostError, Mode, Purpose},
    kernel::Forecast,
    progress::Progress,
};
use harness_protocol::name::Environment;
use rayon::prelude::*;

use crate::{
    qemu::QEMU_VARIABLE,
    resources::{Resources, ResourcesError},
};

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

/// As [`prepare_host`], without what makes the guest's programs and the objects if the project has them built.
///
/// # Errors
/// [`HostError`] if something is missing that may not or cannot be installed.
pub(crate) fn prepare_host_for(resources: &Resources, purposes: &[Purpose], mode: Mode) -> Result<(), HostError> {
    let is_brought = |purpose: &Purpose| resources.project().has_programs() && purpose.is_brought();
    let wanted: Vec<Purpose> = purposes.iter().copied().filter(|purpose| !is_brought(purpose)).collect();
    prepare_host(&wanted, mode, resources.progress())
}

/// Makes sure that the host has what it needs to boot these environments, and to build what is missing of them. Says how long
/// it will take if a kernel has to be compiled.
///
/// # Errors
/// [`HostError`] if something is missing that may not or cannot be installed.
pub fn prepare_for(resources: &Resources, environments: &[Environment], mode: Mode) -> Result<(), HostError> {
    let all_built =
        environments.par_iter().all(|environment| resources.built(&environment.kernel, &environment.image).is_ok());
    if all_built {
        return prepare_host(&[Purpose::Vm], mode, resources.progress());
    }
    // What is shared needs no compiler.
    for environment in environments {
        resources.pull_if_shared(&environment.kernel);
    }
    let forecast = forecast(resources, environments);
    let mut purposes = Purpose::ALL.to_vec();
    if matches!(forecast, Ok(None)) {
        purposes.retain(|purpose| *purpose != Purpose::Kernel);
    }
    prepare_host_for(resources, &purposes, mode)?;
    if let Ok(Some(forecast)) = forecast {
        resources.progress().note(&forecast.describe());
    }
    Ok(())
}

/// Returns which kernels of these environments have to be compiled. What cannot be read is reported when it is built.
fn forecast(resources: &Resources, environments: &[Environment]) -> Result<Option<Forecast>, ResourcesError> {
    let manifests = environments.iter().map(|environment| resources.kernels.kernel(&environment.kernel));
    Ok(Forecast::of(&manifests.collect::<Result<Vec<_>, _>>()?, &resources.cache)?)
}
