//! What is known of what was tried: values, which whoever shows them puts into words.

use std::fmt;

use harness_proof::{object::ObjectProof, question::ContainerProbe};
use harness_protocol::{name::KernelName, outcome::UnitFact, plan::GlobalEffect};
use harness_verdict::{judgement::Fault, verdict::Refusal};
use thiserror::Error;

/// What an object must come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criterion {
    /// Each of its maps and programs is loaded that somebody with every permission loads.
    #[default]
    Loaded,
    /// And what libbpf attaches by itself is attached.
    Attached,
}

/// What came of a trial on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The trial's name.
    pub trial: String,
    /// What became of its bpffs.
    pub stand: Result<Mount, NoProof>,
    /// What became of each object, in their order; none if its options are refused.
    pub objects: Vec<ProvedObject>,
}

/// What became of a bpffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The kernel refused an option: its step names the call and the option's key.
    Refused(Refusal),
    /// It stands in its container.
    Stands(Box<ContainerProbe>),
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedObject {
    /// Its name.
    pub object: String,
    /// What is known of it.
    pub proof: Result<ObjectProof, NoProof>,
    /// What systemd says of the unit it was tried in, if it was one.
    pub unit: Option<UnitFact>,
}

/// Why one thing is not known on one kernel: a fault of the harness or of a VM, and no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{asked} on kernel {kernel}: {why}")]
pub struct NoProof {
    /// What was asked.
    pub asked: Asked,
    /// On which kernel.
    pub kernel: KernelName,
    /// Why it was not answered.
    pub why: Why,
}

/// What is asked of a kernel; each with the name of its trial or subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether the kernel takes the options of a bpffs.
    Bpffs(String),
    /// Whether a container makes a token.
    Container(String),
    /// What becomes of an object in a trial.
    Tried {
        /// The object.
        object: String,
        /// The trial.
        within: String,
    },
    /// What becomes of an object with less than its subject has.
    Reduced {
        /// The object.
        object: String,
        /// The subject.
        of: String,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bpffs(of) => write!(f, "the bpffs of {of}"),
            Self::Container(of) => write!(f, "the container of {of}"),
            Self::Tried { object, within } => write!(f, "{object} in {within}"),
            Self::Reduced { object, of } => write!(f, "{object} of {of}"),
        }
    }
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// It was never put.
    #[error("it was not asked")]
    NotAsked,
    /// Its options were not tried, since they were taken to be refused, and they were not refused.
    #[error("its options were neither refused nor tried")]
    NotTried,
    /// It would reach others on the machine.
    #[error("it is not tried on a machine that others live on: it {}", .0.as_str())]
    Reaches(GlobalEffect),
    /// No VM carried it out; what is known of why.
    #[error("{}", .0.as_deref().unwrap_or("its VM did not answer"))]
    NotRun(Option<String>),
    /// The outcome proves nothing.
    #[error(transparent)]
    Fault(Box<Fault>),
}
