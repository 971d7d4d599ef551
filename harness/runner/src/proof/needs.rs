//! What objects need, computed for a kernel and proved by it.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use harness_objects::{Btf, BtfError, Kernel, Named, Needs, Note, Object, TokenUse, asked, needs};
use harness_proof::{
    minimizer::{FailedObject, Minimal, Reduction},
    object::ObjectDefect,
};
use harness_protocol::name::KernelName;
use harness_uapi::{
    permission::{Capability, Element, Grant, requirement},
    release::Release,
};
use thiserror::Error;

use super::{
    Criterion, NoProof, ProofError,
    reduction::{self, ReductionInput, Task},
};
use crate::testbed::Testbed;

/// Objects that are loaded together, and what each kernel is believed to ask for them.
pub struct Case<'a> {
    /// What they are called together.
    pub name: String,
    /// They themselves.
    pub objects: Vec<&'a Named>,
    /// What was computed, in the order of the kernels.
    pub needs: Vec<Needs>,
}

/// What a kernel said of what was computed.
pub enum Proved {
    /// Each element is needed, or of more than was computed those that are left.
    Minimal {
        /// What the kernel was found to ask for.
        minimal: Minimal,
        /// What of it was not computed.
        beyond: BTreeSet<Element>,
        /// Whether that was to be expected, since only the verifier can tell.
        expected: bool,
    },
    /// Not even everything is enough.
    Insufficient(Vec<FailedObject>),
    /// It could not be found out.
    Unknown(String),
}

impl Proved {
    /// What is enough and no more.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Minimal { minimal, .. } => Some(&minimal.grant),
            Self::Insufficient(_) | Self::Unknown(_) => None,
        }
    }

    /// Whether what was computed is what the kernel asks for.
    pub fn agrees(&self) -> bool {
        match self {
            Self::Minimal { minimal, beyond, expected } => {
                (beyond.is_empty() && minimal.superfluous.is_empty()) || *expected
            }
            Self::Insufficient(_) | Self::Unknown(_) => false,
        }
    }

    /// Whether the kernel says otherwise than the model, or nothing at all. Where not even root loads an object nothing
    /// is to be found out.
    pub fn disagrees(&self) -> bool {
        !self.agrees() && !self.is_for_nobody()
    }

    /// Whether nobody loads the objects, whatever they are given.
    pub fn is_for_nobody(&self) -> bool {
        matches!(self, Self::Insufficient(needs) if needs.iter().all(is_broken))
    }
}

/// What objects need on one kernel.
pub struct Computed {
    /// Which kernel.
    pub kernel: KernelName,
    /// What was computed.
    pub needs: Needs,
    /// What the kernel said of it, if it was asked.
    pub proved: Option<Proved>,
}

/// What is enough on all kernels: what was proved where something was, and what was computed elsewhere.
pub fn enough(computed: &[Computed]) -> Grant {
    let elements = computed.iter().flat_map(|one| -> Vec<Element> {
        match one.proved.as_ref().and_then(Proved::grant) {
            Some(grant) => grant.elements().collect(),
            None => one.needs.elements.keys().copied().collect(),
        }
    });
    Grant::of(elements.chain(computed.iter().flat_map(|one| one.needs.attaching.keys().copied())))
}

/// A kernel that is built, with its type information as it is in its file.
pub struct BuiltKernel<'a> {
    testbed: Testbed<'a>,
    release: Release,
    path: PathBuf,
    btf: Vec<u8>,
}

/// Why it cannot be found out what objects need on a kernel.
#[derive(Debug, Error)]
pub enum NeedsError {
    /// The kernel's type information cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel's type information is none.
    #[error("{} is no type information", path.display())]
    Types {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: BtfError,
    },
}

impl<'a> BuiltKernel<'a> {
    /// A kernel of this release.
    ///
    /// # Errors
    /// [`NeedsError::Read`] if its type information is gone.
    pub fn new(testbed: Testbed<'a>, release: Release) -> Result<Self, NeedsError> {
        let path = testbed.kernel().btf();
        let btf = fs::read(&path).map_err(|source| NeedsError::Read { path: path.clone(), source })?;
        Ok(Self { testbed, release, path, btf })
    }

    /// Its types.
    ///
    /// # Errors
    /// [`NeedsError::Types`] if they are damaged.
    pub fn types(&self) -> Result<Btf<'_>, NeedsError> {
        Btf::of(&self.btf).map_err(|source| NeedsError::Types { path: self.path.clone(), source })
    }
}

/// What objects need on each kernel, by whose own types members of structures are counted.
pub fn needs_on(environments: &[BuiltKernel<'_>], types: &[Btf<'_>], objects: &[(String, Object)]) -> Vec<Needs> {
    let kernels = environments
        .iter()
        .zip(types)
        .map(|(environment, types)| Kernel { release: environment.release, types: Some(types) });
    kernels.map(|kernel| needs(objects, kernel)).collect()
}

