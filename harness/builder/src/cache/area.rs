//! The parts of a cache folder.

/// The folder of the locks of all entries.
pub(super) const LOCKS: &str = "locks";

/// A part of the cache, one sub-folder each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// What came over the network, verified.
    Downloads,
    /// Built kernels.
    Kernels,
    /// Kernels with a bug put in on purpose, apart from the real ones.
    Mutants,
    /// Source and object trees that make the next kernel build a short one.
    Trees,
    /// Guest root file systems.
    Images,
    /// The static guest program.
    Guest,
    /// BPF objects for scenarios.
    Objects,
    /// Outcomes of scenarios.
    Store,
    /// Run folders.
    Runs,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 9] = [
        Self::Downloads,
        Self::Kernels,
        Self::Mutants,
        Self::Trees,
        Self::Images,
        Self::Guest,
        Self::Objects,
        Self::Store,
        Self::Runs,
    ];

    /// The name of its sub-folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Downloads => "downloads",
            Self::Kernels => "kernels",
            Self::Mutants => "mutants",
            Self::Trees => "trees",
            Self::Images => "images",
            Self::Guest => "guest",
            Self::Objects => "objects",
            Self::Store => "store",
            Self::Runs => "runs",
        }
    }
}
