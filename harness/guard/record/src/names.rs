//! Where the names in a line come from.

use crate::layout::Record;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Commands of bpf(2).
    Command,
    /// Map types.
    MapType,
    /// Program types.
    ProgramType,
    /// Attach types.
    AttachType,
    /// Helpers.
    Helper,
    /// Capabilities.
    Capability,
    /// Profiles of the policy, by index from 0.
    Profile,
    /// Known loaders of the policy, by index from 0.
    Loader,
}

/// Knows names for numbers; what it does not know stays a number.
pub trait Names {
    /// Returns the name of a number of the kernel's interface, without a prefix such as `BPF_PROG_TYPE_`, in lower case.
    fn name(&self, kind: Kind, number: u64) -> Option<String>;

    /// Returns the function with this BTF id, in the BTF object with the id `btf`, or in vmlinux.
    fn function(&self, btf: Option<u32>, id: u32) -> Option<String> {
        let _ = (btf, id);
        None
    }

    /// Returns the path of the executable, if the process is still there and runs that file.
    fn executable(&self, record: &Record) -> Option<String> {
        let _ = record;
        None
    }

    /// Looks at a record that has been put into words: names may be others after it.
    fn see(&self, record: &Record) {
        let _ = record;
    }

    /// Returns when the machine booted, in nanoseconds since 1970-01-01 UTC: what is added to CLOCK_BOOTTIME.
    fn epoch_ns(&self) -> Option<u64> {
        None
    }
}

/// Knows no name.
#[derive(Clone, Copy, Debug)]
pub struct NoNames;

impl Names for NoNames {
    fn name(&self, _: Kind, _: u64) -> Option<String> {
        None
    }
}
