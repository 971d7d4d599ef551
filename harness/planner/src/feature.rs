//! Features of the verifier: what it allows a program depending on the capabilities of its loader, with one small
//! program each.
//!
//! The programs are socket filters where possible, because with `kernel.unprivileged_bpf_disabled=0` those load without
//! any capability. Then the result depends on the feature alone.

mod instruction;
mod programs;

use harness_uapi::release::Release;

/// Something a program can do that the verifier does not allow every loader.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The name that scenarios use.
    pub name: &'static str,
    /// What the program does, as a short phrase.
    pub about: &'static str,
    /// The type of the program.
    pub prog_type: &'static str,
    /// The map it uses, if it uses one.
    pub map: Option<FeatureMap>,
    /// The kernel functions that it calls: each call contains an index into this list.
    pub functions: &'static [&'static str],
    /// What its loader needs.
    pub needs: Needs,
    /// The first release whose verifier allows it at all; if `None`, the first with tokens or an earlier one.
    pub since: Option<Release>,
    instructions: fn() -> Vec<u64>,
}

/// The map a feature uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureMap {
    /// An array with one value of [`MAP_VALUE_SIZE`] bytes.
    Array,
    /// An arena of one page.
    Arena,
}

impl FeatureMap {
    /// Returns its type.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Arena => "arena",
        }
    }
}

/// The capabilities that a loader needs for a feature, besides those for the program type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// None.
    Nothing,
    /// `CAP_BPF`.
    Bpf,
    /// `CAP_PERFMON`.
    Perfmon,
    /// Both.
    Both,
    /// It differs between kernels.
    Differs,
}

impl Needs {
    /// Whether these capabilities are enough, if all kernels agree.
    pub const fn are_met(self, bpf: bool, perfmon: bool) -> Option<bool> {
        match self {
            Self::Nothing => Some(true),
            Self::Bpf => Some(bpf),
            Self::Perfmon => Some(perfmon),
            Self::Both => Some(bpf && perfmon),
            Self::Differs => None,
        }
    }
}

impl Feature {
    /// Returns the feature of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|feature| feature.name == name)
    }

    /// Returns its program, encoded as in RFC 9669, without the descriptor of its map.
    pub fn instructions(&self) -> Vec<u64> {
        (self.instructions)()
    }
}

/// The size of a value of the map that features use, in bytes.
pub const MAP_VALUE_SIZE: u32 = 64;

const fn filter(name: &'static str, about: &'static str, needs: Needs, instructions: fn() -> Vec<u64>) -> Feature {
    Feature { name, about, prog_type: "socket_filter", map: None, functions: &[], needs, since: None, instructions }
}

const fn with_map(map: FeatureMap, feature: Feature) -> Feature {
    Feature { map: Some(map), ..feature }
}

const fn of_cgroup(feature: Feature) -> Feature {
    Feature { prog_type: "cgroup_skb", ..feature }
}

