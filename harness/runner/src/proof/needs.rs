//! What objects need: computed for a kernel, and proved by it.

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
    reduction::{self, ReductionInput, Subject, Task},
};
use crate::testbed::Testbed;

/// Objects that are loaded together, and their computed needs on each kernel.
pub struct Case<'a> {
    /// Their common name.
    pub name: String,
    /// The objects.
    pub objects: Vec<&'a Named>,
    /// Their computed needs, in the order of the kernels.
    pub needs: Vec<Needs>,
}

/// The result of proving computed needs on a kernel.
pub enum Proved {
    /// Loading works, and no element can be removed.
    Minimal {
        /// The minimal grant.
        minimal: Minimal,
        /// The elements of it that were not computed.
        beyond: BTreeSet<Element>,
        /// Whether these were expected, because only the verifier can determine them.
        expected: bool,
    },
    /// Even the largest grant is not sufficient.
    Insufficient(Vec<FailedObject>),
    /// The result is unknown, with the reason.
    Unknown(String),
}

impl Proved {
    /// Returns the minimal grant, if known.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Minimal { minimal, .. } => Some(&minimal.grant),
            Self::Insufficient(_) | Self::Unknown(_) => None,
        }
    }

    /// Returns whether the computed needs are those of the kernel.
    pub fn agrees(&self) -> bool {
        match self {
            Self::Minimal { minimal, beyond, expected } => {
                (beyond.is_empty() && minimal.superfluous.is_empty()) || *expected
            }
            Self::Insufficient(_) | Self::Unknown(_) => false,
        }
    }

    /// Returns whether the kernel contradicts the model, or gives no result. If not even root can load an object, there
    /// is nothing to find out.
    pub fn disagrees(&self) -> bool {
        !self.agrees() && !self.is_for_nobody()
    }

    /// Returns whether the objects cannot be loaded with any grant.
    pub fn is_for_nobody(&self) -> bool {
        matches!(self, Self::Insufficient(needs) if needs.iter().all(is_broken))
    }
}

/// The needs of objects on one kernel.
pub struct Computed {
    /// The kernel.
    pub kernel: KernelName,
    /// The computed needs.
    pub needs: Needs,
    /// The result of proving them, if requested.
    pub proved: Option<Proved>,
}

impl Computed {
    /// Whether no grant makes the objects load, as computed or as the kernel answered.
    pub fn never_load(&self) -> bool {
        self.needs.never_load() || matches!(self.proved, Some(Proved::Insufficient(_)))
    }
}

/// Returns a grant that is sufficient on all kernels on which the objects can load: the proved one where there is one,
/// otherwise the computed one. `None` if they can load on none.
pub fn enough(computed: &[Computed]) -> Option<Grant> {
    let loading: Vec<&Computed> = computed.iter().filter(|one| !one.never_load()).collect();
    let elements = loading.iter().flat_map(|one| -> Vec<Element> {
        match one.proved.as_ref().and_then(Proved::grant) {
            Some(grant) => grant.elements().collect(),
            None => one.needs.elements.keys().copied().collect(),
        }
    });
    let elements = elements.chain(loading.iter().flat_map(|one| one.needs.attaching.keys().copied()));
    (!loading.is_empty()).then(|| Grant::of(elements))
}

/// A built kernel with its type information.
pub struct BuiltKernel<'a> {
    testbed: Testbed<'a>,
    release: Release,
    path: PathBuf,
    btf: Vec<u8>,
}

/// Why the needs of objects on a kernel cannot be computed.
#[derive(Debug, Error)]
pub enum NeedsError {
    /// The kernel's type information cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The kernel's type information is malformed.
    #[error("{} is not valid BTF type information", path.display())]
    Types {
        /// Its file.
        path: PathBuf,
        /// The error.
        source: BtfError,
    },
}

impl<'a> BuiltKernel<'a> {
    /// Reads the type information of a kernel of this release.
    ///
    /// # Errors
    /// [`NeedsError::Read`] if its type information cannot be read.
    pub fn new(testbed: Testbed<'a>, release: Release) -> Result<Self, NeedsError> {
        let path = testbed.kernel().btf();
        let btf = fs::read(&path).map_err(|source| NeedsError::Read { path: path.clone(), source })?;
        Ok(Self { testbed, release, path, btf })
    }

    /// Parses its type information.
    ///
    /// # Errors
    /// [`NeedsError::Types`] if it is malformed.
    pub fn types(&self) -> Result<Btf<'_>, NeedsError> {
        Btf::of(&self.btf).map_err(|source| NeedsError::Types { path: self.path.clone(), source })
    }
}

