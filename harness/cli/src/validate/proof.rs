//! Configurations tried in VMs: a unit by a systemd of the guest's, anything else in a container as its front-end would make
//! it, and the objects loaded there.

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

/// Tries each configuration on each of its kernels, and writes down what came of it.
pub(super) fn all(
    proving: &Proving,
    resources: &Resources,
    objects: &[Named],
    judgements: &mut [ConfigurationReport],
) -> Result<()> {
    let methods: Vec<TrialMethod> =
        judgements.iter().map(|judgement| TrialMethod::of(&judgement.configuration)).collect();
    for (judgement, method) in judgements.iter_mut().zip(&methods) {
        if let TrialMethod::Untried(why) = method {
            let stand = format!("not tried: {why}");
            judgement
                .kernels
                .iter_mut()
                .for_each(|on| on.proved = Some(Proved { stand: stand.clone(), ..Proved::default() }));
        }
    }
    let stage = TrialContext { proving, resources, objects, methods: &methods };
    if methods.iter().any(TrialMethod::is_unit) {
        let (image, systemd) = proving.image_for_units(resources)?;
        stage.run(judgements, &image, Some(systemd))?;
        for (judgement, method) in judgements.iter_mut().zip(&methods) {
            if let TrialMethod::Unit(vm_unit) = method {
                let (image, changes) = (image.to_string(), vm_unit.changes.clone());
                judgement.rehearsed = Some(TriedUnit { image, changes });
                let found = judgement.kernels.iter().filter_map(idle).chain(too_old(judgement, systemd));
                judgement.findings = merged(found.chain(judgement.findings.clone()).collect::<Vec<_>>());
            }
        }
    }
    if methods.iter().any(|method| matches!(method, TrialMethod::Container(_))) {
        stage.run(judgements, &proving.image(), None)?;
    }
    Ok(())
}

/// What trials are made with.
struct TrialContext<'a> {
    proving: &'a Proving,
    resources: &'a Resources,
    objects: &'a [Named],
    methods: &'a [TrialMethod],
}

impl TrialContext<'_> {
    /// Tries units in an image with this systemd, or else everything but units.
    fn run(&self, judgements: &mut [ConfigurationReport], image: &ImageName, systemd: Option<u32>) -> Result<()> {
        let Some(first) = judgements.first() else { return Ok(()) };
        let kernels: Vec<KernelName> = first.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let testbeds = self.proving.testbeds(self.resources, &kernels, image)?;
        let files = proof::Object::all(self.objects).map_err(blame)?;
        let mut tried: Vec<(&mut ConfigurationReport, &TrialMethod)> = judgements
            .iter_mut()
            .zip(self.methods)
            .filter(|(_, method)| method.is_unit() == systemd.is_some())
            .collect();
        let trials: Vec<Trial> = tried
            .iter()
            .filter_map(|(judgement, method)| {
                let (name, place) = (judgement.name().to_owned(), method.place()?);
                Some(Trial { name, place, objects: files.clone(), criterion: Criterion::Attached })
            })
            .collect();
        tried.retain(|(_, method)| method.place().is_some());
        let references: Vec<&Testbed<'_>> = testbeds.iter().collect();
        for (kernel, proofs) in proof::prove(&references, &trials)? {
            for ((judgement, method), proof) in tried.iter_mut().zip(&proofs) {
                self.tell(judgement, method, systemd, &kernel, proof);
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        judgement: &mut ConfigurationReport,
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
        let ConfigurationReport { configuration, sources, kernels, .. } = judgement;
        let Some(on) = kernels.iter_mut().find(|on| on.name == *kernel) else { return };
        let proved = Reader { configuration, sources, objects: &objects, unit }.told(proof, on);
        on.proved = Some(proved);
    }
}
