//! The identity of a testbed: everything that expanding scenarios, finding outcomes and judging them needs. A store
//! keeps it, so that outcomes can be judged where nothing is built.

use std::{collections::BTreeMap, path::Path};

use harness_builder::pins::Repinned;
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

use crate::{guard::RunGuard, objects::ObjectFiles, session::MachineKind};

/// The keys of the artefacts that an outcome depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefacts {
    /// The kernel's key.
    pub kernel: String,
    /// The image's key.
    pub image: String,
    /// The guest program's key.
    pub guest: String,
    /// Everything else about the VM that a guest can observe, such as kernel arguments and memory.
    pub machine: String,
    /// The key of the guard's program, if it is built. Only outcomes under a guard depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// The guard that all scenarios of the run are under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_guard: Option<RunGuard>,
}

/// What differs from the pins of a kernel and an image, because those have left the mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacedPins {
    /// The kernel's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<Repinned>,
    /// The image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image: Vec<Repinned>,
}

impl ReplacedPins {
    fn is_empty(&self) -> bool {
        self.kernel.is_empty() && self.image.is_empty()
    }
}

/// The kernel, image and guest program that produce outcomes.
#[derive(Debug)]
pub struct Identity {
    pub(crate) lineage: Lineage,
    pub(crate) artefacts: Artefacts,
    pub(crate) replaced: ReplacedPins,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) configuration: Configuration,
    pub(crate) objects: ObjectFiles,
    /// The output of `uname -r`.
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
    /// The kernels whose snapshots it inherits if it has none of its own, the nearest first.
    pub alike: Vec<KernelName>,
    /// The output of `uname -r` in the guest.
    pub release: String,
    /// The image's name.
    pub image: ImageName,
    /// The artefacts that its outcomes depend on.
    pub artefacts: Artefacts,
    /// What differs from the pins of the manifests.
    #[serde(default, skip_serializing_if = "ReplacedPins::is_empty")]
    pub replaced: ReplacedPins,
    /// When it was last written, in seconds since 1970.
    pub at: u64,
    /// The names that plans use for the objects compiled from the project's sources, by source name.
    pub objects: BTreeMap<String, String>,
    /// The names the kernel knows.
    pub vocabulary: Vocabulary,
    /// The configuration options that are enabled in the kernel.
    pub configuration: Configuration,
    /// The kind of machine it ran on.
    #[serde(rename = "surroundings")]
    pub machine_kind: MachineKind,
}

impl Identity {
    /// The kernel's name.
    pub fn kernel(&self) -> &KernelName {
        &self.lineage.environment.kernel
    }

    /// Returns the kernel and the image.
    pub fn environment(&self) -> &Environment {
        &self.lineage.environment
    }

    /// Returns whose snapshots apply to the environment.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Returns the output of `uname -r` in the guest.
    pub fn release(&self) -> &str {
        &self.uname
    }

    /// What differs from the pins of its kernel and its image.
    pub fn replaced(&self) -> &ReplacedPins {
        &self.replaced
    }

    /// The names the kernel knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Expands a scenario for this kernel. `path` is the scenario's file; objects it loads may lie beside it.
    ///
    /// # Errors
    /// Reports what is wrong with the scenario on this kernel, or with an object.
    pub fn expand(&self, checked: &Checked, path: &Path) -> Result<Expansion, Report> {
        let target = KernelProfile {
            name: self.kernel(),
            image: &self.environment().image,
            release: self.release,
            vocabulary: &self.vocabulary,
            configuration: &self.configuration,
        };
        let mut expansion = expand::expand(checked, target)?;
        if self.artefacts.run_guard.is_some()
            && let Expansion::Run(expanded) = &expansion
            && expanded.plan.guard.is_some()
        {
            return Ok(Expansion::Skipped { reason: "it has a guard of its own".to_owned() });
        }
        if let Some(global_effect) = self.global_effect(&expansion) {
            let reason = format!("it is not run on a machine that others use, because it {}", global_effect.as_str());
            return Ok(Expansion::Skipped { reason });
        }
        if let Expansion::Run(expanded) = &mut expansion {
            let folder = path.parent().unwrap_or(path);
            self.objects.fetch(&mut expanded.plan, folder).map_err(|why| checked.complaint(&why))?;
        }
        Ok(expansion)
    }

    /// Returns the effect of a scenario on others on the machine, if the machine is shared.
    fn global_effect(&self, expansion: &Expansion) -> Option<GlobalEffect> {
        match (expansion, self.machine_kind) {
            (Expansion::Run(expanded), MachineKind::Shared | MachineKind::HostMode) => expanded.plan.global_effect(),
            _ => None,
        }
    }

    /// Returns the record for a store; `at` is the time, in seconds since 1970.
    pub(crate) fn record(&self, at: u64) -> IdentityRecord {
        IdentityRecord {
            kernel: self.kernel().clone(),
            alike: self.lineage.alike.clone(),
            release: self.uname.clone(),
            image: self.environment().image.clone(),
            artefacts: self.artefacts.clone(),
            replaced: self.replaced.clone(),
            at,
            objects: self.objects.names(),
            vocabulary: self.vocabulary.clone(),
            configuration: self.configuration.clone(),
            machine_kind: self.machine_kind,
        }
    }

    /// Restores an identity from a record; `None` if its release does not start with a version.
    pub(crate) fn recorded(record: IdentityRecord) -> Option<Self> {
        Some(Self {
            release: record.release.parse().ok()?,
            uname: record.release,
            lineage: Lineage {
                environment: Environment { kernel: record.kernel, image: record.image },
                alike: record.alike,
            },
            artefacts: record.artefacts,
            replaced: record.replaced,
            vocabulary: record.vocabulary,
            configuration: record.configuration,
            machine_kind: record.machine_kind,
            objects: ObjectFiles::recorded(record.objects),
        })
    }
}
