//! The results of trials, as values.

use std::fmt;

use harness_proof::{object::ObjectProof, question::ContainerProbe};
use harness_protocol::{name::KernelName, outcome::UnitFact, plan::GlobalEffect};
use harness_verdict::{judgement::Fault, verdict::Refusal};
use thiserror::Error;

/// When an object counts as working.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criterion {
    /// Every map and program is loaded that can be loaded with every permission.
    #[default]
    Loaded,
    /// Likewise, and what libbpf attaches automatically is attached.
    Attached,
}

/// The result of a trial on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The trial's name.
    pub trial: String,
    /// The result for its bpffs.
    pub mount: Result<Mount, NoProof>,
    /// The result for each object, in their order; none if the kernel refuses the mount options.
    pub objects: Vec<ProvedObject>,
}

/// The result for a bpffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The kernel refused an option; the step names the call and the option's key.
    Refused(Refusal),
    /// It is mounted in its container.
    Mounted(Box<ContainerProbe>),
}

/// The result for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedObject {
    /// Its name.
    pub object: String,
    /// The proof.
    pub proof: Result<ObjectProof, NoProof>,
    /// What systemd reports about its VM unit, if it was tried in one.
    pub unit: Option<UnitFact>,
}

/// Why something is not known on one kernel: a fault of the harness or of a VM, not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{asked} on kernel {kernel}: {reason}")]
pub struct NoProof {
    /// The question.
    pub asked: Asked,
    /// The kernel.
    pub kernel: KernelName,
    /// The reason.
    pub reason: Reason,
}

/// A question to a kernel, with the name of its trial or input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether the kernel accepts the options of a bpffs.
    Bpffs(String),
    /// Whether a container can create a token.
    Container(String),
    /// Whether an object works in a trial.
    Tried {
        /// The object.
        object: String,
        /// The trial.
        within: String,
    },
    /// How a program runs with every permission.
    Recorded(String),
    /// Whether an object or program works with less than its input grants.
    Reduced {
        /// The object.
        object: String,
        /// The input.
        of: String,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bpffs(of) => write!(f, "the bpffs of {of}"),
            Self::Container(of) => write!(f, "the container of {of}"),
            Self::Tried { object, within } => write!(f, "{object} in {within}"),
            Self::Recorded(of) => write!(f, "the recording of {of}"),
            Self::Reduced { object, of } => write!(f, "{object} of {of}"),
        }
    }
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// It was not asked.
    #[error("it was not asked")]
    NotAsked,
    /// Its options were not tried, because the kernel was expected to refuse them, but it did not.
    #[error("its options were neither refused nor tried")]
    NotTried,
    /// It would affect others on the machine.
    #[error("it is not tried on a machine that others use, because it {}", .0.as_str())]
    AffectsOthers(GlobalEffect),
    /// No VM carried it out, with the reason, if known.
    #[error("{}", .0.as_deref().unwrap_or("its VM produced no outcome"))]
    NotRun(Option<String>),
    /// The outcome proves nothing.
    #[error(transparent)]
    Fault(Box<Fault>),
}
