//! The parts of a cache folder.

/// The folder with the locks of all entries.
pub(super) const LOCKS: &str = "locks";
/// The folder with the sums of entries.
pub(super) const SUMS: &str = "sums";

/// A part of the cache, with a sub-folder of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// Verified downloads.
    Downloads,
    /// Built kernels.
    Kernels,
    /// Mutants, kept apart from other kernels.
    Mutants,
    /// Source and object trees, kept for incremental kernel builds.
    Trees,
    /// Guest root file systems.
    Images,
    /// The static guest programs.
    Guest,
    /// BPF objects for scenarios.
    Objects,
    /// What installed programs bring, unpacked.
    Bundles,
    /// Outcomes of scenarios.
    Store,
    /// Folders of runs.
    Runs,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 10] = [
        Self::Downloads,
        Self::Kernels,
        Self::Mutants,
        Self::Trees,
        Self::Images,
        Self::Guest,
        Self::Objects,
        Self::Bundles,
        Self::Store,
        Self::Runs,
    ];

    /// Whether the sums of its entries are recorded. Those of downloads are pinned, trees change in place, outcomes
    /// have their sums within them, and runs do not outlive their process.
    pub(super) const fn has_sums(self) -> bool {
        matches!(self, Self::Kernels | Self::Mutants | Self::Images | Self::Guest | Self::Objects | Self::Bundles)
    }

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
            Self::Bundles => "bundles",
            Self::Store => "store",
            Self::Runs => "runs",
        }
    }
}
