//! Configurations tried in VMs: a unit by a systemd of the guest's, anything else in a container as its front-end would make
//! it, and the objects loaded there.

mod told;
mod way;

use anyhow::Result;
use harness_findings::{
    code::Code,
    does_not_run,
    finding::{Finding, merged},
    report::{Judgement, OnKernel, Proved, Rehearsed},
};
use harness_model::name::{ImageName, KernelName};
use harness_objects::Object;
use harness_runner::{
    proof::{self, Criterion, Proof, Trial},
    supplies::Supplies,
    testbed::Testbed,
};

use crate::{
    bpf_objects::Named,
    proving::{self, Proving},
};
use told::{FIRST_SYSTEMD, Reader};
use way::Way;

/// Tries each configuration on each of its kernels, and writes down what came of it.
pub(super) fn all(
    proving: &Proving,
    supplies: &Supplies,
    objects: &[Named],
    judgements: &mut [Judgement],
) -> Result<()> {
    let ways: Vec<Way> = judgements.iter().map(|judgement| Way::of(&judgement.configuration)).collect();
    for (judgement, way) in judgements.iter_mut().zip(&ways) {
        if let Way::Untried(why) = way {
            let stand = format!("not tried: {why}");
            judgement
                .kernels
                .iter_mut()
                .for_each(|on| on.proved = Some(Proved { stand: stand.clone(), ..Proved::default() }));
        }
    }
    let stage = Stage { proving, supplies, objects, ways: &ways };
    if ways.iter().any(Way::is_unit) {
        let (image, systemd) = proving.image_for_units(supplies)?;
        stage.run(judgements, &image, Some(systemd))?;
        for (judgement, way) in judgements.iter_mut().zip(&ways) {
            if let Way::Unit(rehearsal) = way {
                let (image, changes) = (image.to_string(), rehearsal.changes.clone());
                judgement.rehearsed = Some(Rehearsed { image, changes });
                let found = judgement.kernels.iter().filter_map(idle).chain(too_old(judgement, systemd));
                judgement.findings = merged(found.chain(judgement.findings.clone()).collect::<Vec<_>>());
            }
        }
    }
    if ways.iter().any(|way| matches!(way, Way::Container(_))) {
        stage.run(judgements, &proving.image(), None)?;
    }
    Ok(())
}

/// What is found of a unit of which nothing could be asked.
fn idle(on: &OnKernel) -> Option<Finding> {
    let proved = on.proved.as_ref()?;
    let unit = proved.unit.as_ref()?;
    (!unit.ran || proved.is_idle).then(|| does_not_run(unit, &on.name))
}

/// What is found where the systemd that was named knows nothing of delegation.
fn too_old(judgement: &Judgement, systemd: u32) -> Option<Finding> {
    let bpffs = judgement.configuration.bpffs.as_ref().filter(|_| systemd < FIRST_SYSTEMD)?;
    let message = format!("systemd {systemd} has no PrivateBPF=: it starts the unit without any delegation");
    let why = format!(
        "PrivateBPF= and BPFDelegate*= came with systemd {FIRST_SYSTEMD} (NEWS); before, only the journal tells"
    );
    let finding = Finding::new(Code::FrontendComplains, message, why).at(Some(&bpffs.place));
    Some(finding.advice(format!("deploy it where systemd is {FIRST_SYSTEMD} or newer")))
}

/// What trials are made with.
struct Stage<'a> {
    proving: &'a Proving,
    supplies: &'a Supplies,
    objects: &'a [Named],
    ways: &'a [Way],
}

impl Stage<'_> {
    /// Tries units in an image with this systemd, or else everything but units.
    fn run(&self, judgements: &mut [Judgement], image: &ImageName, systemd: Option<u32>) -> Result<()> {
        let Some(first) = judgements.first() else { return Ok(()) };
        let kernels: Vec<KernelName> = first.kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let testbeds = self.proving.testbeds(self.supplies, &kernels, image)?;
        let files = proving::objects(self.objects)?;
        let mut tried: Vec<(&mut Judgement, &Way)> =
            judgements.iter_mut().zip(self.ways).filter(|(_, way)| way.is_unit() == systemd.is_some()).collect();
        let trials: Vec<Trial> = tried
            .iter()
            .filter_map(|(judgement, way)| {
                let (name, place) = (judgement.name().to_owned(), way.place()?);
                Some(Trial { name, place, objects: files.clone(), criterion: Criterion::Attached })
            })
            .collect();
        tried.retain(|(_, way)| way.place().is_some());
        let references: Vec<&Testbed<'_>> = testbeds.iter().collect();
        for (kernel, proofs) in proof::prove(&references, &trials)? {
            for ((judgement, way), proof) in tried.iter_mut().zip(&proofs) {
                self.tell(judgement, way, systemd, &kernel, proof);
            }
        }
        Ok(())
    }

    fn tell(&self, judgement: &mut Judgement, way: &Way, systemd: Option<u32>, kernel: &KernelName, proof: &Proof) {
        let objects: Vec<(&str, &Object)> = self.objects.iter().map(|one| (one.name.as_str(), &one.object)).collect();
        let unit = match way {
            Way::Unit(rehearsal) => systemd.map(|systemd| (rehearsal, systemd)),
            Way::Container(_) | Way::Untried(_) => None,
        };
        let Judgement { configuration, sources, kernels, .. } = judgement;
        let Some(on) = kernels.iter_mut().find(|on| on.name == *kernel) else { return };
        let proved = Reader { configuration, sources, objects: &objects, unit }.told(proof, on);
        on.proved = Some(proved);
    }
}