/// Every feature.
pub const ALL: [Feature; 35] = [
    filter("nothing", "returns 0", Needs::Nothing, programs::nothing),
    filter("pointer_returned", "returns the address of its stack", Needs::Perfmon, programs::pointer_returned),
    filter("pointer_subtracted", "subtracts one address from another", Needs::Perfmon, programs::pointer_subtracted),
    filter(
        "pointer_halves_subtracted",
        "subtracts from the low half of an address",
        Needs::Perfmon,
        programs::pointer_halves_subtracted,
    ),
    filter("pointer_negated", "negates an address", Needs::Perfmon, programs::pointer_negated),
    filter(
        "pointer_copied_in_part",
        "copies the low half of an address",
        Needs::Perfmon,
        programs::pointer_copied_in_part,
    ),
    filter("pointer_compared", "compares an address with a number", Needs::Perfmon, programs::pointer_compared),
    filter("pointers_compared", "compares addresses of two kinds", Needs::Perfmon, programs::pointers_compared),
    filter(
        "pointer_in_packet_notes",
        "writes an address into skb->cb",
        Needs::Perfmon,
        programs::pointer_in_packet_notes,
    ),
    filter(
        "pointer_as_number_argument",
        "passes an address to a helper as an offset",
        Needs::Perfmon,
        programs::pointer_as_argument,
    ),
    filter(
        "pointer_overwritten_in_part",
        "changes one byte of an address on the stack",
        Needs::Perfmon,
        programs::pointer_overwritten,
    ),
    with_map(
        FeatureMap::Array,
        filter("pointer_in_map", "writes an address into a map", Needs::Perfmon, programs::pointer_in_map),
    ),
    with_map(
        FeatureMap::Array,
        filter(
            "pointer_exchanged_in_map",
            "exchanges an address with a value of a map",
            Needs::Perfmon,
            programs::pointer_exchanged_in_map,
        ),
    ),
    with_map(
        FeatureMap::Array,
        filter(
            "map_description_read",
            "reads the kernel's own description of a map",
            Needs::Perfmon,
            programs::map_description_read,
        ),
    ),
    filter(
        "stack_read_before_written",
        "reads a part of its stack that it never wrote",
        Needs::Perfmon,
        programs::stack_read_before_written,
    ),
    filter(
        "stack_at_variable_place",
        "writes to its stack at an offset it computed",
        Needs::Perfmon,
        programs::stack_at_variable_place,
    ),
    with_map(
        FeatureMap::Array,
        filter(
            "offset_of_either_sign",
            "adds a number from -8 to 7 to a pointer",
            Needs::Perfmon,
            programs::offset_of_either_sign,
        ),
    ),
    filter(
        "speculative_type_confusion",
        "would dereference a number if the CPU mispredicted a branch",
        Needs::Differs,
        programs::speculation,
    ),
    filter("loop", "loops eight times", Needs::Both, programs::bounded_loop),
    filter(
        "loop_left_to_the_kernel",
        "loops as long as the kernel allows (may_goto)",
        Needs::Bpf,
        programs::perhaps_loop,
    ),
    filter("function_call", "calls a function of its own", Needs::Bpf, programs::function_call),
    Feature {
        functions: &["bpf_rcu_read_lock", "bpf_rcu_read_unlock"],
        ..filter("kernel_function_call", "calls kernel functions", Needs::Bpf, programs::kernel_function_call)
    },
    Feature {
        functions: &["bpf_get_kmem_cache"],
        since: Some(Release { major: 7, minor: 3 }),
        ..filter(
            "kernel_function_of_perfmon",
            "calls a kernel function marked as needing CAP_PERFMON",
            Needs::Both,
            programs::kernel_function_of_perfmon,
        )
    },
    of_cgroup(Feature {
        functions: &["bpf_task_from_pid", "bpf_task_release"],
        ..filter(
            "kernel_structure_read",
            "reads from a task that a kernel function returned",
            Needs::Both,
            programs::kernel_structure_read,
        )
    }),
    filter("pointer_kept_on_stack", "keeps an address on its stack", Needs::Nothing, programs::pointer_kept_on_stack),
    filter("branch_never_taken", "has a branch that is never taken", Needs::Nothing, programs::branch_never_taken),
    with_map(FeatureMap::Array, filter("lookup", "looks up a value of an array", Needs::Nothing, programs::lookup)),
    filter("large_program", "has 4,097 instructions", Needs::Bpf, programs::large_program),
    with_map(
        FeatureMap::Array,
        filter(
            "number_kept_on_stack",
            "stores a number on its stack and adds it to a pointer",
            Needs::Bpf,
            programs::number_kept_on_stack,
        ),
    ),
    with_map(
        FeatureMap::Array,
        Feature {
            since: Some(Release { major: 6, minor: 14 }),
            ..filter(
                "lookup_by_constant_key",
                "uses a value of an array without checking that the lookup found it",
                Needs::Bpf,
                programs::lookup_by_constant_key,
            )
        },
    ),
    with_map(FeatureMap::Arena, filter("arena", "uses an arena", Needs::Both, programs::arena)),
    of_cgroup(filter(
        "packet_data_of_cgroup",
        "reads a packet's bytes as cgroup_skb",
        Needs::Bpf,
        programs::packet_data,
    )),
    of_cgroup(filter(
        "packet_end_of_cgroup",
        "asks where a packet ends as cgroup_skb",
        Needs::Bpf,
        programs::packet_end,
    )),
    of_cgroup(filter(
        "packet_time_of_cgroup",
        "sets a packet's time stamp as cgroup_skb",
        Needs::Bpf,
        programs::packet_time,
    )),
    of_cgroup(filter(
        "packet_mark_of_cgroup",
        "sets a packet's mark as cgroup_skb",
        Needs::Nothing,
        programs::packet_mark,
    )),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (index, feature) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != feature.name), "{}", feature.name);
            assert_eq!(Feature::named(feature.name).map(|found| found.about), Some(feature.about));
        }
        assert!(Feature::named("nonsense").is_none());
    }

    #[test]
    fn every_program_ends_and_names_a_map_only_if_it_has_one() {
        for feature in ALL {
            let program = feature.instructions();
            assert_eq!(program.last(), Some(&instruction::EXIT), "{}", feature.name);
            let maps = program.iter().filter(|word| **word & 0xf0ff == 0x1018).count();
            assert_eq!(maps > 0, feature.map.is_some(), "{}", feature.name);
            let calls = program.iter().filter(|word| **word & 0xf0ff == 0x2085).map(|word| (word >> 32) as usize);
            let called: std::collections::BTreeSet<usize> = calls.collect();
            assert!(called.into_iter().eq(0..feature.functions.len()), "{}", feature.name);
        }
    }

    #[test]
    fn both_capabilities_are_always_enough_and_none_only_for_features_that_need_nothing() {
        for feature in ALL.iter().filter(|feature| feature.needs != Needs::Differs) {
            assert_eq!(feature.needs.are_met(true, true), Some(true), "{}", feature.name);
            assert_eq!(feature.needs.are_met(false, false), Some(feature.needs == Needs::Nothing), "{}", feature.name);
        }
        assert_eq!((Needs::Bpf.are_met(true, false), Needs::Perfmon.are_met(true, false)), (Some(true), Some(false)));
        assert_eq!((Needs::Both.are_met(true, false), Needs::Differs.are_met(true, true)), (Some(false), None));
    }
}
