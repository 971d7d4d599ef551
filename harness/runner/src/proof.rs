//! Proofs in VMs: whether a container with a given bpffs and capabilities loads BPF objects on these kernels, and which
//! elements of a grant are needed.
//!
//! Each question becomes a scenario without a file (`harness_proof::setting`), named by a digest of its contents. All
//! questions to a kernel share a VM, a fleet runs the VMs of all kernels, and the store keeps the outcomes: a question
//! that was answered before boots nothing. The answers are judged as in scenarios, with two controls in the same VM.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use harness_builder::{progress::Progress, project::Project};
//! # use harness_runner::{resources::Resources, store::Freshness};
//! use harness_proof::{minimizer::Reduction, setting::TrialSetting};
//! use harness_runner::proof::{self, Criterion, Object, ReductionInput, Subject, Task, Trial};
//!
//! # let resources = Resources::open(Project::find()?, Freshness::Any, Progress::silent())?;
//! let testbed = resources.build(&"6.12".parse()?, &"minimal".parse()?)?;
//! let object = Object::read("mine.bpf.o".as_ref())?;
//! let setting = TrialSetting { options: vec![/* as the front-end sets them */], ..TrialSetting::default() };
//! let trial = Trial { name: "mine.service".into(), site: setting.into(), objects: vec![object.clone()], criterion: Criterion::Attached };
//! for (kernel, proofs) in proof::prove(&[&testbed], &[trial])? {
//!     println!("{kernel}: {:?}", proofs[0].mount);
//! }
//!
//! # let grant = Default::default();
//! let input = ReductionInput { name: "mine".into(), subjects: vec![Subject::Object(object, Criterion::Loaded)], grant };
//! let task = Task { testbed: &testbed, inputs: vec![input] };
//! if let Ok(Reduction::Minimal(minimal)) = &proof::reduce(&[task])?[0][0] {
//!     println!("{:?}, each for {:?}", minimal.grant, minimal.needed);
//! }
//! # Ok(())
//! # }
//! ```

mod method;
pub mod needs;
mod object;
mod program;
mod proved;
mod recording;
mod reduction;
mod session;
mod trial;

use std::path::PathBuf;

use thiserror::Error;

use crate::launch::LaunchError;
pub use method::TrialMethod;
pub use object::Object;
pub use program::{Program, ProgramContent, ProgramFile};
pub use proved::{Asked, Criterion, Mount, NoProof, Proof, ProvedObject, Reason};
pub use recording::{ProgramProof, Recording, prove_program};
pub use reduction::{ReductionInput, Subject, Task, reduce};
pub use trial::{Trial, prove};

/// Why nothing can be proved.
#[derive(Debug, Error)]
pub enum ProofError {
    /// An object cannot be used.
    #[error("object {} cannot be used: {why}", path.display())]
    Object {
        /// Its file or name.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// No VM can be run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}
