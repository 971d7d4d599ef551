//! The same found out by kernels.

use std::collections::BTreeMap;

use anyhow::Result;
use harness_model::{
    name::KernelName,
    permission::Grant,
    proof::{Minimal, Need, Reduction},
};
use harness_runner::{
    proof::{self, Criterion, Subject, Task},
    supplies::Supplies,
    testbed::Testbed,
};

use super::{Args, Computed};
use crate::{bpf_objects::Named, exit::Wrong, setup};

/// What a kernel said of what was computed.
pub(super) enum Proved {
    /// Each element is needed; or those that are left are, which is not what was computed.
    Minimal(Minimal),
    /// It is not enough.
    Insufficient(Vec<Need>),
    /// It could not be found out.
    Unknown(String),
}

impl Proved {
    /// What is enough and no more.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Minimal(minimal) => Some(&minimal.grant),
            Self::Insufficient(_) | Self::Unknown(_) => None,
        }
    }

    /// Whether the kernel says otherwise than the model, or nothing at all.
    pub(super) fn disagrees(&self) -> bool {
        match self {
            Self::Minimal(minimal) => !minimal.superfluous.is_empty(),
            Self::Insufficient(_) | Self::Unknown(_) => true,
        }
    }
}

/// Proves what was computed on each of the kernels.
pub(super) fn all(
    args: &Args,
    supplies: &Supplies,
    objects: &[Named],
    computed: &[Computed],
) -> Result<BTreeMap<KernelName, Proved>> {
    let kernels: Vec<KernelName> = computed.iter().map(|one| one.kernel.clone()).collect();
    setup::prepare_for(supplies, &kernels, &args.image, args.no_install)?;
    let testbeds: Vec<Testbed<'_>> =
        kernels.iter().map(|kernel| supplies.build(kernel, &args.image)).collect::<Result<_, _>>()?;
    let objects: Vec<proof::Object> = objects
        .iter()
        .map(|one| proof::Object::new(&one.name, one.bytes.clone()))
        .collect::<Result<_, _>>()
        .map_err(Wrong::input)?;
    let subject = |one: &Computed| Subject {
        name: one.kernel.to_string(),
        objects: objects.clone(),
        grant: Grant::of(one.needs.elements.keys().copied()),
        criterion: Criterion::Loaded,
    };
    let tasks: Vec<Task<'_>> =
        testbeds.iter().zip(computed).map(|(testbed, one)| Task { testbed, subjects: vec![subject(one)] }).collect();
    let found = proof::reduce(&tasks)?;
    let proved = kernels.into_iter().zip(found).map(|(kernel, mut subjects)| {
        let proved = match subjects.pop() {
            Some(Ok(Reduction::Minimal(minimal))) => Proved::Minimal(minimal),
            Some(Ok(Reduction::Insufficient(needs))) => Proved::Insufficient(needs),
            Some(Err(error)) => Proved::Unknown(error.to_string()),
            None => Proved::Unknown("nothing was asked".to_owned()),
        };
        (kernel, proved)
    });
    Ok(proved.collect())
}
