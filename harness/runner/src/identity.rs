//! Who answered: all that expanding scenarios, finding outcomes and judging them needs of a testbed. A store keeps it, so
//! outcomes can be judged where nothing is built.

use std::{collections::BTreeMap, path::Path};

use harness_diagnostics::report::Report;
use harness_planner::{
    checked::Checked,
    expand::{self, Expansion},
};
use harness_protocol::{
    name::{Environment, ImageName, KernelName},
    plan::GlobalEffect,
};
use harness_snapshot::owner::Lineage;
use harness_uapi::{configuration::Configuration, release::Release, resolver::KernelProfile, vocabulary::Vocabulary};
use serde::{Deserialize, Serialize};

use crate::{objects::ObjectFiles, session::MachineKind};

/// The artefacts an outcome depends on, by their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefacts {
    /// The kernel's key.
    pub kernel: String,
    /// The image's key.
    pub image: String,
    /// The guest program's key.
    pub guest: String,
    /// What else the VM was given that a guest can see, such as kernel arguments and memory.
    pub machine: String,
}

/// Which kernel, image and guest program answered.
#[derive(Debug)]
pub struct Identity {
    pub(crate) lineage: Lineage,
    pub(crate) artefacts: Artefacts,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) configuration: Configuration,
    pub(crate) objects: ObjectFiles,
    /// What `uname -r` says.
    pub(crate) uname: String,
    pub(crate) release: Release,
    pub(crate) machine_kind: MachineKind,
}

/// An [`Identity`] as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityRecord {
    /// The kernel's name.
    pub kernel: KernelName,
    /// The kernels whose snapshots hold for it where it has none of its own, the nearest first.
    pub alike: Vec<KernelName>,
    /// What `uname -r` says in it.
    pub release: String,
    /// The image's name.
    pub image: ImageName,
    /// What its outcomes depend on.
    pub artefacts: Artefacts,
    /// When it was last written, in seconds since 1970.
    pub at: u64,
    /// The names plans have for the objects compiled from the project's sources, by the names of these.
    pub objects: BTreeMap<String, String>,
    /// The names the kernel knows.
    pub vocabulary: Vocabulary,
    /// The options that are on in it.
    pub configuration: Configuration,
    /// Where it ran.
    pub machine_kind: MachineKind,
}

impl Identity {
    /// The kernel's name.
    pub fn kernel(&self) -> &KernelName {
        &self.lineage.environment.kernel
    }

    /// The kernel and its image.
    pub fn environment(&self) -> &Environment {
        &self.lineage.environment
    }

    /// Whose snapshots hold for the ground.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// What `uname -r` says in the kernel.
    pub fn release(&self) -> &str {
        &self.uname
    }

    /// The names the kernel knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// What a scenario asks of this kernel. `path` is its file, beside which the objects it loads may be.
    ///
    /// # Errors
    /// What is wrong with it on this kernel, or with an object.
    pub fn expand(&self, checked: &Checked, path: &Path) -> Result<Expansion, Report> {
        let target = KernelProfile {
            name: self.kernel(),
            image: &self.environment().image,
            release: self.release,
            vocabulary: &self.vocabulary,
            configuration: &self.configuration,
        };
        let mut expansion = expand::expand(checked, target)?;
        if let Some(reach) = self.reach(&expansion) {
            let reason = format!("it is not run on a machine that others live on: it {}", reach.as_str());
            return Ok(Expansion::Skipped { reason });
        }
        if let Expansion::Run(expanded) = &mut expansion {
            let folder = path.parent().unwrap_or(path);
            self.objects.fetch(&mut expanded.plan, folder).map_err(|why| checked.complaint(&why))?;
        }
        Ok(expansion)
    }

    /// How a scenario would reach others on the machine, if there are any.
    fn reach(&self, expansion: &Expansion) -> Option<GlobalEffect> {
        match (expansion, self.machine_kind) {
            (Expansion::Run(expanded), MachineKind::Shared | MachineKind::Here) => expanded.plan.reach(),
            _ => None,
        }
    }

    /// As a store keeps it; `at` is the time, in seconds since 1970.
    pub(crate) fn record(&self, at: u64) -> IdentityRecord {
        IdentityRecord {
            kernel: self.kernel().clone(),
            alike: self.lineage.alike.clone(),
            release: self.uname.clone(),
            image: self.environment().image.clone(),
            artefacts: self.artefacts.clone(),
            at,
            objects: self.objects.names(),
            vocabulary: self.vocabulary.clone(),
            configuration: self.configuration.clone(),
            machine_kind: self.machine_kind,
        }
    }

    /// From what a store keeps; `None` if its release tells no version.
    pub(crate) fn recorded(record: IdentityRecord) -> Option<Self> {
        Some(Self {
            release: record.release.parse().ok()?,
            uname: record.release,
            lineage: Lineage {
                environment: Environment { kernel: record.kernel, image: record.image },
                alike: record.alike,
            },
            artefacts: record.artefacts,
            vocabulary: record.vocabulary,
            configuration: record.configuration,
            machine_kind: record.machine_kind,
            objects: ObjectFiles::recorded(record.objects),
        })
    }
}
