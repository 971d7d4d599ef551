//! Tries configurations in VMs: the guest's systemd starts a unit, anything else gets a container like the one its front-end
//! creates, and the objects are loaded there.

mod report;

use anyhow::Result;
use harness_findings::{
    finding::merged,
    report::{ConfigurationReport, Proved, TriedUnit},
    trial::{idle, too_old},
};
use harness_objects::{Named, Object};
use harness_protocol::name::{ImageName, KernelName};
use harness_runner::{
    proof::{self, Criterion, Proof, Trial, TrialMethod},
    resources::Resources,
    testbed::Testbed,
};

use crate::proving::{Proving, blame};
use report::Reader;

/// Tries each configuration on each of its kernels, and records the results. None of the reports is about a policy.
pub(super) fn all(
    proving: &Proving,
    resources: &Resources,
    objects: &[Named],
    reports: &mut [ConfigurationReport],
) -> Result<()> {
    let methods: Vec<TrialMethod> =
        reports.iter().filter_map(|report| report.configuration.as_ref()).map(TrialMethod::of).collect();
    for (report, method) in reports.iter_mut().zip(&methods) {
        if let TrialMethod::Untried(why) = method {
            let summary = format!("not tried: {why}");
            report
                .kernels
                .iter_mut()
                .for_each(|on| on.proved = Some(Proved { summary: summary.clone(), ..Proved::default() }));
        }
    }
    let context = TrialContext { proving, resources, objects, methods: &methods };
    if methods.iter().any(TrialMethod::is_unit) {
        let (image, systemd) = proving.image_for_units(resources)?;
        context.run(reports, &image, Some(systemd))?;
        for (report, method) in reports.iter_mut().zip(&methods) {
            if let TrialMethod::Unit(vm_unit) = method {
                let (image, changes) = (image.to_string(), vm_unit.changes.clone());
                report.tried_unit = Some(TriedUnit { image, changes });
                let found = report.kernels.iter().filter_map(idle).chain(too_old(report, systemd));
                report.findings = merged(found.chain(report.findings.clone()).collect::<Vec<_>>());
            }
        }
    }
    if methods.iter().any(|method| matches!(method, TrialMethod::Container(_))) {
        context.run(reports, &proving.image(), None)?;
    }
    Ok(())
}

/// The inputs of all trials.
struct TrialContext<'a> {
    proving: &'a Proving,
    resources: &'a Resources,
    objects: &'a [Named],
    methods: &'a [TrialMethod],
}

impl TrialContext<'_> {
    /// Tries the units in an image with this systemd, or without one everything but units.
    fn run(&self, reports: &mut [ConfigurationReport], image: &ImageName, systemd: Option<u32>) -> Result<()> {
        let Some(first) = reports.first() else { return Ok(()) };
        let kernels: Vec<KernelName> = first.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let testbeds = self.proving.testbeds(self.resources, &kernels, image)?;
        let files = proof::Object::all(self.objects).map_err(blame)?;
        let mut tried: Vec<(&mut ConfigurationReport, &TrialMethod)> =
            reports.iter_mut().zip(self.methods).filter(|(_, method)| method.is_unit() == systemd.is_some()).collect();
        let trials: Vec<Trial> = tried
            .iter()
            .filter_map(|(report, method)| {
                let (name, site) = (report.name().to_owned(), method.site()?);
                Some(Trial { name, site, objects: files.clone(), criterion: Criterion::Attached })
            })
            .collect();
        tried.retain(|(_, method)| method.site().is_some());
        let references: Vec<&Testbed<'_>> = testbeds.iter().collect();
        for (kernel, proofs) in proof::prove(&references, &trials)? {
            for ((report, method), proof) in tried.iter_mut().zip(&proofs) {
                self.record(report, method, systemd, &kernel, proof);
            }
        }
        Ok(())
    }

    /// Records the result of a trial on one kernel.
    fn record(
        &self,
        report: &mut ConfigurationReport,
        method: &TrialMethod,
        systemd: Option<u32>,
        kernel: &KernelName,
        proof: &Proof,
    ) {
        let objects: Vec<(&str, &Object)> = self.objects.iter().map(|one| (one.name.as_str(), &one.object)).collect();
        let unit = match method {
            TrialMethod::Unit(vm_unit) => systemd.map(|systemd| (vm_unit, systemd)),
            TrialMethod::Container(_) | TrialMethod::Untried(_) => None,
        };
        let ConfigurationReport { configuration, sources, kernels, .. } = report;
        let Some(configuration) = configuration else { return };
        let Some(on) = kernels.iter_mut().find(|on| on.name == *kernel) else { return };
        let proved = Reader { configuration, sources, objects: &objects, unit }.proved(proof, on);
        on.proved = Some(proved);
    }
}
