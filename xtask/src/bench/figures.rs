//! The results of all measurements.

use std::fmt;

use harness_protocol::name::KernelName;
use harness_runner::{measure::GuestCosts, session::VmTimes};

use super::sample::Sample;

/// Why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not measured: {}", self.0)
    }
}

impl Missing {
    /// Creates one for a measurement that failed.
    pub(crate) fn because(error: &anyhow::Error) -> Self {
        // One line without `|`, for a cell of a table.
        Self(format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/"))
    }
}

/// A figure, or why there is none.
pub(crate) type Figure<T> = Result<T, Missing>;

/// All results.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) host: Host,
    pub(crate) subject: Workload,
    /// The whole command, without stored outcomes.
    pub(crate) fresh: Figure<Sample>,
    /// The whole command, with all outcomes stored.
    pub(crate) warm: Figure<Sample>,
    /// `vmtest` alone, a trivial command.
    pub(crate) vmtest: Figure<Sample>,
    /// virtme-ng, a trivial command.
    pub(crate) virtme: Figure<Virtme>,
    pub(crate) repeats: Repeats,
    /// VMs with all scenarios that share a boot, in memory of the usual size.
    pub(crate) vms: Figure<Vec<VmTimes>>,
    pub(crate) costs: Figure<GuestCosts>,
    pub(crate) least_memory: Figure<LeastMemory>,
    pub(crate) suite: Suite,
}

/// Whole commands that have an aim.
#[derive(Debug)]
pub(crate) struct Suite {
    /// All units of systemd on each default kernel, without stored outcomes.
    pub(crate) units: Vec<(KernelName, Figure<Sample>)>,
    /// The whole suite on the default kernels, with nothing to do.
    pub(crate) warm: Figure<Sample>,
    /// A suite of [`MANY`](super::suite::MANY) scenarios on one kernel, with nothing to do.
    pub(crate) many: Figure<Sample>,
}

/// The machine that measures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) system: String,
    pub(crate) qemu: String,
    /// Whether VMs use KVM, and why.
    pub(crate) acceleration: String,
    /// The one-minute load average before and after.
    pub(crate) load: [String; 2],
}

impl Host {
    /// Returns what the figures of two runs must have in common to be compared.
    pub(crate) fn machine(&self) -> String {
        format!("{}, {} processors", self.processor, self.processors)
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) kernel: String,
    pub(crate) release: String,
    pub(crate) image: String,
    pub(crate) scenarios: usize,
    pub(crate) attempts: usize,
    /// Memory of a VM in MiB.
    pub(crate) memory_mib: u32,
}

/// virtme-ng's times.
#[derive(Clone, Debug)]
pub(crate) struct Virtme {
    pub(crate) version: String,
    pub(crate) times: Sample,
    /// What a reader has to know about them.
    pub(crate) remark: String,
}

/// Whether fresh runs agree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    pub(crate) runs: usize,
    /// How runs differ from the first one.
    pub(crate) odd: Vec<String>,
}

/// The result of the bisection for the least memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeastMemory {
    /// The least memory in MiB with which all scenarios come out as usual.
    pub(crate) passes: u32,
    /// The largest tried memory in MiB with which they do not.
    pub(crate) fails: u32,
    /// What went wrong there.
    pub(crate) failure: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_line_of_a_table() {
        let error = anyhow::anyhow!("a | b\n  c").context("outer");
        assert_eq!(Missing::because(&error).to_string(), "not measured: outer: a / b c");
    }
}
