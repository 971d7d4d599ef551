//! What is found by trying a unit.

use crate::{
    code::Code,
    does_not_run,
    finding::Finding,
    report::{ConfigurationReport, KernelReport},
};

/// systemd knows `PrivateBPF=` since this version (its NEWS).
pub const FIRST_SYSTEMD: u32 = 258;

/// What is found of a unit of which nothing could be asked.
pub fn idle(on: &KernelReport) -> Option<Finding> {
    let proved = on.proved.as_ref()?;
    let unit = proved.unit.as_ref()?;
    (!unit.ran || proved.is_idle).then(|| does_not_run(unit, &on.name))
}

/// What is found where the systemd that was named knows nothing of delegation.
pub fn too_old(judgement: &ConfigurationReport, systemd: u32) -> Option<Finding> {
    let bpffs = judgement.configuration.bpffs.as_ref().filter(|_| systemd < FIRST_SYSTEMD)?;
    let message = format!("systemd {systemd} has no PrivateBPF=: it starts the unit without any delegation");
    let why = format!(
        "PrivateBPF= and BPFDelegate*= came with systemd {FIRST_SYSTEMD} (NEWS); before, only the journal tells"
    );
    let finding = Finding::new(Code::FrontendComplains, message, why).at(Some(&bpffs.location));
    Some(finding.advice(format!("deploy it where systemd is {FIRST_SYSTEMD} or newer")))
}
