//! Findings from trying a unit in a VM.

use crate::{
    code::Code,
    does_not_run,
    finding::Finding,
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
    let bpffs = report.configuration.as_ref()?.bpffs.as_ref().filter(|_| systemd < FIRST_SYSTEMD)?;
    let message = format!("systemd {systemd} has no PrivateBPF=: it starts the unit without any delegation");
    let why = format!(
        "PrivateBPF= and BPFDelegate*= exist since systemd {FIRST_SYSTEMD} (NEWS); earlier versions only log a warning in the journal"
    );
    let finding = Finding::new(Code::FrontendComplains, message, why).at(Some(&bpffs.location));
    Some(finding.advice(format!("deploy it with systemd {FIRST_SYSTEMD} or later")))
}
