//! Proofs in VMs: whether a container with this bpffs and these capabilities loads BPF objects on these kernels, and what
//! of what it was given is needed.
//!
//! Everything asked becomes scenarios that no file holds (`harness_proof::setting`), named by a digest of what they ask. All of
//! a kernel's share a VM, a fleet runs the VMs of all kernels, and outcomes are kept in the store as all outcomes are: what
//! was asked before boots nothing. Which call comes to what is judged as in scenarios, by two controls in the same VM.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use harness_builder::{progress::Progress, project::Project};
//! # use harness_runner::{store::Freshness, supplies::Supplies};
//! use harness_proof::{inquiry::Reduction, setting::Setting};
//! use harness_runner::proof::{self, Criterion, Object, Subject, Task, Trial};
//!
//! # let supplies = Supplies::open(Project::find()?, Freshness::Any, Progress::silent())?;
//! let testbed = supplies.build(&"6.12".parse()?, &"minimal".parse()?)?;
//! let object = Object::read("mine.bpf.o".as_ref())?;
//! let setting = Setting { options: vec![/* as the front-end sets them */], ..Setting::default() };
//! let trial = Trial { name: "mine.service".into(), place: setting.into(), objects: vec![object.clone()], criterion: Criterion::Attached };
//! for (kernel, proofs) in proof::prove(&[&testbed], &[trial])? {
//!     println!("{kernel}: {:?}", proofs[0].stand);
//! }
//!
//! # let grant = Default::default();
//! let subject = Subject { name: "mine".into(), objects: vec![object], grant, criterion: Criterion::Loaded };
//! let task = Task { testbed: &testbed, subjects: vec![subject] };
//! if let Ok(Reduction::Minimal(minimal)) = &proof::reduce(&[task])?[0][0] {
//!     println!("{:?}, each for {:?}", minimal.grant, minimal.needed);
//! }
//! # Ok(())
//! # }
//! ```

mod method;
pub mod needs;
mod object;
mod proved;
mod reduction;
mod session;
mod trial;

use std::path::PathBuf;

use thiserror::Error;

use crate::launch::LaunchError;
pub use method::TrialMethod;
pub use object::Object;
pub use proved::{Asked, Criterion, Mount, NoProof, Proof, ProvedObject, Why};
pub use reduction::{ReductionInput, Task, reduce};
pub use trial::{Trial, prove};

/// Why nothing can be proved at all.
#[derive(Debug, Error)]
pub enum ProofError {
    /// An object cannot be used.
    #[error("the object {} cannot be used: {why}", path.display())]
    Object {
        /// Its file or name.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No VM can be had.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}