/// Proves what was computed: for each kernel one result a case.
///
/// # Errors
/// [`ProofError`] if no VM can be had, or if an object is too large for a guest.
pub fn prove(environments: &[BuiltKernel<'_>], cases: &[Case<'_>]) -> Result<Vec<Vec<Proved>>, ProofError> {
    let computed = |case: &Case<'_>, kernel: usize| Grant::of(case.needs[kernel].elements.keys().copied());
    let all: Vec<(usize, usize)> =
        (0..environments.len()).flat_map(|kernel| (0..cases.len()).map(move |case| (kernel, case))).collect();
    let mut proved: Vec<Vec<Option<Proved>>> =
        environments.iter().map(|_| cases.iter().map(|_| None).collect()).collect();
    let mut again = Vec::new();
    for ((kernel, case), found) in ask(environments, cases, &all, |kernel, case| computed(&cases[case], kernel))? {
        match found {
            Ok(Reduction::Insufficient(needs)) if !needs.iter().all(is_broken) => again.push((kernel, case)),
            found => {
                proved[kernel][case] = Some(read(found, &computed(&cases[case], kernel), &cases[case].needs[kernel]))
            }
        }
    }
    // What was computed is too little: everything that could matter, and from there down.
    let more = |kernel: usize, case: usize| {
        generous(&cases[case], &computed(&cases[case], kernel), environments[kernel].release)
    };
    for ((kernel, case), found) in ask(environments, cases, &again, more)? {
        proved[kernel][case] = Some(read(found, &computed(&cases[case], kernel), &cases[case].needs[kernel]));
    }
    let unasked = || Proved::Unknown("nothing was asked".to_owned());
    Ok(proved.into_iter().map(|of| of.into_iter().map(|one| one.unwrap_or_else(unasked)).collect()).collect())
}

fn is_broken(need: &FailedObject) -> bool {
    matches!(need.lack, ObjectDefect::Broken(_))
}

type Found = Result<Reduction, NoProof>;

/// The places of a kernel and a case.
type Pair = (usize, usize);

/// Reduces these grants of these cases, all of a kernel in one go.
fn ask(
    environments: &[BuiltKernel<'_>],
    cases: &[Case<'_>],
    wanted: &[Pair],
    grant: impl Fn(usize, usize) -> Grant,
) -> Result<Vec<(Pair, Found)>, ProofError> {
    let mut tasks = Vec::new();
    for (kernel, environment) in environments.iter().enumerate() {
        let of_kernel = wanted.iter().filter(|(of, _)| *of == kernel);
        let subjects: Vec<ReductionInput> = of_kernel
            .map(|(_, case)| subject(&cases[*case], grant(kernel, *case)))
            .collect::<Result<_, ProofError>>()?;
        if !subjects.is_empty() {
            tasks.push(Task { testbed: &environment.testbed, subjects });
        }
    }
    let found = reduction::reduce(&tasks)?;
    Ok(wanted.iter().copied().zip(found.into_iter().flatten()).collect())
}

fn subject(case: &Case<'_>, grant: Grant) -> Result<ReductionInput, ProofError> {
    let objects = super::Object::all(case.objects.iter().copied())?;
    Ok(ReductionInput { name: case.name.clone(), objects, grant, criterion: Criterion::Loaded })
}

fn read(found: Found, computed: &Grant, needs: &Needs) -> Proved {
    match found {
        Ok(Reduction::Minimal(minimal)) => {
            let known: BTreeSet<Element> = computed.elements().collect();
            let beyond: BTreeSet<Element> = minimal.grant.elements().filter(|one| !known.contains(one)).collect();
            let told = needs.notes.iter().any(|(_, note)| matches!(note, Note::Verifier { .. }));
            let only_verifier = beyond.iter().all(|one| *one == Element::Capability(Capability::Perfmon));
            let kept = known.iter().all(|one| minimal.grant.elements().any(|other| other == *one));
            let superfluous = minimal.superfluous.iter().copied().filter(|one| known.contains(one)).collect();
            let minimal = Minimal { superfluous, ..minimal };
            Proved::Minimal { expected: told && only_verifier && kept && !beyond.is_empty(), minimal, beyond }
        }
        Ok(Reduction::Insufficient(needs)) => Proved::Insufficient(needs),
        Err(error) => Proved::Unknown(error.to_string()),
    }
}

/// Everything that any request of the objects takes, what only improves included, and every capability.
fn generous(case: &Case<'_>, computed: &Grant, release: Release) -> Grant {
    let requests = case.objects.iter().flat_map(|one| asked(&one.object, release.into()));
    let needed = requests
        .filter(|asked| asked.handed == TokenUse::Token)
        .map(|asked| requirement(&asked.request, release))
        .flat_map(|needed| {
            let bits = needed.bits.into_keys().map(Element::Bit);
            bits.chain(needed.capabilities.into_keys().map(Element::Capability)).collect::<Vec<_>>()
        });
    let capabilities = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon].map(Element::Capability);
    Grant::of(computed.elements().chain(needed).chain(capabilities))
}
