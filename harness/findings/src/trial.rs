//! Findings from trying a unit in a VM.

use harness_frontend::{Bpffs, Configuration, frontend::ConfiguredObject};

use crate::{
    code::{Code, Level},
    does_not_run,
    finding::Finding,
    input::{KernelFacts, Origin},
    report::{ConfigurationReport, KernelReport},
};

/// The first version of systemd that has `PrivateBPF=` (its NEWS).
pub const FIRST_SYSTEMD: u32 = 258;

/// Returns a finding if the unit did not run, or ended before it made a call.
pub fn idle(on: &KernelReport) -> Option<Finding> {
    let proved = on.proved.as_ref()?;
    let unit = proved.unit.as_ref()?;
    (!unit.ran || proved.is_idle).then(|| does_not_run(unit, &on.name))
}

/// Returns a finding if this systemd has no delegation.
pub fn too_old(report: &ConfigurationReport, systemd: u32) -> Option<Finding> {
    older(report.configuration.as_ref()?, systemd)
}

/// Returns what a unit gets from this version of systemd; if none is named, from those of the distributions that the kernels
/// are from.
pub fn with_systemd(configuration: &Configuration, version: Option<u32>, kernels: &[KernelFacts]) -> Vec<Finding> {
    let Some(version) = version else {
        return kernels.iter().filter_map(|kernel| shipped(configuration, kernel)).collect();
    };
    older(configuration, version).into_iter().collect()
}

fn older(configuration: &Configuration, systemd: u32) -> Option<Finding> {
    let bpffs = requested(configuration).filter(|_| systemd < FIRST_SYSTEMD)?;
    let message = format!("systemd {systemd} has no PrivateBPF=: it starts the unit without any delegation");
    let why = format!(
        "PrivateBPF= and BPFDelegate*= exist since systemd {FIRST_SYSTEMD} (NEWS); earlier versions only log a warning in the journal"
    );
    let finding = Finding::new(Code::FrontendComplains, message, why).at(Some(&bpffs.location));
    Some(finding.advice(format!("deploy it with systemd {FIRST_SYSTEMD} or later")))
}

/// Returns the bpffs that a unit asks systemd for.
fn requested(configuration: &Configuration) -> Option<&Bpffs> {
    configuration.bpffs.as_ref().filter(|_| configuration.frontend.makes == ConfiguredObject::Unit)
}

/// The systemd that Debian 13 ships with its kernel, Linux 6.12 (packages.debian.org/trixie/systemd).
const OF_DEBIAN_13: u32 = 257;

/// Returns a finding if the distribution that has a kernel ships it with a systemd that is too old.
fn shipped(configuration: &Configuration, kernel: &KernelFacts) -> Option<Finding> {
    let is_debian_13 = kernel.origin == Origin::Debian && (kernel.release.major, kernel.release.minor) == (6, 12);
    let bpffs = requested(configuration).filter(|_| is_debian_13)?;
    let message =
        format!("Debian 13 ships systemd {OF_DEBIAN_13}, which has no PrivateBPF=: the unit gets no delegation there");
    let why = format!("PrivateBPF= and BPFDelegate*= exist since systemd {FIRST_SYSTEMD} (NEWS)");
    let finding = Finding::new(Code::DistributionDiffers, message, why).of_level(Level::Warning);
    let finding = finding.at(Some(&bpffs.location)).on(&kernel.name);
    Some(finding.advice(format!("deploy it with systemd {FIRST_SYSTEMD} or later, and name that one by --systemd")))
}