/// Computes the needs of objects on each kernel, with members of structures located by the kernel's own types.
pub fn needs_on(kernels: &[BuiltKernel<'_>], types: &[Btf<'_>], objects: &[(String, Object)]) -> Vec<Needs> {
    let kernels = kernels.iter().zip(types);
    kernels.map(|(kernel, types)| needs(objects, Kernel { release: kernel.release, types: Some(types) })).collect()
}

/// Proves computed needs; returns one result per case for each kernel.
///
/// # Errors
/// [`ProofError`] if no VM can be run, or if an object is too large for a guest.
pub fn prove(kernels: &[BuiltKernel<'_>], cases: &[Case<'_>]) -> Result<Vec<Vec<Proved>>, ProofError> {
    let computed = |case: &Case<'_>, kernel: usize| Grant::of(case.needs[kernel].elements.keys().copied());
    let all: Vec<(usize, usize)> =
        (0..kernels.len()).flat_map(|kernel| (0..cases.len()).map(move |case| (kernel, case))).collect();
    let mut proved: Vec<Vec<Option<Proved>>> = kernels.iter().map(|_| cases.iter().map(|_| None).collect()).collect();
    let mut again = Vec::new();
    for ((kernel, case), found) in ask(kernels, cases, &all, |kernel, case| computed(&cases[case], kernel))? {
        match found {
            Ok(Reduction::Insufficient(needs)) if !needs.iter().all(is_broken) => again.push((kernel, case)),
            found => {
                proved[kernel][case] = Some(read(found, &computed(&cases[case], kernel), &cases[case].needs[kernel]))
            }
        }
    }
    // The computed needs are not sufficient: start again with everything that could matter.
    let more =
        |kernel: usize, case: usize| generous(&cases[case], &computed(&cases[case], kernel), kernels[kernel].release);
    for ((kernel, case), found) in ask(kernels, cases, &again, more)? {
        proved[kernel][case] = Some(read(found, &computed(&cases[case], kernel), &cases[case].needs[kernel]));
    }
    let unasked = || Proved::Unknown("it was not tried".to_owned());
    Ok(proved.into_iter().map(|of| of.into_iter().map(|one| one.unwrap_or_else(unasked)).collect()).collect())
}

fn is_broken(need: &FailedObject) -> bool {
    matches!(need.defect, ObjectDefect::Broken { .. })
}

type Found = Result<Reduction, NoProof>;

/// The indices of a kernel and a case.
type Pair = (usize, usize);

/// Reduces these grants of these cases, all of a kernel at once.
fn ask(
    kernels: &[BuiltKernel<'_>],
    cases: &[Case<'_>],
    wanted: &[Pair],
    grant: impl Fn(usize, usize) -> Grant,
) -> Result<Vec<(Pair, Found)>, ProofError> {
    let mut tasks = Vec::new();
    for (kernel, built) in kernels.iter().enumerate() {
        let of_kernel = wanted.iter().filter(|(of, _)| *of == kernel);
        let inputs: Vec<ReductionInput> =
            of_kernel.map(|(_, case)| input(&cases[*case], grant(kernel, *case))).collect::<Result<_, ProofError>>()?;
        if !inputs.is_empty() {
            tasks.push(Task { testbed: &built.testbed, inputs });
        }
    }
    let found = reduction::reduce(&tasks)?;
    Ok(wanted.iter().copied().zip(found.into_iter().flatten()).collect())
}

fn input(case: &Case<'_>, grant: Grant) -> Result<ReductionInput, ProofError> {
    let objects = super::Object::all(case.objects.iter().copied())?.into_iter();
    let subjects = objects.map(|object| Subject::Object(object, Criterion::Loaded)).collect();
    Ok(ReductionInput { name: case.name.clone(), subjects, grant })
}

fn read(found: Found, computed: &Grant, needs: &Needs) -> Proved {
    match found {
        Ok(Reduction::Minimal(minimal)) => {
            let known: BTreeSet<Element> = computed.elements().collect();
            let beyond: BTreeSet<Element> = minimal.grant.elements().filter(|one| !known.contains(one)).collect();
            let announced = needs.notes.iter().any(|(_, note)| matches!(note, Note::Verifier { .. }));
            let only_verifier = beyond.iter().all(|one| *one == Element::Capability(Capability::Perfmon));
            let kept = known.iter().all(|one| minimal.grant.elements().any(|other| other == *one));
            let superfluous = minimal.superfluous.iter().copied().filter(|one| known.contains(one)).collect();
            let minimal = Minimal { superfluous, ..minimal };
            Proved::Minimal { expected: announced && only_verifier && kept && !beyond.is_empty(), minimal, beyond }
        }
        Ok(Reduction::Insufficient(needs)) => Proved::Insufficient(needs),
        Err(error) => Proved::Unknown(error.to_string()),
    }
}

/// Returns everything that any request of the objects needs, including what is optional, and every capability.
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
